import { Duplex } from 'node:stream'
import { FrameDecoder, FrameError, frameHeader, OPCODE, zeroMaskedHeader, type WebSocketMessage } from './websocket-frames.ts'

/** A pong is dropped while this much waits to be sent: answering a flood of pings would be memory without bound. */
const PONG_LIMIT_BYTES = 65_536
/** Answers gather in the guard up to this before the library is told to wait; about one round of 64 KiB pieces of 4 streams. */
const WRITE_HIGH_WATER_MARK = 262_144

/** An HTTP/2 stream, as far as the library uses it on the WebSocket transport. */
interface CarrierExtras {
  respond?: (headers: Record<string, string>) => void
  readonly session?: unknown
}

/**
 * Stands between the socket of a WebSocket and the library's parser, which trusts its input: a 64-bit length makes it loop
 * for ever, a fragmented message corrupts later ones, nothing bounds a frame. The parser sees whole, bounded frames only.
 */
export class WebSocketGuard extends Duplex {
  readonly #carrier: Duplex & CarrierExtras
  readonly #decoder: FrameDecoder
  readonly #onViolation: (error: Error) => void

  /**
   * @param head bytes that came with the upgrade
   * @param onViolation told why, once, before the connection is destroyed
   */
  constructor (carrier: Duplex, head: Buffer, maxMessageBytes: number, onViolation: (error: Error) => void) {
    super({ allowHalfOpen: false, writableHighWaterMark: WRITE_HIGH_WATER_MARK, emitClose: true })
    this.#carrier = carrier
    this.#decoder = new FrameDecoder(maxMessageBytes)
    this.#onViolation = onViolation
    carrier.on('data', (chunk: Buffer) => { this.#receive(chunk) })
    carrier.on('end', () => { this.push(null) })
    carrier.on('error', () => { this.destroy() })
    carrier.on('close', () => { this.destroy() })
    if (head.length > 0) queueMicrotask(() => { this.#receive(head) })
  }

  /** The library answers a CONNECT through this. */
  respond (headers: Record<string, string>): void { this.#carrier.respond?.(headers) }
  /** The library reads its round-trip estimate here. */
  get session (): unknown { return this.#carrier.session }

  /** Asks the peer for a sign of life; browsers answer by themselves. */
  ping (): void { this.write(frameHeader(OPCODE.ping, 0)) }

  /** The library's listeners run inside this: what its parser throws ends this connection and not the process. */
  override on (event: string | symbol, listener: (...args: never[]) => void): this {
    return super.on(event, contained(event, listener as (...args: unknown[]) => void, error => { this.#fail(error) }))
  }

  override _read (): void { this.#carrier.resume() }

  override _write (chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#carrier.write(chunk, done)
  }

  override _writev (chunks: Array<{ chunk: Buffer }>, done: (error?: Error | null) => void): void {
    this.#carrier.cork()
    chunks.forEach(({ chunk }, index) => { this.#carrier.write(chunk, index === chunks.length - 1 ? done : undefined) })
    this.#carrier.uncork()
  }

  override _final (done: (error?: Error | null) => void): void { this.#carrier.end(done) }

  override _destroy (error: Error | null, done: (error?: Error | null) => void): void {
    this.#carrier.destroy()
    done(error)
  }

  #receive (chunk: Buffer): void {
    if (this.destroyed) return
    try {
      for (const message of this.#decoder.push(chunk)) this.#deliver(message)
    } catch (error) {
      this.#fail(error)
    }
  }

  #deliver ({ opcode, payload }: WebSocketMessage): void {
    if (opcode === OPCODE.pong) return
    if (opcode === OPCODE.ping) {
      if (this.writableLength < PONG_LIMIT_BYTES) this.write(Buffer.concat([frameHeader(OPCODE.pong, payload.length), payload]))
      return
    }
    // Masked with zeros, since the library's parser mistakes the type of every capsule in a frame without a mask.
    this.push(zeroMaskedHeader(opcode, payload.length))
    if (payload.length > 0 && !this.push(payload)) this.#carrier.pause()
  }

  #fail (error: unknown): void {
    if (this.destroyed) return
    this.#onViolation(error instanceof Error ? error : new Error(String(error)))
    const code = error instanceof FrameError ? error.code : 1002
    this.#carrier.write(Buffer.concat([frameHeader(OPCODE.close, 2), Buffer.of(code >> 8, code & 0xff)]))
    this.#carrier.end()
    this.destroy()
  }
}

/** Contains the library's parser on a stream it listens to itself (HTTP/2 capsules). */
export function containErrors (stream: Duplex, onError: (error: Error) => void): void {
  const on = stream.on.bind(stream) as (event: string | symbol, listener: (...args: unknown[]) => void) => Duplex
  const fail = (error: unknown): void => {
    onError(error instanceof Error ? error : new Error(String(error)))
    stream.destroy()
  }
  Object.assign(stream, { on: (event: string | symbol, listener: (...args: unknown[]) => void) => on(event, contained(event, listener, fail)) })
}

function contained (event: string | symbol, listener: (...args: unknown[]) => void, fail: (error: unknown) => void): (...args: unknown[]) => void {
  if (event !== 'readable' && event !== 'drain') return listener
  return (...args) => {
    try {
      listener(...args)
    } catch (error) {
      fail(error)
    }
  }
}
