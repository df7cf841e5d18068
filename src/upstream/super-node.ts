import { Pool, errors } from 'undici'
import type { Readable } from 'node:stream'
import { RelayError, systemCode } from '../errors.ts'
import { parseReprDigest } from '../wire/repr-digest.ts'
import { newHealth, type NodeHealth } from './node-health.ts'
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
}

/** A 200 response whose body is not read yet. */
export interface NodeResponse {
  /** Undefined when the node does not announce it. */
  readonly size: number | undefined
  /** From `repr-digest`, lower-case hex. */
  readonly sha256: string | undefined
  readonly body: Readable
}

/** Header block of a super-node: far above what one sends, far below what could hurt. */
const MAX_HEADER_BYTES = 16 * 1024

/** What a living node answers 2xx to, without looking for an object; the viewer listener of a relay has no `/health`. */
const HEALTH_PATHS = { origin: '/health', relay: '/v1/transport' }

/** One origin with its connection pool. It asks once; who retries is {@link Upstream}. */
export class SuperNode {
  readonly id: string
  readonly url: string
  readonly region: string
  readonly health: NodeHealth = newHealth()
  readonly #pool: Pool
  readonly #healthPath: string

  constructor (options: SuperNodeOptions) {
    const url = new URL(options.url)
    this.id = url.host
    this.url = url.origin
    this.region = options.region
    this.#healthPath = HEALTH_PATHS[options.role ?? 'origin']
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

  /**
   * Asks for an object.
   * @param fields request header fields besides our own
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND on 404 or 410, RELAY_ERR_LOOP on 508, else RELAY_ERR_UPSTREAM_*
   */
  async get (path: string, signal: AbortSignal, fields: Readonly<Record<string, string>> = {}): Promise<NodeResponse> {
    let response
    try {
      response = await this.#pool.request({ method: 'GET', path, signal, headers: { ...fields, 'accept-encoding': 'identity' } })
    } catch (error) {
      throw translate(error, this.id, signal)
    }
    const { statusCode, headers, body } = response
    // Whoever reads a body hears of its error; one that is let go unread must not end the process with it.
    body.on('error', () => {})
    if (statusCode !== 200) {
      void body.dump().catch(() => {})
      if (statusCode === 404 || statusCode === 410) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', `super-node ${this.id} does not have it`)
      if (statusCode === 508) throw new RelayError('RELAY_ERR_LOOP', `relay ${this.id} says that the request goes in circles`)
      throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered ${statusCode}`)
    }
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity') {
      body.destroy()
      throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered with a content coding that was not asked for`)
    }
    const length = headers['content-length']
    const digest = headers['repr-digest']
    return {
      size: typeof length === 'string' && /^\d{1,15}$/.test(length) ? Number(length) : undefined,
      sha256: typeof digest === 'string' ? parseReprDigest(digest) : undefined,
      body
    }
  }

  /** Asks for its health; rejects when the node does not answer 2xx. */
  async checkHealth (signal: AbortSignal): Promise<void> {
    const { statusCode, body } = await this.#pool.request({ method: 'GET', path: this.#healthPath, signal })
    await body.dump()
    if (statusCode < 200 || statusCode > 299) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `super-node ${this.id} answered ${statusCode} to its health check`)
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
