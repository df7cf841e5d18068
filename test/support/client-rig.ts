import { createHash } from 'node:crypto'
import type { ClientPlatform } from '../../client/src/platform.ts'
import type { FetchInit, FetchResponse, W3cReadable, W3cWebTransport, W3cWebTransportConstructor } from '../../client/src/w3c-types.ts'
import type { TransportDialler } from '../../client/src/transport-session.ts'
import { keyId, parseShardPath } from '../../src/protocol/shard-key.ts'
import type { ReceiveStream, TransportSession } from '../../src/protocol/transport-session.ts'
import { settle } from './viewer-rig.ts'
import type { ViewerRig } from './viewer-rig.ts'

/** Time that moves only when everything else has come to rest. */
export class VirtualTime {
  time = 0
  readonly #timers = new Map<number, { at: number, callback: () => void }>()
  #next = 0

  readonly now = (): number => this.time
  readonly after = (ms: number, callback: () => void): () => void => {
    const id = this.#next++
    this.#timers.set(id, { at: this.time + ms, callback })
    return () => { this.#timers.delete(id) }
  }

  get pending (): number { return this.#timers.size }

  /** Moves on by `ms`, timer by timer, letting promises settle after each. */
  async advance (ms: number): Promise<void> {
    const end = this.time + ms
    await settle()
    for (let due = this.#due(end); due !== undefined; due = this.#due(end)) {
      this.time = due.at
      this.#timers.delete(due.id)
      due.callback()
      await settle()
    }
    this.time = end
  }

  /** Moves on, timer by timer, until the promise settles; gives up after an hour. */
  async until<T> (promise: Promise<T>): Promise<T> {
    const state = { settled: false }
    const mark = (): void => { state.settled = true }
    promise.then(mark, mark)
    await settle()
    for (let due = this.#due(3_600_000); !state.settled && due !== undefined; due = this.#due(3_600_000)) {
      this.time = due.at
      this.#timers.delete(due.id)
      due.callback()
      await settle()
    }
    return await promise
  }

  #due (end: number): { id: number, at: number, callback: () => void } | undefined {
    let first: { id: number, at: number, callback: () => void } | undefined
    for (const [id, timer] of this.#timers) if (timer.at <= end && (first === undefined || timer.at < first.at)) first = { id, ...timer }
    return first
  }
}

/** A network of relays by base URL; what is not in it cannot be reached. */
export class FakeNetwork {
  readonly relays = new Map<string, ViewerRig>()
  /** Members of `/v1/transport` besides the defaults, by base URL. */
  readonly offers = new Map<string, Record<string, unknown>>()
  readonly requests: string[] = []
  /** Super-nodes among the relays, by base URL: shards over HTTP and nothing else. */
  readonly plain = new Set<string>()
  /** What responses with a shard say in `cmsd-dynamic`. */
  cmsd: string | undefined
  udpBlocked = false
  /** Whether plain HTTP gives ranges, as our relay does, or whole objects only. */
  ranges = false
  httpBlocked = false
  readonly time = new VirtualTime()

  readonly platform: ClientPlatform = {
    now: this.time.now,
    random: () => 0.5,
    randomBytes: length => new Uint8Array(length).fill(0xfb),
    after: this.time.after,
    fetch: (url, init) => this.#fetch(url, init),
    sha256: async bytes => createHash('sha256').update(bytes).digest(),
    webTransport: undefined
  }

  readonly dial: TransportDialler = async ({ url }) => {
    const rig = this.relays.get(new URL(url).origin)
    if (this.udpBlocked || rig === undefined) throw new Error('no answer over UDP')
    return await rig.dial(new URL(url).pathname)
  }

  add (base: string, rig: ViewerRig): this {
    this.relays.set(base, rig)
    return this
  }

  async #fetch (url: string, init: FetchInit): Promise<FetchResponse> {
    this.requests.push(url)
    init.signal.throwIfAborted()
    const { origin, pathname } = new URL(url)
    const rig = this.relays.get(origin)
    if (this.httpBlocked || rig === undefined) throw new TypeError('fetch failed')
    if (pathname === '/v1/transport' && this.plain.has(origin)) return response(404, {}, Buffer.from('{"error":"not found"}'))
    if (pathname === '/v1/transport') {
      const body = { region: 'EU-WEST', webtransport: { url: `${origin}/v1/viewer`, certificateHashes: [] }, websocket: { url: `wss://${new URL(origin).hostname}:9004/v1/viewer` }, http: { url: origin }, ...this.offers.get(origin) }
      return response(200, {}, Buffer.from(JSON.stringify(body)))
    }
    const object = rig.source.objects.get(keyId(parseShardPath(pathname)))
    if (object === undefined) return response(404, { 'content-type': 'application/problem+json' }, Buffer.from('{"code":"RELAY_ERR_SHARD_NOT_FOUND","detail":"no"}'))
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(init.headers['range'] ?? '') ?? []
    if (this.ranges && first !== undefined && last !== undefined) {
      return response(206, { etag: `"sha256-${sha256(object)}"`, 'content-range': `bytes ${first}-${last}/${object.length}` }, object.subarray(Number(first), Number(last) + 1))
    }
    return response(200, { etag: `"sha256-${sha256(object)}"`, 'cache-status': 'icn-relay; fwd=miss; stored', ...this.cmsd === undefined ? {} : { 'cmsd-dynamic': this.cmsd } }, object)
  }
}

export function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function response (status: number, headers: Record<string, string>, body: Uint8Array): FetchResponse {
  return {
    status,
    headers: { forEach: visit => { for (const [name, value] of Object.entries({ ...headers, 'content-length': String(body.length) })) visit(value, name) } },
    body: new Response(Uint8Array.from(body)).body,
    text: async () => Buffer.from(body).toString()
  }
}

function readable (stream: ReceiveStream): W3cReadable<Uint8Array> {
  return {
    getReader: () => ({
      read: async () => {
        const value = await stream.read()
        return value === null ? { done: true } : { done: false, value }
      },
      cancel: async () => stream.cancel(0)
    })
  }
}

/** A browser's WebTransport over sessions of the in-process engine; `credit` streams at the same time, rejecting beyond as Chromium does. */
export function browserWebTransport (dial: (url: string) => Promise<TransportSession>, credit: number, opened: (count: number) => void = () => {}): W3cWebTransportConstructor {
  return class FakeWebTransport implements W3cWebTransport {
    readonly ready: Promise<unknown>
    readonly closed: W3cWebTransport['closed']
    readonly incomingUnidirectionalStreams: W3cWebTransport['incomingUnidirectionalStreams']
    readonly #session: Promise<TransportSession>
    #open = 0

    constructor (url: string) {
      const waiting: ReceiveStream[] = []
      let wake = (): void => {}
      this.#session = dial(url).then(session => {
        session.onUni = stream => {
          waiting.push(stream)
          wake()
        }
        return session
      })
      this.ready = this.#session
      this.closed = this.#session.then(session => session.closed).then(({ code, reason, clean }) => {
        if (!clean) throw new Error('Connection lost.')
        return { closeCode: code, reason }
      })
      this.incomingUnidirectionalStreams = {
        getReader: () => ({
          read: async () => {
            while (waiting.length === 0) await new Promise<void>(resolve => { wake = resolve })
            const next = waiting.shift()
            return next === undefined ? { done: true } : { done: false, value: readable(next) }
          },
          cancel: async () => {}
        })
      }
    }

    async createBidirectionalStream (): ReturnType<W3cWebTransport['createBidirectionalStream']> {
      if (this.#open >= credit) throw new DOMException('Insufficient resources', 'QuotaExceededError')
      opened(++this.#open)
      const stream = await (await this.#session).openBidi()
      const over = (): void => { this.#open-- }
      stream.stopped.addEventListener('abort', () => {})
      const inner = readable({
        read: async () => {
          const chunk = await stream.read().catch((error: unknown) => {
            over()
            throw error
          })
          if (chunk === null) over()
          return chunk
        },
        cancel: code => {
          over()
          stream.cancel(code)
        }
      })
      return {
        readable: inner,
        writable: { getWriter: () => ({ write: chunk => stream.write(chunk), close: () => stream.end(), abort: async () => stream.reset(0), closed: new Promise(() => {}) }) }
      }
    }

    close (): void {
      this.#session.then(session => session.close(), () => {})
    }
  }
}
