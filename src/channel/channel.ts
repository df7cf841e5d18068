import type { Duplex } from 'node:stream'
import { DefaultSerializer, deserialize } from 'node:v8'

/** Descriptor under which the gateway finds its end. */
export const CHANNEL_FD = 3
/** Descriptor of a socket that WebSocket viewers come in by, where a service manager has opened one. */
export const WEBSOCKET_FD = 4
/** A list of every session is the longest there is. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024
/** Stands before each message: its length, unsigned, most significant byte first. */
const LENGTH_BYTES = 4
const NO_LENGTH = Buffer.alloc(LENGTH_BYTES)
/** What can wait goes alone when nothing else went for so long, ms: less than anybody notices of an object that is held. */
const SOON_MS = 4
/** What can wait at most, messages. */
const MAX_WAITING = 256

export interface ChannelEvents {
  message (value: unknown): void
  /** The other side does not keep to the format; nothing more is read. */
  broken (detail: string): void
  /** Nothing can be sent or will come any more; called once. */
  closed (): void
}

/**
 * Messages between two processes over a local stream socket, structured clones of which each is a length and the bytes of V8's serializer. What is
 * said in one turn of the event loop is written in one call. It has no back-pressure of its own: `sent` tells when the system has taken a message.
 */
export class Channel {
  readonly #socket: Duplex
  readonly #events: ChannelEvents
  #parts: Buffer[] = []
  #received = 0
  #needed = LENGTH_BYTES
  #corked = false
  #broken = false
  #waiting: Buffer[] = []
  #soon: NodeJS.Timeout | undefined

  constructor (socket: Duplex, events: ChannelEvents) {
    this.#socket = socket
    this.#events = events
    socket.on('data', (bytes: Buffer) => { this.#receive(bytes) })
    // Followed by close, which is all that counts.
    socket.on('error', () => {})
    socket.once('close', () => {
      clearTimeout(this.#soon)
      events.closed()
    })
  }

  /** Sends one message; `sent` is called once, when the system has taken it or the channel is gone. Never throws for a channel that is gone. */
  send (message: unknown, sent: () => void = () => {}): void {
    if (!this.#socket.writable) {
      sent()
      return
    }
    this.#cork()
    this.#flushWaiting()
    this.#socket.write(encode(message), () => { sent() })
  }

  /** Sends with the next message, or after 4 ms: whoever reads it is woken once for both. */
  sendSoon (message: unknown): void {
    if (!this.#socket.writable) return
    this.#waiting.push(encode(message))
    if (this.#waiting.length >= MAX_WAITING) this.#flushWaiting()
    else this.#soon ??= setTimeout(() => { this.#flushWaiting() }, SOON_MS)
  }

  /** Ends when everything is written; `closed` follows. */
  end (): void {
    if (!this.#socket.writable) return
    this.#flushWaiting()
    this.#socket.end(() => { this.#socket.destroy() })
  }

  #flushWaiting (): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    this.#cork()
    for (const bytes of waiting) this.#socket.write(bytes)
  }

  #cork (): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    setImmediate(() => {
      this.#corked = false
      this.#socket.uncork()
    })
  }

  #receive (bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#received += bytes.length
    if (this.#received < this.#needed) return
    let rest = this.#parts.length === 1 ? bytes : Buffer.concat(this.#parts)
    this.#needed = LENGTH_BYTES
    while (!this.#broken && rest.length >= LENGTH_BYTES) {
      const length = rest.readUInt32BE(0)
      if (length > MAX_MESSAGE_BYTES) this.#break(`a message of ${length} bytes, ${MAX_MESSAGE_BYTES} are allowed`)
      else if (rest.length < LENGTH_BYTES + length) {
        this.#needed = LENGTH_BYTES + length
        break
      } else {
        this.#take(rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length))
        rest = rest.subarray(LENGTH_BYTES + length)
      }
    }
    this.#parts = this.#broken || rest.length === 0 ? [] : [rest]
    this.#received = this.#broken ? 0 : rest.length
  }

  #take (bytes: Buffer): void {
    let message: unknown
    try {
      message = deserialize(bytes)
    } catch (error) {
      this.#break(`a message that cannot be read: ${String(error)}`)
      return
    }
    this.#events.message(message)
  }

  #break (detail: string): void {
    this.#broken = true
    this.#socket.removeAllListeners('data')
    this.#socket.resume()
    this.#events.broken(detail)
  }
}

function encode (message: unknown): Buffer {
  const serializer = new DefaultSerializer()
  serializer.writeRawBytes(NO_LENGTH)
  serializer.writeHeader()
  serializer.writeValue(message)
  const bytes = serializer.releaseBuffer()
  bytes.writeUInt32BE(bytes.length - LENGTH_BYTES, 0)
  return bytes
}
