import assert from 'node:assert/strict'
import { formatReprDigest, parseDigests, parseReprDigest } from '../../src/protocol/repr-digest.ts'
import { latin1 } from '../support/fuzz.ts'

/** `Repr-Digest`. */
export function fuzz (data: Uint8Array): void {
  const { sha256, sha512, unusable } = parseDigests(latin1(data))
  if (sha256 !== undefined) {
    assert.match(sha256, /^[0-9a-f]{64}$/)
    assert.equal(parseReprDigest(formatReprDigest(sha256)), sha256)
  }
  if (sha512 !== undefined) assert.match(sha512, /^[0-9a-f]{128}$/)
  if (data.length > 0) assert.equal(unusable === undefined, sha256 !== undefined || sha512 !== undefined)
}
