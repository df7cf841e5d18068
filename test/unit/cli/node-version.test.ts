import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfNode } from '../../../src/cli/node-version.ts'

test('a Node without security fixes is named with its end, the documented ones are not', () => {
  assert.equal(endOfNode('20.20.2'), 'Node 20.20.2 has had no security fixes since April 2026: use Node 24 or 22')
  assert.match(endOfNode('23.1.0') ?? '', /June 2025/)
  for (const version of ['22.13.0', '24.21.0', '26.0.0', '200.0.0']) assert.equal(endOfNode(version), undefined)
})
