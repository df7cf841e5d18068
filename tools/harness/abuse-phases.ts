/** What strangers may do to a gateway, one kind after the other; none of it is what our own clients do. */
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { connectQuinn } from '../../client/src/node-quinn.ts'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import type { NapiSession } from '../../src/quinn/binding.ts'
import { quinnBinding } from './quinn.ts'
import { openSession, readAll } from './quinn-rig.ts'
import { clientInitial, cryptoFrame, helloInitials, recordClientHello, type ClientHello } from './quic-initial.ts'
import { transportOffer, type TransportOffer } from './transport-offer.ts'
import { startProxy } from './udp-proxy.ts'

const SHARD = '/shards/syn-1000-abuse/shard_0.bin'
const REQUEST = Buffer.from(`GET ${SHARD} HTTP/1.1\r\n\r\n`)
/** Handshakes at the same time. */
const WIDTH = 4
/** What the engine lets a session have at the same time. */
const STREAMS = 99
/** CRYPTO data a server keeps until what is before it has come (RFC 9000 §7.5: 4,096 bytes at least; quinn: 16 KiB). */
const CRYPTO_BYTES = 16_384
/** One-byte frames that fit into a datagram. */
const GAPS_PER_PACKET = 220
/** Unwanted datagrams of a session at most, until the gateway has ended it. */
const MAX_FLOOD = 50_000

export class AbusePhases {
  readonly #viewerUrl: string
  readonly #offer: TransportOffer
  readonly #port: number
  readonly #websocketPort: number
  readonly #hashes: Buffer[]

  private constructor (viewerUrl: string, offer: TransportOffer) {
    this.#viewerUrl = viewerUrl
    this.#offer = offer
    this.#port = Number(new URL(offer.webtransport.url).port)
    this.#websocketPort = Number(new URL(offer.websocket.url).port)
    this.#hashes = offer.webtransport.certificateHashes.map(({ value }) => Buffer.from(value, 'base64'))
  }

  static async of (viewerUrl: string): Promise<AbusePhases> {
    return new AbusePhases(viewerUrl, await transportOffer(viewerUrl))
  }

