import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'

export interface Timing {
  /** From the request until the first byte of the body, ms. */
  readonly firstByteMs: number
  /** From the request until the last byte, ms. */
  readonly wholeMs: number
  readonly bytes: number
}

interface Pending {
  readonly start: number
  readonly onBody: ((chunk: Buffer) => void) | undefined
  readonly resolve: (timing: Timing) => void
  readonly reject: (error: Error) => void
  head: Buffer
  length: number | undefined
  received: number
  firstByteMs: number
}

/** The largest response head that is waited for. */
const MAX_HEAD_BYTES = 65_536
/** Read in one go into one buffer that is used again and again: allocating per chunk would cost this client more than the kernel does. */
const READ_BYTES = 262_144

/**
 * A keep-alive connection that sends one GET at a time and throws the body away. It exists to cost less CPU than any server it
 * measures: no stream, no parser, no allocation per chunk.
 */
export class Http1Connection {
  readonly #socket: Socket
  readonly #host: string
  #pending: Pending | undefined
  #failure: Error | undefined

  private constructor (port: number, ready: () => void, failed: (error: Error) => void) {
    this.#host = `127.0.0.1:${port}`
    this.#socket = connect({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback: (count, buffer) => this.#take((buffer as Buffer).subarray(0, count)) }
    }, ready)
    this.#socket.on('error', failed)
    this.#socket.on('error', error => { this.#fail(error) })
    this.#socket.on('close', () => { this.#fail(new Error('the server closed the connection')) })
  }

  /** @throws Error when nothing listens on 127.0.0.1:port */
  static async open (port: number): Promise<Http1Connection> {
    return await new Promise((resolve, reject) => {
      const connection: Http1Connection = new Http1Connection(port, () => { resolve(connection) }, reject)
    })
  }

  /**
   * Fetches a path.
   * @param onBody is given every piece of the body; the piece is overwritten by the next one
   * @throws Error for a status other than 200, a body without content-length, or a connection that ended
   */
  async get (path: string, onBody?: (chunk: Buffer) => void): Promise<Timing> {
    return await new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#pending = { start: performance.now(), onBody, resolve, reject, head: Buffer.alloc(0), length: undefined, received: 0, firstByteMs: 0 }
      this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n\r\n`)
    })
  }

  close (): void {
    this.#socket.destroy()
  }

  #take (chunk: Buffer): boolean {
    const pending = this.#pending
    if (pending === undefined) {
      this.#fail(new Error('bytes nobody asked for'))
      return false
    }
    let body = chunk
    if (pending.length === undefined) {
      pending.head = Buffer.concat([pending.head, chunk])
      const end = pending.head.indexOf('\r\n\r\n')
      if (end < 0) {
        if (pending.head.length > MAX_HEAD_BYTES) this.#fail(new Error('the response head does not end'))
        return true
      }
      const head = pending.head.toString('latin1', 0, end)
      pending.length = Number(/^content-length: *(\d+) *$/im.exec(head)?.[1] ?? Number.NaN)
      if (!head.startsWith('HTTP/1.1 200 ') || Number.isNaN(pending.length)) {
        this.#fail(new Error(`unexpected answer: ${head.slice(0, 200)}`))
        return false
      }
      body = pending.head.subarray(end + 4)
    }
    if (body.length > 0 && pending.received === 0) pending.firstByteMs = performance.now() - pending.start
    pending.received += body.length
    if (body.length > 0) pending.onBody?.(body)
    if (pending.received < pending.length) return true
    this.#pending = undefined
    pending.resolve({ firstByteMs: pending.firstByteMs, wholeMs: performance.now() - pending.start, bytes: pending.received })
    return true
  }

  #fail (error: Error): void {
    this.#failure ??= error
    this.#socket.destroy()
    this.#pending?.reject(this.#failure)
    this.#pending = undefined
  }
}
