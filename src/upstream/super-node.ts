import { Pool, errors } from 'undici'
import type { Readable } from 'node:stream'
import { RelayError, systemCode } from '../errors.ts'
import { parseReprDigest } from '../wire/repr-digest.ts'
import { newFitness, type FitnessPolicy, type NodeFitness } from './node-state.ts'
import type { NodeSpec } from './sources/node-source.ts'

export interface SuperNodeOptions {
  /** `http://` or `https://` origin. */
  readonly url: string
  readonly region: string
  /** A relay has its health elsewhere; `origin` by default. */
  readonly role?: NodeSpec['role']
  readonly connections: number
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  /** Longest silence in a body, ms. */
  readonly bodyTimeoutMs: number
  readonly fitness: FitnessPolicy
}

/** The rest of an object of which the start is here already. */
export interface Resume {
  readonly from: number
  /** Of the whole object, bytes. */
  readonly size: number
  readonly sha256: string | undefined
}

/** A response whose body is not read yet. */
export interface NodeResponse {
  /** Undefined when the node does not announce it. */
  readonly size: number | undefined
  /** From `repr-digest`, lower-case hex. */
  readonly sha256: string | undefined
  readonly body: Readable
  /** Bytes of the object before the first of `body`. */
  readonly offset: number
}

/** Header block of a super-node: far above what one sends, far below what could hurt. */
const MAX_HEADER_BYTES = 16 * 1024

/** What a living node answers 2xx to, without looking for an object; the viewer listener of a relay has no `/health`. */
const HEALTH_PATHS = { origin: '/health', relay: '/v1/transport' }

/** How `cache-status` (RFC 9211) of a relay begins. */
const CACHE_NAME = 'icn-relay;'

/** One origin with its connection pool. It asks once; who retries is {@link Upstream}. */
export class SuperNode {
  readonly id: string
  readonly url: string
  readonly region: string
  readonly role: NodeSpec['role']
  readonly fitness: NodeFitness
  readonly #pool: Pool
  readonly #healthPath: string
  /** What its answers say, whatever it was configured as. */
  #proven: NodeSpec['role'] | undefined

  constructor (options: SuperNodeOptions) {
    const url = new URL(options.url)
    this.id = url.host
    this.url = url.origin
    this.region = options.region
    this.fitness = newFitness(options.fitness)
    this.role = options.role ?? 'origin'
    this.#healthPath = HEALTH_PATHS[this.role]
    this.#pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      connect: { timeout: options.connectTimeoutMs },
      headersTimeout: options.headersTimeoutMs,
      bodyTimeout: options.bodyTimeoutMs,
      keepAliveTimeout: 30_000,
      maxHeaderSize: MAX_HEADER_BYTES
    })
  }

  get connections (): { connected: number, free: number, pending: number, queued: number } {
    const { connected, free, pending, queued } = this.#pool.stats
    return { connected, free, pending, queued }
  }

  /** False once it has shown that it is an origin, which waits for nobody. */
  get mayBeRelay (): boolean { return this.role === 'relay' || this.#proven !== 'origin' }

  /**
   * Asks for an object, or the rest of one (RFC 9110 §14.2; a node that does not know ranges sends all of it).
   * @param fields request header fields besides our own
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND on 404 or 410, RELAY_ERR_LOOP on 508, else RELAY_ERR_UPSTREAM_*
   */
  async get (path: string, signal: AbortSignal, fields: Readonly<Record<string, string>> = {}, resume?: Resume): Promise<NodeResponse> {
    const range = resume === undefined ? {} : { range: `bytes=${resume.from}-` }
    let response
    try {
      response = await this.#pool.request({ method: 'GET', path, signal, headers: { ...fields, 'accept-encoding': 'identity', ...range } })
    } catch (error) {
      throw translate(error, this.id, signal)
    }
    const { statusCode, headers, body } = response
    // Whoever reads a body hears of its error; one that is let go unread must not end the process with it.
    body.on('error', () => {})
    const partial = resume !== undefined && statusCode === 206
    const ours = String(headers['cache-status'] ?? '').startsWith(CACHE_NAME)
    if (statusCode === 508 || ours) this.#proven = 'relay'
    if (statusCode !== 200 && !partial) {
      void body.dump().catch(() => {})
      if (statusCode === 404 || statusCode === 410) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', `super-node ${this.id} does not have it`)
      if (statusCode === 508) throw new RelayError('RELAY_ERR_LOOP', `relay ${this.id} says that the request goes in circles`)
      throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered ${statusCode}`)
    }
    this.#proven ??= 'origin'
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity') {
      body.destroy()
      throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered with a content coding that was not asked for`)
    }
    const length = headers['content-length']
    const digest = headers['repr-digest']
    const sha256 = typeof digest === 'string' ? parseReprDigest(digest) : undefined
    const announced = typeof length === 'string' && /^\d{1,15}$/.test(length) ? Number(length) : undefined
    if (resume === undefined) return { size: announced, sha256, body, offset: 0 }
    const same = partial
      ? headers['content-range'] === `bytes ${resume.from}-${resume.size - 1}/${resume.size}`
      : announced === resume.size
    if (!same || (sha256 !== undefined && resume.sha256 !== undefined && sha256 !== resume.sha256)) {
      body.destroy()
      throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} has other bytes, or another part of them, than what was resumed`)
    }
    return { size: resume.size, sha256, body, offset: partial ? resume.from : 0 }
  }

  /** Asks for its health; rejects when the node does not answer 2xx. */
  async checkHealth (signal: AbortSignal): Promise<void> {
    const { statusCode, body } = await this.#pool.request({ method: 'GET', path: this.#healthPath, signal })
    await body.dump()
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
    await this.#pool.close().catch(() => {})
  }

  async close (): Promise<void> {
    await this.#pool.destroy()
  }
}

/** An error of undici or of the socket in our terms; an abort by the caller keeps its reason. */
export function translate (error: unknown, node: string, signal: AbortSignal): RelayError {
  if (error instanceof RelayError) return error
  if (signal.aborted && signal.reason instanceof RelayError) return signal.reason
  const cause = { cause: error }
  if (error instanceof errors.ConnectTimeoutError || error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError || signal.aborted) {
    return new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `super-node ${node} did not answer in time`, cause)
  }
  return new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', `super-node ${node} failed: ${systemCode(error) ?? 'unknown error'}`, cause)
}
