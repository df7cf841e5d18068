import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { randomBytes } from 'node:crypto'
import { connectHttp3 } from '../../src/gateway/transports/http3/client.ts'
import { encodeFrame, FRAME } from '../../src/gateway/transports/http3/h3-frames.ts'
import { connectFields } from '../../src/gateway/transports/http3/h3-messages.ts'
import { encodeSettings, OUR_SETTINGS } from '../../src/gateway/transports/http3/h3-settings.ts'
import { encodeFieldSection } from '../../src/gateway/transports/http3/qpack.ts'
import type { TransportSession } from '../../src/gateway/transports/viewer-transport.ts'
import { gatewayPid, gatewaySizes } from './gateway-process.ts'
import { startProxy } from './udp-proxy.ts'
import { readAll } from './quinn-rig.ts'
import { residentBytes, type SpawnedRelay } from './processes.ts'
import { initialPackets, RawQuic } from './raw-quic.ts'
import { transportOffer, type TransportOffer } from './transport-offer.ts'

/** How much of each; a phase with 0 is left out. */
export interface AbuseCounts {
  readonly sessions: number
  readonly streams: number
  readonly halfOpen: number
  readonly datagrams: number
  readonly mutated: number
  /** Every n-th truncation of a CONNECT and of an upgrade request. */
  readonly truncationStep: number
}

export interface AbuseRow {
  readonly phase: string
  readonly count: number
  readonly seconds: number
  /** Resident memory of the gateway before, at most, and after, bytes. */
  readonly before: number
  readonly peak: number
  readonly after: number
  /** The largest sizes seen on the way, of those that are not 0 when idle. */
  readonly largest: Readonly<Record<string, number>>
}

/** What keeps its content on purpose, within bounds of its own. */
const CACHES = ['source.seenKeys', 'source.ramBytes']
/** Two heartbeats at the default interval, ms. */
const HEARTBEATS_MS = 500
const SHARD = '/shards/syn-1000-abuse/shard_0.bin'
const REQUEST = Buffer.from(`GET ${SHARD} HTTP/1.1\r\n\r\n`)

export class GatewayAbuse {
  readonly #relay: SpawnedRelay
  readonly #port: number
  readonly #websocketPort: number
  readonly #pins: { algorithm: 'sha-256', value: Buffer }[]
  readonly #idle: Record<string, number>
  readonly #pid: number

  private constructor (relay: SpawnedRelay, offer: TransportOffer, idle: Record<string, number>, pid: number) {
    this.#relay = relay
    this.#port = Number(new URL(offer.webtransport.url).port)
    this.#websocketPort = Number(new URL(offer.websocket.url).port)
    this.#pins = offer.webtransport.certificateHashes.map(({ value }) => ({ algorithm: 'sha-256', value: Buffer.from(value, 'base64') }))
    this.#idle = idle
    this.#pid = pid
  }

  static async of (relay: SpawnedRelay): Promise<GatewayAbuse> {
    const offer = await transportOffer(relay.viewerUrl)
    const pid = await gatewayPid(relay.pid)
    if (pid === undefined) throw new Error('no gateway')
    return new GatewayAbuse(relay, offer, await gatewaySizes(relay.adminUrl), pid)
  }

