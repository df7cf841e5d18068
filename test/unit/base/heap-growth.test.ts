import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { HEAP_GROWING_PERCENT, growHeapFreely } from '../../../src/base/heap-growth.ts'

test('this Node knows the flag that lets the heap grow, and takes it while it runs', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--v8-options'])
  assert.match(stdout, /^ {2}--heap-growing-percent /m)
  // Node ends with an error here when V8 does not know a flag; while it runs, an unknown one is ignored and would not be missed.
  const options = await promisify(execFile)(process.execPath, [`--heap-growing-percent=${HEAP_GROWING_PERCENT}`, '-p', '1'])
  assert.deepEqual(options, { stdout: '1\n', stderr: '' })
  assert.doesNotThrow(growHeapFreely)
})
