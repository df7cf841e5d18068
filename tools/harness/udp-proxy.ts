/** A path between UDP clients and a server, for tests and benchmarks: rate, delay, loss, corruption, and a change of the clients' apparent addresses. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'

export interface ProxyOptions {
  /** One way, milliseconds. */
  readonly delayMs?: number
  /** Bits per second each way, for all clients together; packets wait in a queue of `queueBytes`, 250,000 by default. */
  readonly bitsPerSecond?: number
  readonly queueBytes?: number
  /** Whether to lose the n-th packet of a direction. */
  readonly drop?: (packet: Buffer, toServer: boolean, index: number) => boolean
  /** May change a packet in place. */
  readonly tamper?: (packet: Buffer, toServer: boolean, index: number) => void
}

export interface UdpProxy {
  readonly port: number
  /** The server sees its clients at new ports from now on, as after a NAT has forgotten them. */
  rebind (): Promise<void>
  /** Packets so far: to the server, to the clients; lost, on purpose or to a full queue. */
  readonly counts: { toServer: number, toClient: number, dropped: number }
  close (): void
}

const SOCKET_BUFFER = 4 * 1024 * 1024

async function open (): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: SOCKET_BUFFER, sendBufferSize: SOCKET_BUFFER })
  const listening = once(socket, 'listening')
  socket.bind(0, '127.0.0.1')
  await listening
  return socket
}

/** One direction of the path: packets leave in the order they came. */
class PathDirection {
  readonly #options: ProxyOptions
  readonly #waiting: Array<{ readonly at: number, readonly deliver: () => void }> = []
  #freeAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor (options: ProxyOptions) {
    this.#options = options
  }

  /** False when the queue is full: it drops its tail, as a router does. A packet that is `lost` has used its share of the link. */
  take (bytes: number, lost: boolean, deliver: () => void): boolean {
    const { delayMs = 0, bitsPerSecond = Infinity, queueBytes = 250_000 } = this.#options
    const now = performance.now()
    const start = Math.max(now, this.#freeAt)
    if (start > now && (start - now) * bitsPerSecond / 8000 > queueBytes) return false
    this.#freeAt = start + bytes * 8000 / bitsPerSecond
    if (lost) return true
    const at = this.#freeAt + delayMs
    if (at <= now) {
      deliver()
      return true
    }
    // One timer: thousands a second would cost more than the packets.
    this.#waiting.push({ at, deliver })
    this.#timer ??= setTimeout(() => { this.#run() }, Math.max(1, at - now))
    return true
  }

  close (): void {
    clearTimeout(this.#timer)
    this.#waiting.length = 0
  }

  #run (): void {
    const now = performance.now()
    let due = 0
    while ((this.#waiting[due]?.at ?? Infinity) <= now + 0.5) this.#waiting[due++]?.deliver()
    this.#waiting.splice(0, due)
    const [next] = this.#waiting
    this.#timer = next === undefined ? undefined : setTimeout(() => { this.#run() }, Math.max(1, next.at - now))
  }
}

/** Starts a proxy on a free port of 127.0.0.1; each address that sends to it gets one of its own towards the server. */
export async function startProxy (serverPort: number, options: ProxyOptions = {}): Promise<UdpProxy> {
  const front = await open()
  const up = new PathDirection(options)
  const down = new PathDirection(options)
  const backs = new Map<number, Promise<Socket>>()
  const counts = { toServer: 0, toClient: 0, dropped: 0 }
  let closed = false

  const relay = (direction: PathDirection, toServer: boolean, packet: Buffer, send: () => void): void => {
    const index = toServer ? counts.toServer++ : counts.toClient++
    const lost = options.drop?.(packet, toServer, index) === true
    if (!lost) options.tamper?.(packet, toServer, index)
    const taken = direction.take(packet.length, lost, () => { if (!closed) send() })
    if (lost || !taken) counts.dropped++
  }
  const backOf = async (clientPort: number): Promise<Socket> => {
    const back = await open()
    back.on('message', packet => { relay(down, false, packet, () => { front.send(packet, clientPort, '127.0.0.1') }) })
    if (closed) back.close()
    return back
  }
  front.on('message', (packet, { port }) => {
    if (!backs.has(port)) backs.set(port, backOf(port))
    relay(up, true, packet, () => {
      // That of now: a packet on its way may be overtaken by a rebinding.
      void backs.get(port)?.then(socket => { if (!closed) socket.send(packet, serverPort, '127.0.0.1') })
    })
  })
  return {
    port: front.address().port,
    counts,
    async rebind () {
      for (const [port, old] of backs) {
        const fresh = backOf(port)
        await fresh
        backs.set(port, fresh)
        ;(await old).close()
      }
    },
    close () {
      if (closed) return
      closed = true
      up.close()
      down.close()
      front.close()
      for (const back of backs.values()) void back.then(socket => { socket.close() })
    }
  }
}
