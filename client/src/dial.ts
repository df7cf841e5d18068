import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { bytesOfBase64 } from '../../src/protocol/repr-digest.ts'
import { ShardClientError, reasonText, retryAfterOf } from './client-error.ts'
import { loadSessions } from './late-parts.ts'
import type { ClientPlatform } from './platform.ts'
import { FetchConnection } from './relay-connection.ts'
import type { RelayConnection } from './relay-connection.ts'
import type { Connector } from './session.ts'
import type { TransportCandidate } from './transport-memory.ts'
import type { TransportFailure, TransportInfo, TransportName } from './transports.ts'
import type { FetchResponse } from './w3c-types.ts'
import { abortable, linkedAbort } from './waiting.ts'

export interface DialOptions {
  readonly webTransport: Connector
  /** WebTransport over WebSocket; undefined where no ponyfill is at hand. */
  readonly websocket: Connector | undefined
  readonly platform: ClientPlatform
  /** All sessions of a client name it, so that the relay counts them as one viewer. */
  readonly viewerId: string
  /** Longest time one transport may take to connect, milliseconds. */
  readonly timeoutMs: number
}

export interface Dialled {
  readonly connection: RelayConnection
  readonly info: TransportInfo
  /** The relay's process that has the session; undefined where there is none or it does not tell. */
  readonly gateway: string | undefined
  /** Those of the failed transports that gave no answer in time, as where the network drops their packets. */
  readonly unanswered: readonly TransportFailure[]
}

/** Where sessions of one transport are opened; undefined when the relay does not offer it. */
interface Offer {
  readonly url: string
  readonly certificateHashes: ReadonlyArray<Uint8Array<ArrayBuffer>>
}

interface Discovery {
  readonly region: string | undefined
  readonly webtransport: Offer | undefined
  readonly websocket: Offer | undefined
  readonly httpUrl: string
  readonly overloaded: boolean
  readonly gateway: string | undefined
}

type JsonObject = Readonly<Record<string, unknown>>

function member (value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as JsonObject)[name] : undefined
}

function textMember (value: unknown, name: string): string | undefined {
  const text = member(value, name)
  return typeof text === 'string' && text !== '' ? text : undefined
}

/** URL of a relay without trailing slash, query or fragment; undefined unless it is http or https. */
export function relayBase (url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const { protocol, origin, pathname, username } = new URL(url)
  return (protocol === 'https:' || protocol === 'http:') && username === '' ? origin + pathname.replace(/\/+$/, '') : undefined
}

function hashesOf (listed: unknown): Offer['certificateHashes'] {
  return (Array.isArray(listed) ? listed : []).flatMap(entry => {
    const bytes = textMember(entry, 'algorithm') === 'sha-256' ? bytesOfBase64(textMember(entry, 'value') ?? '') : undefined
    return bytes?.length === 32 ? [bytes] : []
  })
}

function offerOf (value: unknown): Offer | undefined {
  const url = textMember(value, 'url')
  return url === undefined ? undefined : { url, certificateHashes: hashesOf(member(value, 'certificateHashes')) }
}

/** Reads `GET /v1/transport`; unknown members are left alone. */
function parseDiscovery (value: unknown, relayUrl: string): Discovery {
  return {
    region: textMember(value, 'region'),
    webtransport: offerOf(member(value, 'webtransport')),
    websocket: offerOf(member(value, 'websocket')),
    httpUrl: relayBase(textMember(member(value, 'http'), 'url') ?? '') ?? relayUrl,
    overloaded: member(value, 'overloaded') === true,
    gateway: textMember(value, 'gateway')
  }
}

async function discover (relayUrl: string, signal: AbortSignal, { platform }: Pick<DialOptions, 'platform'>, query = ''): Promise<Discovery> {
  const response = await platform.fetch(`${relayUrl}/v1/transport${query}`, { method: 'GET', headers: { accept: 'application/json' }, signal, cache: 'no-store' })
  const text = await response.text()
  // A super-node, where an overloaded relay may send us: shards over HTTP and nothing else.
  if (response.status === 404) return parseDiscovery(undefined, relayUrl)
  if (response.status !== 200) {
    const retryAfterMs = retryAfterOf(name => headerOf(response, name))
    throw new ShardClientError('connect', `GET /v1/transport answered with status ${response.status}`, { status: response.status, ...retryAfterMs !== undefined && { retryAfterMs } })
  }
  return parseDiscovery(JSON.parse(text) as unknown, relayUrl)
}

class NoAnswerError extends ShardClientError {}

