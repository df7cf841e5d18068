import assert from 'node:assert/strict'
import { formatPrefetchHint, MAX_HINTS, parsePrefetchHint } from '../../src/protocol/prefetch-hint.ts'
import { isCid, isPart } from '../../src/protocol/shard-key.ts'
import { latin1 } from '../support/fuzz.ts'

/** `icn-prefetch`. */
export function fuzz (data: Uint8Array): void {
  const keys = parsePrefetchHint(latin1(data))
  assert.ok(keys.length <= MAX_HINTS)
  for (const { cid, part } of keys) assert.ok(isCid(cid) && isPart(part))
  assert.deepEqual(parsePrefetchHint(formatPrefetchHint(keys)), keys)
}
