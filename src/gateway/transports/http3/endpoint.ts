/** One UDP socket and the connections on it: routing, turns, timers. The only module here that touches a socket or a timer. */
import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Clock } from '../../../clock.ts'
import type { Link } from './link.ts'
import { BurstSender } from './burst-sender.ts'
import { Outbox, packetSlab, TURN_PACKETS } from './outbox.ts'
import { MAX_BURST_PACKETS } from './pacer.ts'
import { parseHeader, routeKey, shortRouteKey } from './packet-header.ts'
import type { HostPort } from './quiche-binding.ts'

/** Linux's default of 212,992 bytes holds 100 packets with their overhead, less than two bursts; the kernel may grant less than this. */
const SOCKET_BUFFER = 4 * 1024 * 1024
/** How often slow checks run, milliseconds. */
export const SWEEP_MS = 200

export interface EndpointHooks {
  /** A datagram no connection is known for. */
  unrouted (packet: Buffer, from: HostPort): void
  /** Every SWEEP_MS while there are connections. */
  sweep (now: number): void
  /** The socket failed, or a step of a connection, which then is no more. */
  failed (error: Error): void
}

export class Endpoint {
  private readonly clock: Clock
  private readonly hooks: EndpointHooks
  private readonly socket: Socket
  private readonly routes = new Map<string, Link>()
  private readonly keys = new Map<Link, Set<string>>()
  private readonly timers = new Map<Link, { at: number, timer: NodeJS.Timeout }>()
  private ready = new Set<Link>()
  private turnPending = false
  private sweeper: NodeJS.Timeout | undefined
  private closed = false
  private readonly slab = packetSlab()
  private outbox: Outbox
  private local: HostPort = { host: '0.0.0.0', port: 0 }

