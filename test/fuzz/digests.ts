import assert from 'node:assert/strict'
import { statedSha256 } from '../../client/src/digest.ts'
import { formatReprDigest, parseDigests } from '../../src/protocol/repr-digest.ts'
import { latin1 } from '../support/fuzz.ts'

/** `Repr-Digest`. */
export function fuzz (data: Uint8Array): void {
  const field = latin1(data)
  const { sha256, sha512, unusable } = parseDigests(field)
  if (sha256 !== undefined) {
    assert.match(sha256, /^[0-9a-f]{64}$/)
    assert.equal(parseDigests(formatReprDigest(sha256)).sha256, sha256)
    assert.equal(statedSha256(new Map([['repr-digest', formatReprDigest(sha256)]])), sha256)
  }
  if (sha512 !== undefined) assert.match(sha512, /^[0-9a-f]{128}$/)
  if (data.length > 0) assert.equal(unusable === undefined, sha256 !== undefined || sha512 !== undefined)
}
