import type { Readable } from 'node:stream'
import type { Clock } from '../clock.ts'
import { ERRORS, RelayError } from '../errors.ts'
import type { ShardKey } from '../shard/shard-key.ts'
import { orderNodes, recordFailure, recordSuccess, type BackoffPolicy } from './node-health.ts'
import type { ConfiguredNode } from './sources/static.ts'
import { SuperNode, translate } from './super-node.ts'
import { onwardVia } from './tiers.ts'

export interface UpstreamOptions {
  readonly superNodes: readonly ConfiguredNode[]
  /** Our region; '' when unknown. */
  readonly region: () => string
  /** Path of a shard with `{cid}`, `{n}` and `{nn}` (two digits). */
  readonly shardPath: string
  /** Path of a manifest with `{cid}`. */
  readonly manifestPath: string
  readonly connectionsPerNode: number
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number
  readonly backoff: BackoffPolicy
  /** Our name in `via`; without one, none is sent. */
  readonly pseudonym?: string
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: UpstreamObserver
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

export interface FetchOptions {
  /** `via` members of the request that needs the object. */
  readonly via?: readonly string[]
}

export type AttemptOutcome = 'ok' | 'not_found' | 'timeout' | 'unreachable' | 'status' | 'body' | 'corrupt' | 'aborted'

/** What the upstream reports to metrics; implementations must not throw. */
export interface UpstreamObserver {
  /** One request to one node; `ms` from request to response head, or to the failure. */
  attempt (node: string, outcome: AttemptOutcome, ms: number): void
  healthCheckFailed (node: string): void
}

/** An object on its way from a super-node; the body must be read or destroyed, and its end reported. */
export interface UpstreamObject {
  readonly node: string
  readonly region: string
  /** From request to response head, failed attempts included, ms. */
  readonly headMs: number
  readonly size: number | undefined
  readonly sha256: string | undefined
  readonly body: Readable
  /** The body could not be used; counts against the node. Returns the error to go on with. */
  failed (error: unknown): RelayError
}

export interface NodeStatus {
  readonly id: string
  readonly url: string
  readonly region: string
  readonly state: 'up' | 'backoff'
  readonly latencyMs: number | null
  readonly failures: number
  readonly connections: SuperNode['connections']
}

const OUTCOMES: Partial<Record<RelayError['code'], AttemptOutcome>> = {
  RELAY_ERR_SHARD_NOT_FOUND: 'not_found',
  RELAY_ERR_UPSTREAM_TIMEOUT: 'timeout',
  RELAY_ERR_UPSTREAM_UNREACHABLE: 'unreachable',
  RELAY_ERR_UPSTREAM_STATUS: 'status',
  RELAY_ERR_LOOP: 'status',
  RELAY_ERR_UPSTREAM_BODY: 'body',
  RELAY_ERR_UPSTREAM_TOO_LARGE: 'body',
  RELAY_ERR_UPSTREAM_CORRUPT: 'corrupt'
}

/** The super-nodes as one origin. The only layer that retries: the next node is asked at once when one fails. */
export class Upstream {
  readonly #options: UpstreamOptions
  readonly #nodes: SuperNode[]
  readonly #probes = new Map<SuperNode, NodeJS.Timeout>()
  #stopping = false