  constructor (host: string, clock: Clock, hooks: EndpointHooks) {
    this.clock = clock
    this.hooks = hooks
    const family = isIPv6(host) ? 6 : 4
    this.socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      recvBufferSize: SOCKET_BUFFER,
      sendBufferSize: SOCKET_BUFFER,
      // Addresses come from packets, never names: without this every send would take a trip through the resolver's queue.
      lookup: (address, _options, callback) => { callback(null, address, family) }
    })
    this.socket.on('message', (packet, from) => { this.receive(packet, from) })
    this.socket.on('error', (error) => {
      if (!this.closed) hooks.failed(error)
    })
    this.outbox = new Outbox(this.socket, this.slab)
  }

  /** Binds; port 0 takes any. @throws the system's error when the address cannot be had */
  async bind (host: string, port: number): Promise<HostPort> {
    // With our `lookup` binding completes at once, so the event is awaited from before.
    const listening = once(this.socket, 'listening')
    const sender = BurstSender.open(host, port, this.slab)
    if (sender === undefined) {
      this.socket.bind(port, host)
    } else {
      this.outbox = new Outbox(this.socket, this.slab, sender)
      this.socket.bind({ fd: sender.fd })
    }
    await listening
    const { address, port: bound } = this.socket.address()
    this.local = { host: address, port: bound }
    return this.local
  }

  /** What quiche is told every packet was sent to; it need only be the same every time. */
  get localAddress (): HostPort { return this.local }

  sizes (): { links: number, routes: number, timers: number, ready: number, unsent: number } {
    return { links: this.keys.size, routes: this.routes.size, timers: this.timers.size, ready: this.ready.size, unsent: this.closed ? 0 : this.socket.getSendQueueCount() }
  }

  route (id: Uint8Array, link: Link): void {
    const key = routeKey(id)
    this.routes.set(key, link)
    let keys = this.keys.get(link)
    if (keys === undefined) this.keys.set(link, keys = new Set())
    keys.add(key)
    if (this.sweeper === undefined && !this.closed) this.sweeper = setInterval(() => { this.sweep() }, SWEEP_MS)
  }

  unroute (id: Uint8Array): void {
    const key = routeKey(id)
    const link = this.routes.get(key)
    this.routes.delete(key)
    if (link !== undefined) this.keys.get(link)?.delete(key)
  }

  /** Forgets a connection that is over. */
  remove (link: Link): void {
    for (const key of this.keys.get(link) ?? []) this.routes.delete(key)
    this.keys.delete(link)
    this.ready.delete(link)
    clearTimeout(this.timers.get(link)?.timer)
    this.timers.delete(link)
    if (this.keys.size === 0) this.stopSweeping()
  }

  wake (link: Link): void {
    if (!this.keys.has(link)) return
    this.ready.add(link)
    if (this.turnPending) return
    this.turnPending = true
    // After the poll phase: every datagram that is waiting now is taken in before anything is sent.
    setImmediate(() => { this.turn() })
  }

  /** Whether bursts leave with one system call. */
  get offloads (): boolean { return this.outbox.offloads }

  packetBuffer (): Buffer | undefined {
    return this.closed ? undefined : this.outbox.packetBuffer()
  }

  /** Takes the packet written to the last {@link packetBuffer}. */
  transmit (length: number, to: HostPort): void {
    if (!this.closed) this.outbox.transmit(length, to)
  }

  /** Sends a packet that belongs to no connection. */
  reply (packet: Buffer, to: HostPort): void {
    if (!this.closed) this.outbox.reply(packet, to)
  }

  close (): void {
    if (this.closed) return
    this.closed = true
    this.stopSweeping()
    for (const { timer } of this.timers.values()) clearTimeout(timer)
    this.timers.clear()
    this.ready.clear()
    this.routes.clear()
    this.keys.clear()
    this.socket.close()
  }

  private receive (packet: Buffer, info: RemoteInfo): void {
    if (this.closed) return
    const from = { host: info.address, port: info.port }
    let key = shortRouteKey(packet)
    if (key === undefined) {
      const header = parseHeader(packet)
      if (header === undefined) return
      key = routeKey(header.dcid)
    }
    const link = this.routes.get(key)
    this.guard(link, () => {
      if (link === undefined) this.hooks.unrouted(packet, from)
      else link.receive(packet, from)
    })
  }

  /** Whatever goes wrong in native code or ours costs one connection, not the process. */
  private guard (link: Link | undefined, step: () => void): void {
    try {
      step()
    } catch (error) {
      this.hooks.failed(error instanceof Error ? error : new Error(String(error)))
      link?.abandon()
    }
  }

  /** Each connection that wants it gets one burst, the ones left over come first next time. */
  private turn (): void {
    this.turnPending = false
    const queue = this.ready
    this.ready = new Set()
    const now = this.clock.monotonic()
    let left = Math.floor(TURN_PACKETS / MAX_BURST_PACKETS)
    for (const link of queue) {
      if (left-- <= 0) {
        this.ready.add(link)
        continue
      }
      this.guard(link, () => {
        if (link.step(now, MAX_BURST_PACKETS)) this.ready.add(link)
        this.arm(link, now)
      })
      this.outbox.flush()
    }
    if (this.ready.size > 0 && !this.turnPending && !this.closed) {
      this.turnPending = true
      setImmediate(() => { this.turn() })
    }
  }

  /** Timers are moved only when they would fire too late: most deadlines only move away. */
  private arm (link: Link, now: number): void {
    if (link.deadline === Infinity || !this.keys.has(link)) return
    const armed = this.timers.get(link)
    if (armed !== undefined && armed.at <= link.deadline) return
    clearTimeout(armed?.timer)
    const at = Math.max(now + 1, link.deadline)
    const timer = setTimeout(() => { this.fire(link) }, Math.min(at - now, 2 ** 31 - 1))
    this.timers.set(link, { at, timer })
  }

  private fire (link: Link): void {
    this.timers.delete(link)
    const now = this.clock.monotonic()
    if (now + 0.5 >= link.deadline) this.wake(link)
    else this.arm(link, now)
  }

  private sweep (): void {
    this.guard(undefined, () => { this.hooks.sweep(this.clock.monotonic()) })
  }

  private stopSweeping (): void {
    clearInterval(this.sweeper)
    this.sweeper = undefined
  }
}
