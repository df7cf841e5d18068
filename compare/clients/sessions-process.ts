/** Viewers over sessions, in a process of their own: WebTransport over HTTP/3 by the engine's client, or over WebSocket with the ponyfill. */
import { createHash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { cpuUsage } from 'node:process'
import { dialHttp3, nodePonyfill } from '../../client/src/node.ts'
import type { ClientSession, Connector } from '../../client/src/session.ts'
import { transportConnector } from '../../client/src/transport-session.ts'
import { PONYFILL_OPTIONS, w3cConnector } from '../../client/src/w3c-session.ts'
import { transportOffer } from '../../tools/harness/transport-offer.ts'
import type { Timing } from './http1-connection.ts'
import { runLoad, type Fetcher, type Load, type LoadOutcome } from './load.ts'

export type SessionTransport = 'webtransport' | 'websocket'

export interface Endpoint {
  readonly transport: SessionTransport
  /** Viewer URL of the relay, which says where each session is opened, and gives it its ticket. */
  readonly relay: string
}

export type SessionsOrder =
  | { readonly kind: 'load', readonly endpoint: Endpoint, readonly load: Load }
  | { readonly kind: 'digest', readonly endpoint: Endpoint, readonly path: string }
  /** Opens sessions and keeps them until `release`. */
  | { readonly kind: 'hold', readonly endpoint: Endpoint, readonly sessions: number }
  | { readonly kind: 'release' }

export interface SessionsAnswer {
  readonly outcome?: LoadOutcome
  readonly cpuMs?: number
  readonly digest?: string
  readonly held?: number
  readonly error?: string
}

/** Handshakes at the same time. */
const WIDTH = 10

const connectors: Record<SessionTransport, Connector> = {
  webtransport: transportConnector(dialHttp3),
  websocket: w3cConnector(nodePonyfill, PONYFILL_OPTIONS)
}

async function open ({ transport, relay }: Endpoint): Promise<ClientSession> {
  const { url, certificateHashes } = (await transportOffer(relay))[transport]
  return await connectors[transport]({
    url: url.replace(/^wss:/, 'https:'),
    certificateHashes: certificateHashes.map(({ value }) => Uint8Array.from(Buffer.from(value, 'base64'))),
    signal: AbortSignal.timeout(60_000),
    onIncoming: stream => { void (async () => { while (await stream.read() !== null) { /* the control stream only has to flow */ } })().catch(() => {}) }
  })
}

async function openMany (endpoint: Endpoint, count: number): Promise<ClientSession[]> {
  const sessions: ClientSession[] = []
  let left = count
  await Promise.all(Array.from({ length: Math.min(WIDTH, count) }, async () => {
    while (left-- > 0) sessions.push(await open(endpoint))
  }))
  return sessions
}

async function get (session: ClientSession, path: string, onBody?: (chunk: Uint8Array) => void): Promise<Timing> {
  const start = performance.now()
  const stream = await session.openStream()
  await stream.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n\r\n`))
  await stream.end()
  let head: Buffer | undefined = Buffer.alloc(0)
  let length = Number.NaN
  let bytes = 0
  let firstByteMs = 0
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    let body: Uint8Array = chunk
    if (head !== undefined) {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) continue
      const text = head.toString('latin1', 0, end)
      if (!text.startsWith('HTTP/1.1 200 ')) throw new Error(`unexpected answer: ${text.slice(0, 200)}`)
      length = Number(/^content-length: *(\d+) *$/im.exec(text)?.[1])
      body = head.subarray(end + 4)
      head = undefined
    }
    if (bytes === 0 && body.length > 0) firstByteMs = performance.now() - start
    bytes += body.length
    onBody?.(body)
  }
  if (bytes !== length) throw new Error(`${bytes} of ${length} bytes`)
  return { firstByteMs, wholeMs: performance.now() - start, bytes }
}

function closeAll (sessions: readonly ClientSession[]): void {
  for (const session of sessions) session.close()
}

async function load (endpoint: Endpoint, order: Load): Promise<SessionsAnswer> {
  const sessions = await openMany(endpoint, order.connections)
  const cpu = cpuUsage()
  try {
    const outcome = await runLoad(sessions.map((session): Fetcher => ({ get: async path => await get(session, path) })), order)
    const { user, system } = cpuUsage(cpu)
    return { outcome, cpuMs: (user + system) / 1_000 }
  } finally {
    closeAll(sessions)
  }
}

let held: ClientSession[] = []

async function carryOut (order: SessionsOrder): Promise<SessionsAnswer> {
  switch (order.kind) {
    case 'load': return await load(order.endpoint, order.load)
    case 'digest': {
      const session = await open(order.endpoint)
      const hash = createHash('sha256')
      try {
        await get(session, order.path, chunk => { hash.update(chunk) })
      } finally {
        session.close()
      }
      return { digest: hash.digest('hex') }
    }
    case 'hold':
      held = [...held, ...await openMany(order.endpoint, order.sessions)]
      return { held: held.length }
    case 'release': {
      const over = held.map(async session => { await session.closed.catch(() => {}) })
      closeAll(held)
      held = []
      await Promise.all(over)
      return { held: 0 }
    }
  }
}

process.on('message', message => {
  carryOut(message as SessionsOrder)
    .catch((error: unknown): SessionsAnswer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then(answer => { process.send?.(answer) }, () => {})
})
process.on('disconnect', () => { process.exit(0) })
