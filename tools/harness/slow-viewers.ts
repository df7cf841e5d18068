/** Viewers that hold a server up: they read a byte a second or nothing, or never finish what they ask. */
import { connect, type Socket } from 'node:net'
import type { BidiStream, TransportSession } from '../../src/protocol/transport-session.ts'
import { openSession } from './quinn-rig.ts'

export interface SlowCounts {
  /** Over HTTP: one byte a second each. */
  readonly readers: number
  /** Over HTTP: nothing of the answer is read, so that the window closes. */
  readonly zeroWindow: number
  /** Over HTTP: half of a request head. */
  readonly halfSent: number
  /** Over WebTransport: this many sessions with `streams` whose answer nobody reads, and as many with `halfStreams` of half a request. */
  readonly sessions: number
  readonly streams: number
  readonly halfStreams: number
}

export interface SlowTarget {
  readonly viewerUrl: string
  /** A large object: what it is asked for must not fit into the buffers of the kernel. */
  readonly path: string
}

/** The viewers over HTTP come from this many addresses, 127.0.0.2 and following, so that none of them has more connections than it may. */
const ADDRESSES = 8

export class SlowViewers {
  readonly readers: Socket[] = []
  readonly zeroWindow: Socket[] = []
  readonly halfSent: Socket[] = []
  readonly #sessions: TransportSession[] = []
  readonly #streams: BidiStream[] = []
  readonly #target: SlowTarget
  #reading: NodeJS.Timeout | undefined
  #opened = 0

  private constructor (target: SlowTarget) {
    this.#target = target
  }

  /** All of them are there, and those that wait for an answer have its beginning, when this resolves. */
  static async gather (target: SlowTarget, counts: SlowCounts): Promise<SlowViewers> {
    const crowd = new SlowViewers(target)
    const request = `GET ${target.path} HTTP/1.1\r\nhost: relay\r\n\r\n`
    const many = async (count: number, kind: Socket[], text: string, answered: boolean): Promise<void> => {
      await Promise.all(Array.from({ length: count }, async () => { kind.push(await crowd.#connect(text, answered)) }))
    }
    await many(counts.readers, crowd.readers, request, true)
    await many(counts.zeroWindow, crowd.zeroWindow, request, true)
    await many(counts.halfSent, crowd.halfSent, request.slice(0, -10), false)
    crowd.#reading = setInterval(() => { for (const socket of crowd.readers) socket.read(1) }, 1_000)
    for (let count = 0; count < counts.sessions; count++) await crowd.#session(counts)
    return crowd
  }

  /** Connections of a kind that the relay has not closed. */
  static open (sockets: readonly Socket[]): number {
    return sockets.filter(socket => !socket.closed).length
  }

  end (): void {
    clearInterval(this.#reading)
    for (const socket of [...this.readers, ...this.zeroWindow, ...this.halfSent]) socket.destroy()
    for (const session of this.#sessions) session.close()
  }

  /** A socket that nobody reads: Node takes what fits into its own buffer and leaves the rest to the kernel. */
  async #connect (text: string, answered: boolean): Promise<Socket> {
    const { hostname, port } = new URL(this.#target.viewerUrl)
    const socket = connect({ host: hostname, port: Number(port), localAddress: `127.0.0.${2 + this.#opened++ % ADDRESSES}` })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.once(answered ? 'readable' : 'connect', resolve)
      socket.write(text)
    })
    socket.on('error', () => {})
    // Without it a close by the relay would wait behind what is unread.
    if (!answered) socket.resume()
    return socket
  }

  /** Streams of the two kinds have a session each: unread answers fill the window of their connection, and then nothing else passes it. */
  async #session ({ streams, halfStreams }: SlowCounts): Promise<void> {
    const request = Buffer.from(`GET ${this.#target.path} HTTP/1.1\r\n\r\n`)
    await this.#open(streams, async stream => {
      await stream.write(request)
      await stream.end()
    })
    await this.#open(halfStreams, async stream => { await stream.write(request.subarray(0, 20)) })
  }

  async #open (streams: number, ask: (stream: BidiStream) => Promise<void>): Promise<void> {
    const session = await openSession(this.#target.viewerUrl)
    this.#sessions.push(session)
    for (let count = 0; count < streams; count++) {
      const stream = await session.openBidi()
      this.#streams.push(stream)
      await ask(stream)
    }
  }
}
