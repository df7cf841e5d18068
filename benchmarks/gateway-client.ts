/** The viewers of `gateway.ts` and `engine.ts`, in a process of their own: told what to do over IPC, answers with times. */
import { createHash } from 'node:crypto'
import { cpuUsage } from 'node:process'
import { dialHttp3, nodePonyfill } from '../client/src/node.ts'
import type { ClientSession, Connector } from '../client/src/session.ts'
import { transportConnector } from '../client/src/transport-session.ts'
import { PONYFILL_OPTIONS, w3cConnector } from '../client/src/w3c-session.ts'

export type SessionTransport = 'webtransport' | 'websocket'

export interface Order {
  readonly transport: SessionTransport
  readonly url: string
  readonly certificateHashes: readonly string[]
  /** Queries of the URLs, one for each session: a ticket is good for one, and was asked for before the time counts. Empty where none is needed. */
  readonly queries: readonly string[]
  readonly sessions: number
  /** Requests of each session, one after the other; none only opens and closes it. */
  readonly paths: readonly string[]
  readonly bytes: number
  /** SHA-256 of every body, in the order of `paths`; compared on the first session. */
  readonly digests: readonly string[]
  /** Sessions opened at the same time. */
  readonly width: number
}

export interface Outcome {
  readonly handshakeSeconds: number
  readonly seconds: number
  readonly bytes: number
  readonly cpuMs: number
  readonly failures: readonly string[]
}

const connectors: Record<SessionTransport, Connector> = {
  webtransport: transportConnector(dialHttp3),
  websocket: w3cConnector(nodePonyfill, PONYFILL_OPTIONS)
}

async function open (order: Order, number: number): Promise<ClientSession> {
  const url = new URL(order.url)
  url.search = order.queries[number] ?? ''
  return await connectors[order.transport]({
    url: url.href,
    certificateHashes: order.certificateHashes.map(value => Uint8Array.from(Buffer.from(value, 'base64'))),
    signal: AbortSignal.timeout(60_000),
    onIncoming: stream => { void (async () => { while (await stream.read() !== null) { /* the control stream only has to flow */ } })().catch(() => {}) }
  })
}

async function fetchPath (session: ClientSession, path: string, order: Order, digest: string | undefined): Promise<number> {
  const stream = await session.openStream()
  await stream.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n\r\n`))
  await stream.end()
  const hash = digest === undefined ? undefined : createHash('sha256')
  let head: Buffer | undefined = Buffer.alloc(0)
  let bytes = 0
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    let body: Uint8Array = chunk
    if (head !== undefined) {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) continue
      if (!head.subarray(0, 16).toString().startsWith('HTTP/1.1 200')) throw new Error(head.subarray(0, 100).toString())
      body = head.subarray(end + 4)
      head = undefined
    }
    bytes += body.length
    hash?.update(body)
  }
  if (bytes !== order.bytes) throw new Error(`${bytes} of ${order.bytes} bytes`)
  if (hash !== undefined && hash.digest('hex') !== digest) throw new Error('wrong digest')
  return bytes
}

async function carryOut (order: Order): Promise<Outcome> {
  const failures: string[] = []
  const sessions: ClientSession[] = []
  const cpu = cpuUsage()
  const start = performance.now()
  const turns = Array.from({ length: order.sessions }).keys()
  await Promise.all(Array.from({ length: Math.min(order.width, order.sessions) }, async () => {
    for (const number of turns) {
      try {
        const session = await open(order, number)
        if (order.paths.length === 0) session.close()
        else sessions.push(session)
      } catch (error) {
        failures.push(String(error))
      }
    }
  }))
  const opened = performance.now()
  let bytes = 0
  await Promise.all(sessions.map(async (session, position) => {
    for (const [number, path] of order.paths.entries()) {
      try {
        const got = await fetchPath(session, path, order, position === 0 ? order.digests[number] : undefined)
        bytes += got
      } catch (error) {
        failures.push(String(error))
      }
    }
  }))
  const end = performance.now()
  for (const session of sessions) session.close()
  await Promise.all(sessions.map(async session => { await session.closed.catch(() => {}) }))
  const { user, system } = cpuUsage(cpu)
  return { handshakeSeconds: (opened - start) / 1_000, seconds: (end - opened) / 1_000, bytes, cpuMs: (user + system) / 1_000, failures }
}

process.on('message', message => {
  carryOut(message as Order).then(outcome => { process.send?.(outcome) }, (error: unknown) => {
    process.send?.({ handshakeSeconds: 0, seconds: 0, bytes: 0, cpuMs: 0, failures: [String(error)] } satisfies Outcome)
  })
})
process.on('disconnect', () => { process.exit(0) })
