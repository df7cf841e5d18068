import assert from 'node:assert/strict'
import { parseFileName, relativeFile } from '../../src/plugins/shard-cache/entry.ts'
import { decodeRecord, encodeRecord } from '../../src/plugins/shard-cache/record-bytes.ts'
import { pathOf } from '../../src/plugins/upstream/shard-path.ts'
import { cidOfPath, keyId, parseKeyId, parseShardPath, shardPath } from '../../src/protocol/shard-key.ts'
import { latin1, orRefused } from '../support/fuzz.ts'

const TEMPLATES = { shardPath: '/shards/{cid}/shard_{nn}.bin', manifestPath: '/shards/{cid}/manifest.json' }

/** Paths of objects, cursors of the admin API, names of files, and records of the index. */
export function fuzz (data: Uint8Array): void {
  const text = latin1(data)
  const key = orRefused(['RELAY_ERR_SHARD_PATH'], () => parseShardPath(text))
  if (key !== undefined) {
    assert.deepEqual(parseShardPath(shardPath(key)), key)
    assert.deepEqual(parseShardPath(pathOf(key, TEMPLATES)), key)
    assert.deepEqual(parseKeyId(keyId(key)), key)
    assert.equal(cidOfPath(text), key.cid)
  }
  const cursor = parseKeyId(text)
  if (cursor !== undefined) {
    assert.equal(keyId(cursor), text)
    assert.match(relativeFile(text, 'g0'), /^[0-9a-f]{2}\/[0-9a-f]{2}\/[A-Za-z0-9_-]{1,128}\.(?:\d\d|manifest)\.g0$/)
  }
  const file = parseFileName(text)
  if (file !== undefined) assert.ok(relativeFile(keyId(file.key), file.generation).endsWith(`/${text}`))

  const record = decodeRecord(Buffer.from(data))
  if (record === undefined) return
  assert.ok(Number.isSafeInteger(record.size) && record.size >= 0)
  assert.deepEqual(decodeRecord(encodeRecord(record)), record)
}
