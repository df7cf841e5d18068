import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { ARCHITECTURE, withPlan } from '../../scripts/architecture.ts'

test('docs/architecture.md is what rooms, borders and plugins say; otherwise run `npm run docs`', async () => {
  const text = await readFile(ARCHITECTURE, 'utf8')
  assert.equal(text, withPlan(text))
})
