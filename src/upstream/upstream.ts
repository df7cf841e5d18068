import { ERRORS, RelayError } from '../errors.ts'
import type { ShardKey } from '../shard/shard-key.ts'
import { hedgedRequest, RaceLostError, type AttemptEnd } from './hedged-request.ts'
import { orderNodes, recordFailure, recordLate, recordSuccess } from './node-health.ts'
import { HedgeBudget } from './race.ts'
import { ResumableBody } from './resumable-body.ts'
import { SuperNode, translate, type NodeResponse, type Resume } from './super-node.ts'
import type { AttemptOutcome, NodeStatus, UpstreamObject, UpstreamOptions } from './upstream-types.ts'

const OUTCOMES: Partial<Record<RelayError['code'], AttemptOutcome>> = {
  RELAY_ERR_SHARD_NOT_FOUND: 'not_found',
  RELAY_ERR_UPSTREAM_TIMEOUT: 'timeout',
  RELAY_ERR_UPSTREAM_UNREACHABLE: 'unreachable',
  RELAY_ERR_UPSTREAM_STATUS: 'status',
  RELAY_ERR_UPSTREAM_BODY: 'body',
  RELAY_ERR_UPSTREAM_TOO_LARGE: 'body',
  RELAY_ERR_UPSTREAM_CORRUPT: 'corrupt'
}

interface RequestOptions {
  readonly deadlineMs: number
  readonly resume?: Resume
  /** The node to ask after all others. */
  readonly last?: SuperNode
}

/** Times one body may go on from another node; with every node broken, nobody waits for ever. */
const MAX_RESUMES = 4
/** A body under way is worth more waiting than one that has not begun. */
const RESUME_PATIENCE = 2

/** The super-nodes as one origin. The only layer that retries: the next node is asked at once when one fails, and beside one that is late. */
export class Upstream {
  readonly #options: UpstreamOptions
  readonly #nodes: SuperNode[]
  readonly #budget: HedgeBudget
  readonly #probes = new Map<SuperNode, NodeJS.Timeout>()
  #stopping = false

