import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLoss, isPlainClose } from '../../../src/quinn/failure.ts'

test('a connection that the peer ends without an error is a close, and any other end of it a loss', () => {
  for (const reason of ['connection error: closed', 'connection error: closed by peer: 256']) assert.deepEqual([isPlainClose(reason), isLoss(reason)], [true, false], reason)
  for (const reason of ['connection error: timed out', 'connection error: closed by peer: 257', 'connection error: reset by peer']) assert.deepEqual([isPlainClose(reason), isLoss(reason)], [false, true], reason)
  assert.deepEqual([isPlainClose('enough'), isLoss('enough')], [false, false])
})
