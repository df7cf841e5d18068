import { TransportError } from '../protocol/transport-session.ts'

/*
 * The binding tells failures in words only: the texts of `ReadError`, `WriteError` and `SessionError` of web-transport-quinn 0.12. A text
 * that a later version words differently reads as a session that has ended, which closes it.
 */

const RESET = /^RESET_STREAM: (\d+)$/
const STOPPED = /^STOP_SENDING: (\d+)$/
/** Codes outside WebTransport's range (draft-ietf-webtrans-http3 §4.4): a peer that speaks plain HTTP/3 on the stream. */
const FOREIGN_CODE = /^invalid (RESET_STREAM|STOP_SENDING)/
const STREAM_OVER = /^stream (?:already )?closed$/

export function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Why an operation on a stream failed. */
export function streamFailure (error: unknown): TransportError {
  const text = messageOf(error)
  const reset = RESET.exec(text)
  if (reset !== null) return new TransportError('reset', 'the peer reset the stream', Number(reset[1]))
  const stopped = STOPPED.exec(text)
  if (stopped !== null) return new TransportError('stopped', 'the peer reads no more', Number(stopped[1]))
  const foreign = FOREIGN_CODE.exec(text)
  if (foreign !== null) return new TransportError(foreign[1] === 'RESET_STREAM' ? 'reset' : 'stopped', text)
  if (STREAM_OVER.test(text)) return new TransportError('stopped', text)
  return new TransportError('session-closed', text)
}

/**
 * Peers that have closed by the protocol, without a code that is still known. A CONNECT stream that just ends is a close with code 0
 * (draft-ietf-webtrans-http3 §6); the engine then closes the connection itself. Firefox closes the connection with H3_NO_ERROR (0x100)
 * right behind its close capsule, which the engine then does not read.
 */
const CLOSED = new Set(['connection error: closed', 'connection error: closed by peer: 256'])

/** Whether a close came by the protocol but brought no code. */
export function isPlainClose (reason: string): boolean {
  return CLOSED.has(reason)
}

/** Whether a close tells of a lost connection and not of a peer that closed by the protocol. */
export function isLoss (reason: string): boolean {
  return reason.startsWith('connection error: ') && !isPlainClose(reason)
}