/** Runs one step under the timeout; rejects with the caller's reason when that aborts. @throws NoAnswerError */
async function timed<T> (step: (signal: AbortSignal) => Promise<T>, parent: AbortSignal, { platform, timeoutMs }: Pick<DialOptions, 'platform' | 'timeoutMs'>): Promise<T> {
  const abort = linkedAbort(parent)
  const cancel = platform.after(timeoutMs, () => abort.abort(new NoAnswerError('connect', `no answer within ${timeoutMs} ms`)))
  try {
    return await abortable(step(abort.signal), abort.signal)
  } finally {
    cancel()
    abort.stop()
  }
}

function headerOf ({ headers }: FetchResponse, wanted: string): string | undefined {
  let found: string | undefined
  headers.forEach((value, name) => { if (name.toLowerCase() === wanted) found = value })
  return found
}

function withViewer (url: string, viewerId: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}viewer=${viewerId}`
}

/** The ponyfill takes the https form of the URL and makes its own wss one of it. */
function ponyfillUrl (url: string): string {
  return url.replace(/^wss:/, 'https:').replace(/^ws:/, 'http:')
}

/** The process of a relay that has its sessions now; undefined when there is none, or no answer. Takes no ticket. */
export async function gatewayOf (relayUrl: string, options: Pick<DialOptions, 'platform' | 'timeoutMs'>, signal: AbortSignal): Promise<string | undefined> {
  return await timed(async limit => (await discover(relayUrl, limit, options, '?ticket=none')).gateway, signal, options).catch(() => undefined)
}

/** What one dialling tries. */
export interface DialMode {
  /** Transports in the order to try them. */
  readonly candidates: readonly TransportCandidate[]
  /** An overloaded relay is an error: who has another one must not make it busier. */
  readonly unlessOverloaded?: boolean | undefined
}

/**
 * Connects to a relay over the best transport that works, one after the other. What answers 404 to `/v1/transport` is taken for a super-node.
 * @throws ShardClientError connect, naming every reason; or the reason of the signal
 */
export async function dial (relayUrl: string, options: DialOptions, onControl: (message: ControlMessage) => void, signal: AbortSignal, { candidates, unlessOverloaded = false }: DialMode): Promise<Dialled> {
  // Beside the question, so that the answer need not wait for it.
  const loading = candidates.some(({ transport }) => transport !== 'http') ? loadSessions() : undefined
  loading?.catch(() => {})
  let found: Discovery
  try {
    found = await timed(limit => discover(relayUrl, limit, options), signal, options)
  } catch (error) {
    signal.throwIfAborted()
    throw new ShardClientError('connect', `${relayUrl} cannot be reached: ${reasonText(error)}`, {
      cause: error, ...error instanceof ShardClientError && error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }
    })
  }
  if (found.overloaded && unlessOverloaded) throw new ShardClientError('connect', `${relayUrl} is overloaded`)
  const session = async (connector: Connector | undefined, offer: Offer | undefined): Promise<RelayConnection> => {
    if (offer === undefined) throw new ShardClientError('connect', 'the relay does not offer it')
    if (connector === undefined) throw new ShardClientError('connect', 'no implementation was given')
    const { SessionConnection, controlListener } = await (loading ?? loadSessions())
    const onIncoming = controlListener(onControl)
    return new SessionConnection(await timed(limit => connector({ ...offer, url: withViewer(offer.url, options.viewerId), signal: limit, onIncoming }), signal, options))
  }
  const { webtransport, websocket } = found
  const connections: Record<TransportName, () => Promise<RelayConnection>> = {
    webtransport: () => session(options.webTransport, webtransport),
    // Browsers cannot pin a certificate for WebSocket and leave the hashes unread; Node's side of the library checks them.
    websocket: () => session(options.websocket, websocket === undefined ? undefined : { ...websocket, url: ponyfillUrl(websocket.url) }),
    http: async () => new FetchConnection(found.httpUrl, options.platform.fetch, onControl)
  }
  const failures: TransportFailure[] = []
  const unanswered: TransportFailure[] = []
  for (const { transport } of candidates) {
    try {
      const connection = await connections[transport]()
      const heldBack = candidates.flatMap(({ transport: other, demoted }) => demoted === undefined || other === transport || failures.some(failure => failure.transport === other) ? [] : [{ transport: other, reason: demoted }])
      return { connection, unanswered, gateway: transport === 'http' ? undefined : found.gateway, info: { transport, relayUrl, region: found.region, failures: [...failures, ...heldBack], ...found.overloaded ? { overloaded: true } : {} } }
    } catch (error) {
      signal.throwIfAborted()
      const failure = { transport, reason: reasonText(error) }
      failures.push(failure)
      if (error instanceof NoAnswerError) unanswered.push(failure)
    }
  }
  throw new ShardClientError('connect', `no transport to ${relayUrl}: ${failures.map(({ transport, reason }) => `${transport}: ${reason}`).join('; ')}`)
}
