import assert from 'node:assert/strict'
import { ControlReader, encodeControl, MAX_CONTROL_LINE, MAX_FILLING, type ControlMessage } from '../../src/protocol/control-messages.ts'
import { sameInPieces } from '../support/fuzz.ts'

const TYPES = ['hello', 'bandwidth', 'drain', 'redirect', 'filling', 'ping']

function read (chunks: readonly Uint8Array[]): ControlMessage[] {
  const reader = new ControlReader()
  return chunks.flatMap(chunk => reader.push(chunk))
}

/** The control stream as the client reads it. */
export function fuzz (data: Uint8Array): void {
  sameInPieces(data, read)
  for (const message of read([data])) {
    assert.ok(TYPES.includes(message.type))
    if (message.type === 'drain') assert.ok(message.alternates.length <= 16)
    if (message.type === 'filling') assert.ok(message.objects.length <= MAX_FILLING)
    const line = encodeControl(message)
    // What is written may need more bytes than what was read: `1e300` and non-ASCII text.
    if (line.length <= MAX_CONTROL_LINE) assert.equal(JSON.stringify(read([line])), JSON.stringify([message]))
  }
}
