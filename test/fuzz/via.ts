import assert from 'node:assert/strict'
import { formatVia, MAX_VIA_MEMBERS, parseVia, receivedBy } from '../../src/protocol/via.ts'
import { latin1 } from '../support/fuzz.ts'

/** `Via`. */
export function fuzz (data: Uint8Array): void {
  const members = parseVia(latin1(data))
  assert.ok(members.length <= MAX_VIA_MEMBERS)
  for (const member of members) {
    assert.match(member, /^[^ ,()]+ [^ ,()]+$/)
    assert.match(receivedBy(member), /^[^ A-Z]+$/)
  }
  assert.deepEqual(parseVia(formatVia(members)), members)
}
