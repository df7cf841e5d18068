import { buildConnector, Pool, type Dispatcher } from 'undici'
import type { LookupFunction } from 'node:net'
import type { Readable } from 'node:stream'
import { RelayError } from '../../base/errors.ts'
import { fieldValue, isProblem, isStrong, NotFoundError, provesRelay, readHead, retryAfterSeconds, sameObject, type NodeResponse, type Oddity, type Resume } from './answer.ts'
import { UpstreamConnection, type ConnectionRequest } from './connection.ts'
import { isClose, translate } from './failure.ts'
import { newFitness, type FitnessPolicy, type NodeFitness } from './node-state.ts'
import type { NodeSpec } from './sources/node-source.ts'
import { answersTls } from './tls-probe.ts'

export interface SuperNodeOptions {
  /** `http://` or `https://` origin. */
  readonly url: string
  readonly region: string
  /** A relay has its health elsewhere; `origin` by default. */
  readonly role?: NodeSpec['role']
  readonly operator?: string | undefined
  readonly connections: number
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  /** Longest silence in a body, ms. */
  readonly bodyTimeoutMs: number
  readonly fitness: FitnessPolicy
  /** Resolves the host name; the resolver of the host by default. */
  readonly lookup?: LookupFunction | undefined
  /** Wall clock, ms. */
  readonly now: () => number
  /** Told of each answer that is taken although something is odd about it. */
  readonly onOddity?: (node: string, oddity: Oddity) => void
}

export interface GetOptions extends ConnectionRequest {
  /** Header fields besides our own. */
  readonly fields?: Readonly<Record<string, string>>
  readonly resume?: Resume | undefined
  /** Whether anybody waits for the body; one that nobody waits for ends when its connection is needed. */
  readonly wanted?: (() => boolean) | undefined
}

/** A body that holds a connection. */
interface HeldBody {
  readonly body: Readable
  readonly wanted: () => boolean
}

/** Header block of a super-node: far above what one sends, far below what could hurt. */
const MAX_HEADER_BYTES = 16 * 1024

/** What a living node answers 2xx to, without looking for an object; the viewer listener of a relay has no `/health`. */
const HEALTH_PATHS = { origin: '/health', relay: '/v1/transport' }

/** How often bodies that nobody waits for any more are looked for while requests wait for a connection, ms. */
const MAKE_ROOM_MS = 50

/** First and last byte of a part, and the length of the whole (RFC 9110 §14.4). */
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/

/** One origin with its connection pool. It asks once; who retries is {@link Upstream}. */
export class SuperNode {
  readonly id: string
  readonly url: string
  readonly region: string
  readonly role: NodeSpec['role']
  readonly operator: string | undefined
  readonly fitness: NodeFitness
  readonly #options: SuperNodeOptions
  readonly #pool: Pool
  /** Health checks have a connection of their own: they ask for the health of the node, not for the length of our queue. */
  readonly #healthPool: Pool
  readonly #healthPath: string
  /** Bodies under way, the oldest first; at most one for each connection. */
  readonly #bodies = new Set<HeldBody>()
  /** Runs while requests wait for a connection. */
  #makingRoom: NodeJS.Timeout | undefined
  /** What its answers say, whatever it was configured as. */
  #proven: NodeSpec['role'] | undefined

  constructor (options: SuperNodeOptions) {
    const url = new URL(options.url)
    this.#options = options
    this.id = url.host
    this.url = url.origin
    this.region = options.region
    this.fitness = newFitness(options.fitness)
    this.role = options.role ?? 'origin'
    this.operator = options.operator
    this.#healthPath = HEALTH_PATHS[this.role]
    const connect = buildConnector({ timeout: options.connectTimeoutMs, ...options.lookup === undefined ? {} : { lookup: options.lookup } })
    const poolOf = (connections: number): Pool => new Pool(url.origin, {
      connections,
      pipelining: 1,
      factory: (origin, settings) => new UpstreamConnection(origin, { ...settings, connect }),
      headersTimeout: options.headersTimeoutMs,
      bodyTimeout: options.bodyTimeoutMs,
      keepAliveTimeout: 30_000,
      maxHeaderSize: MAX_HEADER_BYTES
    })
    this.#pool = poolOf(options.connections)
    this.#healthPool = poolOf(1)
  }