  async connect (): Promise<TransportSession> {
    return await openSession(this.#viewerUrl)
  }

  /** A shard, as any viewer asks for it. @throws Error when it is not answered */
  async ask (session: TransportSession): Promise<void> {
    const stream = await session.openBidi()
    await stream.write(REQUEST)
    await stream.end()
    const answer = await readAll(stream)
    if (!answer.subarray(0, 12).toString().startsWith('HTTP/1.1 200')) throw new Error(`answer ${answer.subarray(0, 100).toString()}`)
  }

  async sessions (count: number): Promise<void> {
    await inTurns(count, WIDTH, async () => {
      const session = await this.connect()
      await this.ask(session)
      session.close()
    })
  }

  async streams (count: number): Promise<void> {
    const session = await this.connect()
    await inTurns(count, 32, async () => { await this.ask(session) })
    session.close()
  }

  /** Sessions without a ticket, with one that was used and with a forged one. @throws Error when one gets in */
  async uninvited (count: number): Promise<void> {
    await inTurns(count, WIDTH, async turn => {
      const url = new URL(this.#offer.webtransport.url)
      if (turn % 3 === 0) {
        url.search = ''
      } else {
        const { webtransport } = await transportOffer(this.#viewerUrl)
        url.search = new URL(webtransport.url).search
        if (turn % 3 === 1) (await this.#knock(url)).close()
        else url.search = url.search.replace(/.$/, last => last === 'A' ? 'E' : 'A')
      }
      const session = await this.#knock(url).catch(() => undefined)
      if (session === undefined) return
      session.close()
      throw new Error(`a session without a good ticket was opened (${url.search})`)
    })
  }

  async #knock (url: URL): Promise<TransportSession> {
    return await connectQuinn(quinnBinding(), url, { certificateHashes: this.#hashes, timeoutMs: 30_000 })
  }

  /** Requests without a FIN, whose answers nobody reads, until the gateway has had enough of a session or no stream is left in it. */
  async unended (count: number): Promise<void> {
    const sessions = Math.ceil(count / STREAMS)
    await inTurns(sessions, WIDTH, async () => {
      const session = await this.connect()
      for (let opened = 0; opened < STREAMS; opened++) {
        const asked = await session.openBidi().then(async stream => { await stream.write(REQUEST) }).then(() => true, () => false)
        if (!asked) break
      }
      await Promise.race([session.closed, pause(100)])
      session.close()
      await session.closed
    })
  }

  /** Unidirectional streams and datagrams in turns. @throws Error when a session is let do it for ever */
  async unwanted (count: number): Promise<void> {
    await inTurns(count, 2, async turn => {
      const { webtransport } = await transportOffer(this.#viewerUrl)
      const session = await quinnBinding().NapiClient.withCertificateHashes(this.#hashes).connect(webtransport.url)
      let over = false
      const closed = session.closed().then(() => { over = true }, () => { over = true })
      await flood(session, turn % 2 === 0, () => over)
      if (!over) session.close(0, '')
      await closed
    })
  }

  async halfOpen (count: number): Promise<void> {
    const hello = await recordClientHello()
    await this.#spray(Array.from({ length: count }).flatMap(() => helloInitials(hello)))
  }

  /**
   * Handshakes whose CRYPTO data has a gap after every byte, up to what a server keeps. Every second goes on far behind that in the end.
   */
  async cryptoGaps (count: number): Promise<void> {
    const hello = await recordClientHello()
    for (let connection = 0; connection < count; connection++) await this.#spray(gapPackets(hello, connection % 2 === 0))
  }

  async datagrams (count: number): Promise<void> {
    await this.#spray(Array.from({ length: count }, (_, position) => {
      const noise = randomBytes(1 + (position * 131) % 1_472)
      // Half of them with the form of a long header, a quarter with a version that exists.
      if (position % 2 === 0) noise[0] = (noise[0] ?? 0) | 0xc0
      if (position % 4 === 0 && noise.length > 5) noise.writeUInt32BE(1, 1)
      return noise
    }))
  }

  async mutated (count: number): Promise<void> {
    const recorded: Buffer[] = []
    const proxy = await startProxy(this.#port, {
      drop: (packet, toServer) => {
        if (toServer) recorded.push(Buffer.from(packet))
        return false
      }
    })
    const session = await openSession(this.#viewerUrl, { port: proxy.port })
    for (let time = 0; time < 20; time++) await this.ask(session)
    const replay = Array.from({ length: count }, (_, position) => mutate(recorded[position % recorded.length] ?? Buffer.alloc(1), position))
    // While the session lives, so that many of them meet a connection with keys.
    await this.#spray(replay)
    await this.ask(session)
    session.close()
    await session.closed
    proxy.close()
  }

  /** The WebSocket upgrade, cut off after every `step` bytes. */
  async truncations (step: number): Promise<void> {
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
      if (position % 25 === 24) await pause(1)
    }
    await pause(5)
    socket?.close()
  }
}

async function pause (ms: number): Promise<void> {
  await new Promise(resolve => { setTimeout(resolve, ms) })
}

async function inTurns (count: number, width: number, work: (turn: number) => Promise<void>): Promise<void> {
  const turns = Array.from({ length: count }).keys()
  await Promise.all(Array.from({ length: width }, async () => {
    for (let turn = turns.next(); turn.done !== true; turn = turns.next()) await work(turn.value)
  }))
}

/** Sends what nobody reads until the session is over. @throws Error when it is not, after a great many */
async function flood (session: NapiSession, datagrams: boolean, over: () => boolean): Promise<void> {
  for (let sent = 0; sent < MAX_FLOOD; sent++) {
    if (over()) return
    try {
      if (datagrams) session.sendDatagram(Buffer.from('?'))
      // Credit may be used up, which comes back while the gateway refuses the streams or never.
      else await Promise.race([session.openUni().then(async stream => { await stream.write(Buffer.from('?')) }), session.closed().catch(() => {})])
    } catch {
      return
    }
    if (datagrams && sent % 100 === 99) await pause(2)
  }
  throw new Error(`${MAX_FLOOD} ${datagrams ? 'datagrams' : 'streams'} were taken`)
}

function gapPackets ({ scid, bytes }: ClientHello, farther: boolean): Buffer[] {
  const dcid = randomBytes(16)
  const packets = [clientInitial(dcid, scid, 0, cryptoFrame({ offset: 0, bytes: bytes.subarray(0, 100) }))]
  const single = Buffer.from([1])
  for (let offset = 102; offset < CRYPTO_BYTES; offset += 2 * GAPS_PER_PACKET) {
    const frames = Array.from({ length: GAPS_PER_PACKET }, (_, gap) => cryptoFrame({ offset: Math.min(offset + 2 * gap, CRYPTO_BYTES - 2), bytes: single }))
    packets.push(clientInitial(dcid, scid, packets.length, Buffer.concat(frames)))
  }
  if (farther) packets.push(clientInitial(dcid, scid, packets.length, cryptoFrame({ offset: 1_000_000, bytes: single })))
  return packets
}

function mutate (recorded: Buffer, position: number): Buffer {
  const packet = Buffer.from(recorded)
  const flips = position % 9
  for (let flip = 0; flip < flips; flip++) packet[(position * 7_919 + flip * 104_729) % packet.length] = (position * 31 + flip) & 0xff
  if (position % 5 === 1) return packet.subarray(0, 1 + position % packet.length)
  return position % 11 === 2 ? Buffer.concat([packet, randomBytes(1 + position % 200)]) : packet
}
