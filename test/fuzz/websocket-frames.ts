import assert from 'node:assert/strict'
import { FrameDecoder, FrameError } from '../../src/gateway/transports/fails/websocket-frames.ts'
import { sameInPieces } from '../support/fuzz.ts'

const MAX_BYTES = 1_000
/** A header of 14 bytes, and a control frame of 125 between fragments. */
const MAX_PENDING = MAX_BYTES + 14 + 125

/** All messages, or the code of the error; messages before an error are told in one way of cutting and not in another. */
function read (chunks: readonly Buffer[]): unknown {
  const decoder = new FrameDecoder(MAX_BYTES)
  const found: unknown[] = []
  for (const chunk of chunks) {
    try {
      for (const { opcode, payload } of decoder.push(chunk)) {
        assert.ok(payload.length <= MAX_BYTES)
        found.push([opcode, payload.toString('hex')])
      }
    } catch (error) {
      if (error instanceof FrameError) return error.code
      throw error
    }
    assert.ok(decoder.pendingBytes <= MAX_PENDING, `${decoder.pendingBytes} bytes are held`)
  }
  return found
}

/** Frames of a WebSocket client. */
export function fuzz (data: Uint8Array): void {
  sameInPieces(data, read)
  const before = Buffer.from(data)
  read([before])
  assert.deepEqual(before, Buffer.from(data), 'the chunk is the socket\'s')
}