  /** One phase after the other; after each everything is back at its idle size, and a viewer is served. @throws Error when not */
  async run (counts: AbuseCounts, onRow: (row: AbuseRow) => void = () => {}): Promise<AbuseRow[]> {
    const phases: [string, number, (count: number) => Promise<void>][] = [
      ['sessions one after the other', counts.sessions, async count => { await this.#sessions(count) }],
      ['streams one after the other', counts.streams, async count => { await this.#streams(count) }],
      ['half-open handshakes', counts.halfOpen, async count => { await this.#halfOpen(count) }],
      ['random datagrams', counts.datagrams, async count => { await this.#datagrams(count) }],
      ['mutated packets of a session', counts.mutated, async count => { await this.#mutated(count) }],
      ['truncations of a CONNECT', counts.truncationStep, async step => { await this.#truncations(step) }]
    ]
    const rows: AbuseRow[] = []
    for (const [phase, count, run] of phases) {
      if (count === 0) continue
      const row = await this.#measured(phase, count, run)
      onRow(row)
      rows.push(row)
    }
    return rows
  }

  async #measured (phase: string, count: number, run: (count: number) => Promise<void>): Promise<AbuseRow> {
    const before = await residentBytes(this.#pid)
    const largest: Record<string, number> = {}
    let peak = before
    const looking = { on: true }
    const look = (async () => {
      while (looking.on) {
        peak = Math.max(peak, await residentBytes(this.#pid).catch(() => 0))
        for (const [name, size] of Object.entries(await gatewaySizes(this.#relay.adminUrl))) {
          if (!CACHES.includes(name) && size > (largest[name] ?? this.#idle[name] ?? 0)) largest[name] = size
        }
        await new Promise(resolve => { setTimeout(resolve, 100) })
      }
    })()
    const start = performance.now()
    await run(count)
    const seconds = (performance.now() - start) / 1_000
    await this.#settled(phase)
    looking.on = false
    await look
    const session = await this.#connect()
    await this.#ask(session)
    session.close()
    await this.#settled(phase)
    if (await gatewayPid(this.#relay.pid) !== this.#pid) throw new Error(`${phase}: the gateway was restarted`)
    return { phase, count, seconds, before, peak, after: await residentBytes(this.#pid), largest }
  }

  /** Waits until nothing but the caches differs from an idle gateway. */
  async #settled (phase: string): Promise<void> {
    // Sizes are as old as the last heartbeat: what they say now may be from before the phase.
    await new Promise(resolve => { setTimeout(resolve, HEARTBEATS_MS) })
    const end = Date.now() + 60_000
    for (;;) {
      const sizes = await gatewaySizes(this.#relay.adminUrl)
      const left = Object.entries(sizes).filter(([name, size]) => !CACHES.includes(name) && size !== (this.#idle[name] ?? 0))
      if (left.length === 0) return
      if (Date.now() > end) throw new Error(`${phase}: left behind ${JSON.stringify(left)}`)
      await new Promise(resolve => { setTimeout(resolve, 50) })
    }
  }

  async #connect (port = this.#port): Promise<TransportSession> {
    return await connectHttp3(`https://127.0.0.1:${port}/v1/viewer`, { certificateHashes: this.#pins, timeoutMs: 30_000 })
  }

  async #ask (session: TransportSession): Promise<void> {
    const stream = await session.openBidi()
    await stream.write(REQUEST)
    await stream.end()
    const answer = await readAll(stream)
    if (!answer.subarray(0, 12).toString().startsWith('HTTP/1.1 200')) throw new Error(`answer ${answer.subarray(0, 100).toString()}`)
  }

  async #sessions (count: number): Promise<void> {
    const turns = Array.from({ length: count }).keys()
    await Promise.all(Array.from({ length: 4 }, async () => {
      while (turns.next().done === false) {
        const session = await this.#connect()
        await this.#ask(session)
        session.close()
      }
    }))
  }

  async #streams (count: number): Promise<void> {
    const session = await this.#connect()
    const turns = Array.from({ length: count }).keys()
    await Promise.all(Array.from({ length: 32 }, async () => {
      while (turns.next().done === false) await this.#ask(session)
    }))
    session.close()
  }

  async #halfOpen (count: number): Promise<void> {
    await this.#spray(await initialPackets(count))
  }

  async #datagrams (count: number): Promise<void> {
    await this.#spray(Array.from({ length: count }, (_, position) => {
      const noise = randomBytes(1 + (position * 131) % 1_472)
      // Half of them with the form of a long header, a quarter with a version that exists.
      if (position % 2 === 0) noise[0] = (noise[0] ?? 0) | 0xc0
      if (position % 4 === 0 && noise.length > 5) noise.writeUInt32BE(1, 1)
      return noise
    }))
  }

  async #mutated (count: number): Promise<void> {
    const recorded: Buffer[] = []
    const proxy = await startProxy(this.#port, {
      drop: (packet, toServer) => {
        if (toServer) recorded.push(Buffer.from(packet))
        return false
      }
    })
    const session = await this.#connect(proxy.port)
    for (let time = 0; time < 20; time++) await this.#ask(session)
    const replay = Array.from({ length: count }, (_, position) => {
      const packet = Buffer.from(recorded[position % recorded.length] ?? [])
      const flips = position % 9
      for (let flip = 0; flip < flips; flip++) packet[(position * 7_919 + flip * 104_729) % packet.length] = (position * 31 + flip) & 0xff
      if (position % 5 === 1) return packet.subarray(0, 1 + position % packet.length)
      return position % 11 === 2 ? Buffer.concat([packet, randomBytes(1 + position % 200)]) : packet
    })
    // While the session lives, so that many of them meet a connection with keys.
    await this.#spray(replay)
    await this.#ask(session)
    session.close()
    await session.closed
    proxy.close()
  }

  async #truncations (step: number): Promise<void> {
    const control = Buffer.concat([Buffer.from([0]), encodeSettings(OUR_SETTINGS)])
    const connect = encodeFrame(FRAME.HEADERS, encodeFieldSection(connectFields(`127.0.0.1:${this.#port}`, '/v1/viewer', { origin: 'https://player.example' })))
    for (let length = 0; length < connect.length; length += step) {
      for (const fin of [true, false]) {
        const raw = await RawQuic.connect(this.#port)
        raw.send(2, control, false)
        raw.send(0, connect.subarray(0, length), fin)
        await new Promise(resolve => { setTimeout(resolve, 2) })
        raw.close()
      }
    }
    const upgrade = Buffer.from(`GET /v1/viewer HTTP/1.1\r\nhost: 127.0.0.1:${this.#websocketPort}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: webtransport\r\n\r\n`)
    for (let length = 0; length < upgrade.length; length += step) {
      const socket = connectTls({ host: '127.0.0.1', port: this.#websocketPort, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
      socket.on('error', () => {})
      await once(socket, 'secureConnect')
      socket.write(upgrade.subarray(0, length))
      await new Promise(resolve => { setImmediate(resolve) })
      socket.destroy()
    }
  }

  /** Sends packets from changing ports, in bursts the kernel takes. */
  async #spray (packets: readonly Buffer[]): Promise<void> {
    let socket: Socket | undefined
    for (const [position, packet] of packets.entries()) {
      if (position % 250 === 0) {
        socket?.close()
        socket = createSocket('udp4')
        socket.on('message', () => {})
        socket.bind(0, '127.0.0.1')
        await once(socket, 'listening')
      }
      socket?.send(packet, this.#port, '127.0.0.1')
      if (position % 25 === 24) await new Promise(resolve => { setTimeout(resolve, 1) })
    }
    await new Promise(resolve => { setTimeout(resolve, 50) })
    socket?.close()
  }
}
