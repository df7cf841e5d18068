/** Viewers that fetch as fast as they may, in a process of their own: told over IPC who joins and leaves, tells what each has received and heard. */
import { randomUUID } from 'node:crypto'
import { Agent, get, type IncomingMessage } from 'node:http'
import { dialHttp3, nodePonyfill } from '../../client/src/node.ts'
import type { ClientSession, Connector } from '../../client/src/session.ts'
import { transportConnector } from '../../client/src/transport-session.ts'
import { PONYFILL_OPTIONS, w3cConnector } from '../../client/src/w3c-session.ts'
import { parseCmsd } from '../../src/protocol/cmsd.ts'
import { ControlReader } from '../../src/protocol/control-messages.ts'
import { transportOffer } from './transport-offer.ts'

export type ViewerTransport = 'webtransport' | 'websocket' | 'http'

export interface JoinOrder {
  readonly type: 'join'
  readonly ids: readonly number[]
  readonly transport: ViewerTransport
  /** Of the viewer HTTP listener, which tells where sessions begin. */
  readonly url: string
  readonly paths: readonly string[]
  /** Requests of each viewer at the same time. */
  readonly streams: number
}

export type Order = JoinOrder | { readonly type: 'leave', readonly ids: readonly number[] }

export type News =
  /** The viewer has its session, or, over HTTP, begins. */
  | { readonly type: 'joined', readonly id: number, readonly at: number }
  | { readonly type: 'failed', readonly id: number, readonly reason: string }
  | { readonly type: 'heard', readonly id: number, readonly at: number, readonly rendition: string, readonly bitsPerSecond: number }
  /** Bytes received so far, by viewer. Times are those of the machine's monotonic clock, ms. */
  | { readonly type: 'received', readonly at: number, readonly bytes: readonly (readonly [id: number, bytes: number])[] }

const SAMPLE_MS = 100
/** As the client library keeps it. */
const STREAMS_PER_SESSION = 96

interface Viewer { bytes: number, left: boolean, leave: () => void }

const viewers = new Map<number, Viewer>()
const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000
const tell = (news: News): void => { if (process.connected) process.send?.(news, undefined, undefined, () => {}) }
const connectors: Record<'webtransport' | 'websocket', Connector> = {
  webtransport: transportConnector(dialHttp3),
  websocket: w3cConnector(nodePonyfill, PONYFILL_OPTIONS)
}

function pathOf (order: JoinOrder, id: number, turn: number): string {
  return order.paths[(id * 7 + turn) % order.paths.length] ?? ''
}

/** As the client library does it: as many sessions as its streams need, all of one viewer. */
async function overSessions (order: JoinOrder, id: number, viewer: Viewer): Promise<void> {
  const name = randomUUID()
  const counts = Array.from({ length: Math.ceil(order.streams / STREAMS_PER_SESSION) }, (_, n) => Math.min(STREAMS_PER_SESSION, order.streams - n * STREAMS_PER_SESSION))
  const sessions = await Promise.all(counts.map(async () => await openSession(order, id, name)))
  viewer.leave = () => { for (const session of sessions) session.close() }
  tell({ type: 'joined', id, at: now() })
  await Promise.all(sessions.map(async (session, index) => {
    const closed = session.closed.then(reason => { if (!viewer.left) throw new Error(`session closed: ${reason}`) })
    await Promise.race([closed, Promise.all(Array.from({ length: counts[index] ?? 0 }, async (_, stream) => {
      for (let turn = index * STREAMS_PER_SESSION + stream; !viewer.left; turn++) await fetchOver(session, pathOf(order, id, turn), viewer)
    }))])
  }))
}

async function openSession (order: JoinOrder, id: number, name: string): Promise<ClientSession> {
  const transport = order.transport === 'websocket' ? 'websocket' : 'webtransport'
  // A ticket for each.
  const { url, certificateHashes } = (await transportOffer(order.url))[transport]
  const target = new URL(url.replace('wss:', 'https:'))
  target.searchParams.set('viewer', name)
  return await connectors[transport]({
    url: target.href,
    certificateHashes: certificateHashes.map(({ value }) => Uint8Array.from(Buffer.from(value, 'base64'))),
    signal: AbortSignal.timeout(30_000),
    onIncoming: stream => {
      const reader = new ControlReader()
      const follow = async (): Promise<void> => {
        for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
          for (const message of reader.push(chunk)) {
            if (message.type === 'bandwidth') tell({ type: 'heard', id, at: now(), rendition: message.suggestedRendition, bitsPerSecond: message.bitsPerSecond })
          }
        }
      }
      follow().catch(() => {})
    }
  })
}

async function fetchOver (session: ClientSession, path: string, viewer: Viewer): Promise<void> {
  const stream = await session.openStream()
  await stream.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n\r\n`))
  await stream.end()
  let first = true
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    if (first && !Buffer.from(chunk.subarray(0, 12)).equals(Buffer.from('HTTP/1.1 200'))) throw new Error(Buffer.from(chunk.subarray(0, 400)).toString('latin1'))
    first = false
    viewer.bytes += chunk.length
  }
}

async function overHttp (order: JoinOrder, id: number, viewer: Viewer): Promise<void> {
  // An address of its own for each: viewers over HTTP are told apart by it.
  const localAddress = `127.0.1.${id + 1}`
  const agent = new Agent({ keepAlive: true, localAddress, maxSockets: order.streams })
  viewer.leave = () => { agent.destroy() }
  tell({ type: 'joined', id, at: now() })
  await Promise.all(Array.from({ length: order.streams }, async (_, stream) => {
    for (let turn = stream; !viewer.left; turn++) {
      const response = await new Promise<IncomingMessage>((resolve, reject) => { get(order.url + pathOf(order, id, turn), { agent, localAddress }, resolve).on('error', reject) })
      if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
      const hint = parseCmsd(response.headers['cmsd-dynamic']?.toString())
      if (hint !== undefined) tell({ type: 'heard', id, at: now(), rendition: hint.rendition, bitsPerSecond: hint.bitsPerSecond })
      for await (const chunk of response as AsyncIterable<Buffer>) viewer.bytes += chunk.length
    }
  }))
}

function join (order: JoinOrder): void {
  for (const id of order.ids) {
    const viewer: Viewer = { bytes: 0, left: false, leave: () => {} }
    viewers.set(id, viewer)
    const watching = order.transport === 'http' ? overHttp(order, id, viewer) : overSessions(order, id, viewer)
    watching.catch((error: unknown) => { if (!viewer.left) tell({ type: 'failed', id, reason: String(error) }) })
  }
}

process.on('message', message => {
  const order = message as Order
  if (order.type === 'join') return join(order)
  for (const id of order.ids) {
    const viewer = viewers.get(id)
    if (viewer === undefined) continue
    viewer.left = true
    viewer.leave()
    viewers.delete(id)
  }
})
process.on('disconnect', () => { process.exit(0) })
setInterval(() => { tell({ type: 'received', at: now(), bytes: Array.from(viewers, ([id, { bytes }]) => [id, bytes] as const) }) }, SAMPLE_MS)