  constructor (options: UpstreamOptions) {
    this.#options = options
    this.#nodes = options.superNodes.map(node => new SuperNode({
      ...node,
      connections: options.connectionsPerNode,
      connectTimeoutMs: options.connectTimeoutMs,
      headersTimeoutMs: options.headersTimeoutMs,
      bodyTimeoutMs: options.bodyTimeoutMs
    }))
  }

  /**
   * Finds a node that has the object.
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND when every node says so, RELAY_ERR_LOOP when the rest say that, else the last failure
   */
  async fetch (key: ShardKey, signal: AbortSignal, { via = [] }: FetchOptions = {}): Promise<UpstreamObject> {
    const { clock, region, log, pseudonym } = this.#options
    const fields = pseudonym === undefined ? {} : { via: onwardVia(via, pseudonym) }
    const path = this.#pathOf(key)
    const start = clock.monotonic()
    let notFound: RelayError | undefined
    let loop: RelayError | undefined
    let failure: RelayError | undefined
    for (const node of orderNodes(this.#nodes, region(), start)) {
      const asked = clock.monotonic()
      try {
        const response = await node.get(path, signal, fields)
        const answered = clock.monotonic()
        recordSuccess(node.health, answered - asked)
        this.#options.observer.attempt(node.id, 'ok', answered - asked)
        return {
          ...response,
          node: node.id,
          region: node.region,
          headMs: answered - start,
          failed: error => this.#bodyFailed(node, error, signal)
        }
      } catch (error) {
        const known = error instanceof RelayError ? error : translate(error, node.id, signal)
        const aborted = signal.aborted
        this.#options.observer.attempt(node.id, aborted ? 'aborted' : OUTCOMES[known.code] ?? 'unreachable', clock.monotonic() - asked)
        if (aborted) throw known
        if (known.code === 'RELAY_ERR_SHARD_NOT_FOUND') {
          // An answer like any other: a node without samples would be asked first for ever.
          recordSuccess(node.health, clock.monotonic() - asked)
          notFound = known
          continue
        }
        if (known.code === 'RELAY_ERR_LOOP') {
          // It is up, and wrong for this request only: a forged `via` must not put it in back-off.
          recordSuccess(node.health, clock.monotonic() - asked)
          loop = known
          log('warn', 'request went in circles, asking the next', { node: node.id, via: fields.via, path })
          continue
        }
        failure = known
        this.#nodeFailed(node)
        log('warn', 'super-node failed, asking the next', { node: node.id, code: known.code, detail: known.message, path })
      }
    }
    // A 404 beside a failure proves nothing: the node that failed may have the object.
    const last = failure ?? loop ?? notFound
    if (last === undefined) throw new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', 'no super-node is configured')
    throw withoutAddress(last)
  }

  status (): NodeStatus[] {
    const now = this.#options.clock.monotonic()
    return this.#nodes.map(({ id, url, region, health, connections }) => ({
      id,
      url,
      region,
      state: health.retryAt > now ? 'backoff' : 'up',
      latencyMs: health.latencyMs === undefined ? null : Math.round(health.latencyMs * 100) / 100,
      failures: health.failures,
      connections
    }))
  }

  async close (): Promise<void> {
    this.#stopping = true
    for (const timer of this.#probes.values()) clearTimeout(timer)
    this.#probes.clear()
    await Promise.all(this.#nodes.map(async node => { await node.close() }))
  }

  #pathOf (key: ShardKey): string {
    if (key.part === 'manifest') return this.#options.manifestPath.replaceAll('{cid}', key.cid)
    return this.#options.shardPath
      .replaceAll('{cid}', key.cid)
      .replaceAll('{nn}', String(key.part).padStart(2, '0'))
      .replaceAll('{n}', String(key.part))
  }

  #bodyFailed (node: SuperNode, error: unknown, signal: AbortSignal): RelayError {
    const translated = translate(error, node.id, signal)
    const known = translated.code === 'RELAY_ERR_UPSTREAM_UNREACHABLE'
      ? new RelayError('RELAY_ERR_UPSTREAM_BODY', translated.message, { cause: error })
      : translated
    if (signal.aborted || known.source !== 'upstream' || known.code === 'RELAY_ERR_FILLS_BUSY') return known
    this.#options.observer.attempt(node.id, OUTCOMES[known.code] ?? 'body', 0)
    this.#options.log('warn', 'super-node body failed', { node: node.id, code: known.code, detail: known.message })
    this.#nodeFailed(node)
    return withoutAddress(known)
  }

  #nodeFailed (node: SuperNode): void {
    const { clock, random, backoff } = this.#options
    recordFailure(node.health, clock.monotonic(), random(), backoff)
    this.#scheduleProbe(node)
  }

  /** After a failure the node is checked when its back-off ends, so that it comes back without a viewer paying for the try. */
  #scheduleProbe (node: SuperNode): void {
    if (this.#probes.has(node) || this.#stopping) return
    const { clock, log, observer, headersTimeoutMs } = this.#options
    const probe = async (): Promise<void> => {
      const asked = clock.monotonic()
      const abort = new AbortController()
      const timer = setTimeout(() => { abort.abort() }, headersTimeoutMs)
      try {
        await node.checkHealth(abort.signal)
        recordSuccess(node.health, node.health.latencyMs ?? clock.monotonic() - asked)
        this.#probes.delete(node)
        log('info', 'super-node is healthy again', { node: node.id })
      } catch {
        this.#probes.delete(node)
        if (this.#stopping) return
        observer.healthCheckFailed(node.id)
        this.#nodeFailed(node)
      } finally {
        clearTimeout(timer)
      }
    }
    const delay = Math.max(0, node.health.retryAt - clock.monotonic())
    this.#probes.set(node, setTimeout(() => { void probe() }, delay).unref())
  }
}

/** The error as viewers may see it: addresses of super-nodes stay in the log. */
function withoutAddress (error: RelayError): RelayError {
  return new RelayError(error.code, ERRORS[error.code].title.toLowerCase(), { cause: error })
}
