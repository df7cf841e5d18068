import assert from 'node:assert/strict'
import { HolderRecordError, MAX_HOLDERS, parseHolderRecord } from '../../src/protocol/holder-record.ts'

const CID = 'QmFuzz'

/** A holder record, which any peer may send: what is taken says the same when it is written canonically, and its URLs name an origin and nothing else. */
export function fuzz (data: Uint8Array): void {
  let parsed
  try {
    parsed = parseHolderRecord(data, CID)
  } catch (error) {
    if (error instanceof HolderRecordError) return
    throw error
  }
  const { record, signedText } = parsed
  const again = parseHolderRecord(Buffer.from(signedText), CID)
  assert.equal(again.signedText, signedText)
  assert.deepEqual(again.record, { ...record, signature: undefined })
  assert.ok(record.holders.length >= 1 && record.holders.length <= MAX_HOLDERS)
  for (const { url } of record.holders) {
    const { protocol, username, password, pathname, search, origin } = new URL(url)
    assert.match(protocol, /^https?:$/)
    assert.deepEqual([username, password, pathname, search, origin], ['', '', '/', '', url])
  }
}