  constructor (options: UpstreamOptions) {
    this.#options = options
    this.#budget = new HedgeBudget(options.hedge.budget, options.hedge.burst)
    this.#nodes = options.superNodes.map(node => new SuperNode({
      ...node,
      connections: options.connectionsPerNode,
      connectTimeoutMs: options.connectTimeoutMs,
      headersTimeoutMs: options.headersTimeoutMs,
      bodyTimeoutMs: options.bodyTimeoutMs
    }))
  }

  /**
   * Finds a node that has the object. Its body goes on from another node where one breaks off.
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND when every node says so, RELAY_ERR_UPSTREAM_TIMEOUT when none answers in time, else the last failure
   */
  async fetch (key: ShardKey, signal: AbortSignal): Promise<UpstreamObject> {
    const { clock, firstByteTimeoutMs } = this.#options
    const path = this.#pathOf(key)
    const start = clock.monotonic()
    const first = await this.#request(path, signal, { deadlineMs: firstByteTimeoutMs })
    const { size, sha256 } = first.response
    let { node } = first
    /** Everyone who sent part of it: which of them sent a wrong byte cannot be told. */
    const senders = new Set([node])
    let lost = false
    const body = new ResumableBody({
      first: { body: first.response.body, skip: 0, release: first.release },
      size,
      maxResumes: MAX_RESUMES,
      resume: async (position, error) => {
        if (signal.aborted || size === undefined) throw error
        this.#bodyFailed(node, error, signal)
        const next = await this.#request(path, signal, { deadlineMs: RESUME_PATIENCE * firstByteTimeoutMs, resume: { from: position, size, sha256 }, last: node })
          .catch((failure: unknown) => {
            lost = true
            this.#options.observer.resumed('failed')
            throw failure
          })
        this.#options.observer.resumed('ok')
        this.#options.log('info', 'super-node body goes on from another', { node: next.node.id, before: node.id, position, path })
        node = next.node
        senders.add(node)
        return { body: next.response.body, skip: position - next.response.offset, release: next.release }
      }
    })
    return {
      size,
      sha256,
      body,
      node: node.id,
      region: node.region,
      headMs: clock.monotonic() - start,
      failed: error => {
        let known = translate(error, node.id, signal)
        // Whoever could not give the rest has been counted.
        if (lost) return known
        for (const sender of known.code === 'RELAY_ERR_UPSTREAM_CORRUPT' ? senders : [node]) known = this.#bodyFailed(sender, error, signal)
        return known
      }
    }
  }

  async #request (path: string, signal: AbortSignal, { deadlineMs, resume, last }: RequestOptions): Promise<{ node: SuperNode, response: NodeResponse, release: () => void }> {
    const { clock, region, hedge } = this.#options
    const ordered = orderNodes(this.#nodes, region(), clock.monotonic())
    // A node whose body has just broken off may be back, but whoever else there is comes first.
    const nodes = last === undefined ? ordered : [...ordered.filter(node => node !== last), last]
    let notFound: RelayError | undefined
    let failure: RelayError | undefined
    const nodeAt = (index: number): SuperNode => {
      const node = nodes[index]
      if (node === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'the race names a node that does not run')
      return node
    }
    try {
      const { index, answer, release } = await hedgedRequest({
        delays: nodes.map(node => this.#hedgeDelay(node)),
        ask: async (index, abort) => await nodeAt(index).get(path, abort, resume),
        discard: ({ body }) => { body.destroy() },
        policy: { deadlineMs, maxParallel: hedge.maxParallel, patienceMs: deadlineMs / 2 },
        budget: this.#budget,
        clock,
        signal,
        ended: (index, end) => {
          const node = nodeAt(index)
          const known = this.#attemptEnded(node, end, path, signal)
          if (known?.code === 'RELAY_ERR_SHARD_NOT_FOUND') notFound = known
          else failure = known ?? failure
        }
      })
      return { node: nodeAt(index), response: answer, release }
    } catch (error) {
      if (!(error instanceof RaceLostError)) throw error instanceof RelayError ? error : translate(error, '', signal)
      if (error.why === 'deadline') throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `no super-node answered within ${deadlineMs} ms`, { cause: failure ?? notFound })
      // A 404 beside a failure proves nothing: the node that failed may have the object.
      const known = failure ?? notFound
      if (known === undefined) throw new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', 'no super-node is configured')
      throw withoutAddress(known)
    }
  }

  /** Counts what an attempt says of its node. Returns the failure, if it was one. */
  #attemptEnded (node: SuperNode, end: AttemptEnd, path: string, signal: AbortSignal): RelayError | undefined {
    const { observer, log } = this.#options
    if (end.hedge) observer.hedged(end.how === 'won' ? 'won' : 'lost')
    if (end.how === 'won') {
      recordSuccess(node.health, end.ms)
      observer.attempt(node.id, 'ok', end.ms)
      return undefined
    }
    if (end.how !== 'failed') {
      // Aborted before it was late, it says nothing of the node.
      const late = !signal.aborted && end.ms >= this.#hedgeDelay(node)
      observer.attempt(node.id, late ? 'timeout' : 'aborted', end.ms)
      if (!late) return undefined
      recordLate(node.health, end.ms)
      if (end.how === 'deadline') this.#nodeFailed(node)
      return undefined
    }
    const known = translate(end.error, node.id, signal)
    if (signal.aborted) {
      observer.attempt(node.id, 'aborted', end.ms)
      return known
    }
    observer.attempt(node.id, OUTCOMES[known.code] ?? 'unreachable', end.ms)
    if (known.code === 'RELAY_ERR_SHARD_NOT_FOUND') {
      // An answer like any other: a node without samples would be asked first for ever.
      recordSuccess(node.health, end.ms)
    } else {
      this.#nodeFailed(node)
      log('warn', 'super-node failed', { node: node.id, code: known.code, detail: known.message, path })
    }
    return known
  }

  /** How long the node may take before another one is asked as well, ms. */
  #hedgeDelay ({ health }: SuperNode): number {
    const { minMs, maxMs } = this.#options.hedge
    return health.latencyMs === undefined ? maxMs : Math.min(maxMs, Math.max(minMs, 2 * health.latencyMs))
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