  get connections (): { connected: number, free: number, pending: number, queued: number } {
    const { connected, free, pending, queued } = this.#pool.stats
    return { connected, free, pending, queued }
  }

  /** False once it has shown that it is an origin, which waits for nobody. */
  get mayBeRelay (): boolean { return this.role === 'relay' || this.#proven !== 'origin' }

  /**
   * Asks for an object, or the rest of one (RFC 9110 §14.2; a node that does not know ranges, or has another version, sends all of it).
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND on 404 or 410, RELAY_ERR_LOOP on 508, else RELAY_ERR_UPSTREAM_*
   */
  async get (path: string, signal: AbortSignal, options: GetOptions = {}): Promise<NodeResponse> {
    const { resume } = options
    const ranged = resume !== undefined && (resume.verifiable === true || resume.etag === undefined || resume.sha256 !== undefined || isStrong(resume.etag))
    // Where nothing tells whose part it is, all of it is asked for, and the start shows it.
    return await this.#get(path, signal, options, ranged) ?? await this.#get(path, signal, options, false) ?? this.#otherBytes()
  }

  /** Undefined for a part of which nothing tells whether it belongs to what is here. */
  async #get (path: string, signal: AbortSignal, options: GetOptions, ranged: boolean): Promise<NodeResponse | undefined> {
    const { resume } = options
    const { statusCode, headers, body } = await this.#ask(path, signal, options, ranged)
    try {
      const { oddities, ...head } = readHead(this.id, headers)
      for (const oddity of oddities) this.#options.onOddity?.(this.id, oddity)
      if (resume === undefined) return { ...head, body, offset: 0 }
      const part = statusCode === 206 ? CONTENT_RANGE.exec(fieldValue(headers, 'content-range') ?? '') : undefined
      const same = sameObject(resume, head)
      const size = part === undefined ? head.size : Number(part?.[3])
      const maySuit = size === resume.size || (size === undefined && resume.verifiable === true)
      if (!maySuit || same === false) this.#otherBytes()
      if (part === undefined || part === null) return { ...head, body, offset: 0 }
      if (Number(part[1]) !== resume.from || Number(part[2]) !== (resume.to ?? resume.size) - 1) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} sent another part than it was asked for`)
      if (same === true || resume.verifiable === true) return { ...head, size: resume.size, body, offset: resume.from }
    } catch (error) {
      body.destroy()
      throw error
    }
    body.destroy()
    return undefined
  }

  #otherBytes (): never {
    throw new RelayError('RELAY_ERR_UPSTREAM_VERSION', `super-node ${this.id} has other bytes than those that were to go on`)
  }

  /** The answer to a GET, when it is 200, or the 206 that was asked for. */
  async #ask (path: string, signal: AbortSignal, { fields = {}, resume, assigned, wanted = () => true }: GetOptions, ranged: boolean): Promise<Dispatcher.ResponseData> {
    const range = resume === undefined || !ranged ? {} : { range: `bytes=${resume.from}-${resume.to === undefined || resume.to === resume.size ? '' : resume.to - 1}`, ...isStrong(resume.etag) ? { 'if-range': resume.etag } : {} }
    if (this.#pool.stats.size >= this.#options.connections) this.#makeRoom()
    let response
    try {
      const request: Dispatcher.RequestOptions & ConnectionRequest = { method: 'GET', path, signal, headers: { ...fields, 'accept-encoding': 'identity', ...range }, ...assigned === undefined ? {} : { assigned } }
      response = await this.#pool.request(request)
    } catch (error) {
      throw translate(error, this.id, signal)
    }
    const { statusCode, headers, body } = response
    // Whoever reads a body hears of its error; one that is let go unread must not end the process with it.
    body.on('error', () => {})
    if (provesRelay(statusCode, headers)) this.#proven = 'relay'
    if (statusCode === 200 || (ranged && statusCode === 206)) {
      this.#proven ??= 'origin'
      const held: HeldBody = { body, wanted }
      this.#bodies.add(held)
      body.once('close', () => { this.#bodies.delete(held) })
      return response
    }
    void body.dump().catch(() => {})
    // What one must not serve (RFC 7725) others may have.
    if (statusCode === 404 || statusCode === 410 || statusCode === 451) throw new NotFoundError(this.id, this.mayBeRelay && (this.role === 'relay' || this.#proven === 'relay' || isProblem(headers)))
    if (statusCode === 508) throw new RelayError('RELAY_ERR_LOOP', `relay ${this.id} says that the request goes in circles`)
    const after = { retryAfterSeconds: retryAfterSeconds(fieldValue(headers, 'retry-after'), this.#options.now()) }
    if (statusCode === 503) throw new RelayError('RELAY_ERR_UPSTREAM_BUSY', `super-node ${this.id} answered 503`, after)
    if (statusCode === 429) throw new RelayError('RELAY_ERR_UPSTREAM_RATE_LIMITED', `super-node ${this.id} answered 429`, after)
    throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered ${statusCode}`)
  }

  /** For a request that may have to wait: now, and as soon as a viewer leaves while it waits. */
  #makeRoom (): void {
    this.#endUnwanted()
    this.#makingRoom ??= setInterval(() => {
      const { queued } = this.#pool.stats
      for (let n = 0; n < queued; n++) this.#endUnwanted()
      if (queued === 0) this.#stopMakingRoom()
    }, MAKE_ROOM_MS).unref()
  }

  #stopMakingRoom (): void {
    clearInterval(this.#makingRoom)
    this.#makingRoom = undefined
  }

  /** Gives up the oldest body that nobody waits for: its connection is needed for somebody who does. */
  #endUnwanted (): void {
    for (const held of this.#bodies) {
      if (held.wanted()) continue
      this.#bodies.delete(held)
      held.body.destroy(new RelayError('RELAY_ERR_FILLS_BUSY', 'nobody waited for the object, and its connection was needed'))
      return
    }
  }

  /** Asks for its health; rejects with a RelayError when the node does not answer 2xx. */
  async checkHealth (signal: AbortSignal): Promise<void> {
    let statusCode: number
    try {
      const response = await this.#healthPool.request({ method: 'GET', path: this.#healthPath, signal })
      statusCode = response.statusCode
      await response.body.dump()
    } catch (error) {
      if (isClose(error) && this.url.startsWith('http:') && await answersTls(this.url, signal, this.#options.lookup)) {
        throw new RelayError('RELAY_ERR_UPSTREAM_PROTOCOL', `super-node ${this.id} speaks TLS: its URL should begin with https://`, { cause: error })
      }
      throw translate(error, this.id, signal)
    }
    if (statusCode < 200 || statusCode > 299) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered ${statusCode} to its health check`)
    if (this.role === 'origin') this.#proven ??= 'origin'
  }

  /**
   * Whether it says that a request for the object goes in circles. Nothing is fetched for the question (RFC 9111 §5.2.1.7).
   * @param fields request header fields besides our own
   */
  async leadsBack (path: string, fields: Readonly<Record<string, string>>): Promise<boolean> {
    const { statusCode, body } = await this.#pool.request({ method: 'HEAD', path, headers: { ...fields, 'cache-control': 'only-if-cached' } })
    await body.dump()
    return statusCode === 508
  }

  /** Takes no more requests; resolves when those under way have ended. */
  async drain (): Promise<void> {
    await Promise.all([this.#pool.close().catch(() => {}), this.#healthPool.destroy()])
  }

  async close (): Promise<void> {
    this.#stopMakingRoom()
    await Promise.all([this.#pool.destroy(), this.#healthPool.destroy()])
  }
}
