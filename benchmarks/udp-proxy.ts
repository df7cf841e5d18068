/** A path between viewers and a relay: one rate for all of them together, a delay, loss at random, and a queue with an end. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

export interface PathOptions {
  readonly bitsPerSecond: number
  /** One way, ms. */
  readonly delayMs: number
  /** Share of packets lost, each way. */
  readonly loss: number
  /** Bytes that wait for their turn at most; what comes beyond is dropped, as in a router. */
  readonly queueBytes: number
  /** In [0, 1). */
  readonly random: () => number
}

interface Waiting { readonly at: number, readonly deliver: () => void }

const SOCKET_BUFFER = 4 * 1024 * 1024

async function bound (): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: SOCKET_BUFFER, sendBufferSize: SOCKET_BUFFER })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

/** One direction of the path. */
class Lane {
  readonly #options: PathOptions
  /** In order: rate and delay are the same for all. */
  readonly #waiting: Waiting[] = []
  #freeAt = 0
  #timer: NodeJS.Immediate | NodeJS.Timeout | undefined
  lost = 0
  dropped = 0
  passed = 0

  constructor (options: PathOptions) {
    this.#options = options
  }

  take (packet: Buffer, deliver: () => void): void {
    const { bitsPerSecond, delayMs, loss, queueBytes, random } = this.#options
    const now = performance.now()
    const start = Math.max(now, this.#freeAt)
    if ((start - now) * bitsPerSecond / 8_000 > queueBytes) {
      this.dropped++
      return
    }
    this.#freeAt = start + packet.length * 8_000 / bitsPerSecond
    // A lost packet has used its share of the link.
    if (random() < loss) {
      this.lost++
      return
    }
    this.passed++
    this.#waiting.push({ at: this.#freeAt + delayMs, deliver })
    this.#timer ??= setTimeout(() => { this.#run() }, Math.max(1, this.#freeAt + delayMs - now))
  }

  #run (): void {
    const now = performance.now()
    let due = 0
    while ((this.#waiting[due]?.at ?? Infinity) <= now + 0.5) this.#waiting[due++]?.deliver()
    this.#waiting.splice(0, due)
    const next = this.#waiting[0]
    this.#timer = next === undefined ? undefined : setTimeout(() => { this.#run() }, Math.max(1, next.at - now))
  }
}

export interface UdpPath {
  readonly port: number
  /** Packets so far, both directions: passed, lost on purpose, dropped by a full queue. */
  counts (): { passed: number, lost: number, dropped: number }
  close (): void
}

/** Opens a path to a port of this machine; every address that sends to it gets an own one towards the server. */
export async function openPath (serverPort: number, options: PathOptions): Promise<UdpPath> {
  const front = await bound()
  const up = new Lane(options)
  const down = new Lane(options)
  const backs = new Map<number, Promise<Socket>>()
  let closed = false
  const backOf = async (clientPort: number): Promise<Socket> => {
    const back = await bound()
    back.on('message', packet => {
      down.take(packet, () => { if (!closed) front.send(packet, clientPort, '127.0.0.1') })
    })
    return back
  }
  front.on('message', (packet, { port }) => {
    const back = backs.get(port) ?? backOf(port)
    backs.set(port, back)
    up.take(packet, () => {
      void back.then(socket => { if (!closed) socket.send(packet, serverPort, '127.0.0.1') })
    })
  })
  return {
    port: front.address().port,
    counts: () => ({ passed: up.passed + down.passed, lost: up.lost + down.lost, dropped: up.dropped + down.dropped }),
    close: () => {
      closed = true
      front.close()
      for (const back of backs.values()) void back.then(socket => { socket.close() })
    }
  }
}
