/** A UDP proxy between one client and a server: rate, delay, loss, corruption, and a change of the client's apparent address. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'

export interface ProxyOptions {
  /** One way, milliseconds. */
  readonly delayMs?: number
  /** Bits per second each way; packets wait in a queue of `queueBytes`. */
  readonly bitsPerSecond?: number
  readonly queueBytes?: number
  /** Whether to drop the n-th packet of a direction. */
  readonly drop?: (packet: Buffer, toServer: boolean, index: number) => boolean
  /** May change a packet in place. */
  readonly tamper?: (packet: Buffer, toServer: boolean, index: number) => void
}

export interface UdpProxy {
  readonly port: number
  /** The server sees the client at a new port from now on, as after a NAT has forgotten it. */
  rebind (): Promise<void>
  /** Packets so far: to the server, to the client. */
  readonly counts: { toServer: number, toClient: number, dropped: number }
  close (): void
}

async function open (): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
  const listening = once(socket, 'listening')
  socket.bind(0, '127.0.0.1')
  await listening
  return socket
}

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startProxy (serverPort: number, options: ProxyOptions = {}): Promise<UdpProxy> {
  const front = await open()
  let back = await open()
  let clientPort = 0
  let closed = false
  const counts = { toServer: 0, toClient: 0, dropped: 0 }
  const freeAt = { true: 0, false: 0 }

  const relay = (packet: Buffer, toServer: boolean): void => {
    const index = toServer ? counts.toServer++ : counts.toClient++
    if (options.drop?.(packet, toServer, index) === true) {
      counts.dropped++
      return
    }
    options.tamper?.(packet, toServer, index)
    const send = (): void => {
      if (closed) return
      if (toServer) back.send(packet, serverPort, '127.0.0.1')
      else front.send(packet, clientPort, '127.0.0.1')
    }
    if (options.delayMs === undefined && options.bitsPerSecond === undefined) {
      send()
      return
    }
    const now = performance.now()
    const side = String(toServer) as 'true' | 'false'
    let at = now
    if (options.bitsPerSecond !== undefined) {
      const start = Math.max(now, freeAt[side])
      // A full queue drops its tail, as a router does.
      if ((start - now) * options.bitsPerSecond / 8000 > (options.queueBytes ?? 250_000)) {
        counts.dropped++
        return
      }
      at = start + packet.length * 8000 / options.bitsPerSecond
      freeAt[side] = at
    }
    schedule(at + (options.delayMs ?? 0), send)
  }

  // One ordered queue and one timer: thousands of timers a second would cost more than the packets.
  const queue: Array<{ at: number, send: () => void }> = []
  let timer: NodeJS.Timeout | undefined
  const run = (): void => {
    timer = undefined
    const now = performance.now()
    let count = 0
    while (count < queue.length && (queue[count]?.at ?? Infinity) <= now + 0.5) queue[count++]?.send()
    queue.splice(0, count)
    const next = queue[0]
    if (next !== undefined && !closed) timer = setTimeout(run, Math.max(1, next.at - now))
  }
  const schedule = (at: number, send: () => void): void => {
    let place = queue.length
    while (place > 0 && (queue[place - 1]?.at ?? 0) > at) place--
    queue.splice(place, 0, { at, send })
    timer ??= setTimeout(run, Math.max(1, at - performance.now()))
  }

  const attach = (socket: Socket): void => { socket.on('message', (packet) => { relay(packet, false) }) }
  attach(back)
  front.on('message', (packet, from) => {
    clientPort = from.port
    relay(packet, true)
  })
  return {
    port: front.address().port,
    counts,
    async rebind () {
      const fresh = await open()
      attach(fresh)
      const old = back
      back = fresh
      old.close()
    },
    close () {
      closed = true
      clearTimeout(timer)
      front.close()
      back.close()
    }
  }
}
