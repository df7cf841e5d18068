import { ControlReader } from '../../src/protocol/control-messages.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { HeadError, HeadReader, encodeHead, parseResponseHead } from '../../src/protocol/message-head.ts'
import type { Fields } from '../../src/protocol/message-head.ts'
import { STREAM_CODE } from '../../src/protocol/stream-codes.ts'
import { ShardClientError } from './client-error.ts'
import type { RelayConnection, RelayRequest, RelayResponse } from './relay-connection.ts'
import type { ClientSession, ClientStream, IncomingStream } from './session.ts'
import { abortable, onAbort } from './waiting.ts'

/** Limits of a response head: the relay sends under 1 KiB. */
const RESPONSE_LIMITS = { maxBytes: 16_384, maxFields: 100 } as const

const ignore = (): void => {}

/** Reads the control stream; the session does not end with it. */
async function followControl (stream: IncomingStream, onControl: (message: ControlMessage) => void): Promise<void> {
  const reader = new ControlReader()
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    for (const message of reader.push(chunk)) onControl(message)
  }
}

/** What a session does with the streams the relay opens: the first is the control stream, there is no second. */
export function controlListener (onControl: (message: ControlMessage) => void): (stream: IncomingStream) => void {
  let taken = false
  return stream => {
    if (taken) return stream.cancel()
    taken = true
    followControl(stream, onControl).catch(ignore)
  }
}

/** Requests over a WebTransport session: one bidirectional stream each, HTTP/1.1 message syntax. */
export class SessionConnection implements RelayConnection {
  readonly closed: Promise<string>
  readonly #session: ClientSession

  constructor (session: ClientSession) {
    this.#session = session
    this.closed = session.closed
  }

  async request ({ path, fields, signal }: RelayRequest): Promise<RelayResponse> {
    const opening = this.#session.openStream()
    let stream: ClientStream
    try {
      stream = await abortable(opening, signal)
    } catch (error) {
      // A stream that opens after the abort would keep its place for ever.
      opening.then(late => late.reset(STREAM_CODE.cancelled), ignore)
      throw error
    }
    let over = false
    const cancel = (): void => {
      // Else the relay hears of a reset before it knows that its last byte has gone, and counts an answer that was read as given up.
      if (over) return
      unfollow()
      stream.reset(STREAM_CODE.cancelled)
    }
    const unfollow = onAbort(signal, cancel)
    try {
      // A relay may answer and stop reading before all is sent; whether that went well shows in the answer.
      await abortable(stream.write(encodeHead(`GET ${path} HTTP/1.1`, fields)).catch(ignore), signal)
      const { status, fields: answer, rest } = await abortable(readHead(stream), signal)
      let first: Uint8Array | undefined = rest.length > 0 ? rest : undefined
      return {
        status,
        fields: answer,
        read: async () => {
          const chunk = first ?? await abortable(stream.read(), signal)
          first = undefined
          if (chunk === null) {
            over = true
            unfollow()
            // Not with the head: once FIN has gone, Firefox tells the relay nothing of a reader that is cancelled.
            stream.end().catch(ignore)
          }
          return chunk
        },
        cancel
      }
    } catch (error) {
      cancel()
      throw error
    }
  }

  close (): void {
    this.#session.close()
  }
}

async function readHead (stream: ClientStream): Promise<{ status: number, fields: Fields, rest: Uint8Array }> {
  const reader = new HeadReader(RESPONSE_LIMITS.maxBytes)
  try {
    for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
      const head = reader.push(chunk)
      if (head !== undefined) return { ...parseResponseHead(head.lines, RESPONSE_LIMITS.maxFields), rest: head.rest }
    }
  } catch (error) {
    throw error instanceof HeadError ? new ShardClientError('protocol', error.message) : error
  }
  throw new ShardClientError('truncated', 'the stream ended before the response')
}
