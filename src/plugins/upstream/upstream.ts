import { systemTimers, type Timers } from '../../base/clock.ts'
import { ERRORS, RelayError } from '../../base/errors.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import { traceFields } from '../../protocol/trace-context.ts'
import { refuseDenied } from '../denylist/denied.ts'
import { Attempts } from './attempts.ts'
import { Circles } from './circles.ts'
import { askEach, readUpTo, witnessOf, witnessesInTurn, type AskEachOptions, type NodeText } from './each-node.ts'
import { mayBeElsewhere, translate, withoutAddress } from './failure.ts'
import { hedgedRequest, RaceLostError } from './hedged-request.ts'
import { Holders, type HolderSource } from './holders.ts'
import { LeastRate } from './least-rate.ts'
import { NegativeCache } from './negative-cache.ts'
import { NodeSet, type NodeSetOptions } from './node-set.ts'
import { objectBody } from './object-body.ts'
import { HedgeBudget } from './race.ts'
import { preferSiblings, type PreferredNodes } from './rendezvous.ts'
import { ENOUGH_NOT_FOUND, SearchBudget } from './search-budget.ts'
import { pathOf } from './shard-path.ts'
import type { SuperNode, SuperNodeOptions } from './super-node.ts'
import { onwardVia } from './tiers.ts'
import type { AskedNodes, NodeAnswer, NodeRunner, RequestOptions, UpstreamFetchOptions, NodeStatus, UpstreamObject, UpstreamOptions } from './upstream-types.ts'
import { UpstreamVerdict } from './verdict.ts'

/** A body under way is worth more waiting than one that has not begun. */
const RESUME_PATIENCE = 2

/** The super-nodes as one origin. The only layer that retries: the next node is asked immediately when one fails, and beside one that is late. */
export class Upstream {
  readonly #options: UpstreamOptions
  /** Changes at run time. */
  readonly nodes: NodeSet
  /** Relays of our own tier. */
  readonly #siblings: NodeSet
  /** Undefined where nobody but the configuration says who has an object. */
  #holders: Holders | undefined
  readonly #settings: NodeSetOptions
  readonly #attempts: Attempts
  readonly #preferred: PreferredNodes
  readonly #budget: HedgeBudget
  readonly #search: SearchBudget
  readonly #missing: NegativeCache
  readonly #circles = new Circles()
  readonly #timers: Timers

  constructor (options: UpstreamOptions) {
    this.#options = options
    this.#timers = options.timers ?? { ...systemTimers, now: options.clock.monotonic }
    this.#budget = new HedgeBudget(options.hedge.budget, options.hedge.burst)
    this.#search = new SearchBudget(options.clock.monotonic())
    this.#missing = new NegativeCache({ ttlMs: options.negativeTtlMs })
    const { fitness, hedge, health, clock, random, observer, log } = options
    this.#settings = {
      connection: {
        connections: options.connectionsPerNode,
        connectTimeoutMs: options.connectTimeoutMs,
        headersTimeoutMs: options.headersTimeoutMs,
        bodyTimeoutMs: options.bodyTimeoutMs
      },
      fitness,
      // What a relay does not have it asks for in turn; the rest of the time is for somebody else, should it not answer at all.
      hedge: { ...hedge, relayMaxMs: Math.max(hedge.maxMs, options.firstByteTimeoutMs / 2) },
      health,
      clock,
      random,
      log,
      observer: {
        healthCheckFailed: node => { observer.healthCheckFailed(node) },
        oddAnswer: (node, oddity) => { observer.oddAnswer(node, oddity) },
        // It may be on several lists.
        nodeGone: node => { if (this.#sets().every(set => set.find(node) === undefined)) observer.nodeGone(node) }
      }
    }
    this.nodes = new NodeSet(this.#settings)
    const { siblings = [], self = '' } = options.siblings ?? {}
    this.#preferred = preferSiblings({ siblings, self })
    this.#siblings = new NodeSet(this.#settings)
    this.#attempts = new Attempts({ observer, log, clock, nodes: this.nodes, knows: node => this.#sets().some(set => set.knows(node)) })
    this.#siblings.set(siblings.filter(({ url }) => self === '' || new URL(url).origin !== new URL(self).origin).map(sibling => ({ ...sibling, role: 'relay' as const })))
  }

  /**
   * Asks the nodes that `source` names for a CID too, before the others where they are known, and after them where they must be found first. Once only.
   * @param lookup resolves their host names
   */
  useHolders (source: HolderSource, lookup: SuperNodeOptions['lookup']): void {
    const { self = '' } = this.#options.siblings ?? {}
    const excludes = (origin: string): boolean => (self !== '' && new URL(self).origin === origin) || this.nodes.nodes.some(({ url }) => url === origin)
    this.#holders = new Holders({ source, excludes, clock: this.#options.clock, nodes: new NodeSet({ ...this.#settings, connection: { ...this.#settings.connection, lookup } }) })
  }

  /**
   * Finds a node that has the object. Its body goes on from another node where one breaks off.
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND when every node says so, RELAY_ERR_UPSTREAM_TIMEOUT when none answers in time, RELAY_ERR_LOOP when the
   * request goes in circles wherever it is sent, RELAY_ERR_DENIED, else the last failure
   */
  async fetch (key: ShardKey, signal: AbortSignal, { via = [], trace, part, asked, wanted, soFar, avoids }: UpstreamFetchOptions = {}): Promise<UpstreamObject> {
    const { clock, firstByteTimeoutMs, leastBodyBps, bodyTimeoutMs } = this.#options
    const start = clock.monotonic()
    const id = keyId(key)
    refuseDenied(this.#options.denies, key.cid)
    if (this.#missing.isMissing(id, start)) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', ERRORS.RELAY_ERR_SHARD_NOT_FOUND.title.toLowerCase())
    const fields = { ...this.#fields(via), ...trace === undefined ? {} : traceFields(trace, this.#options.random) }
    const preferred = this.#preferred(key, via).flatMap(({ url }) => this.#siblings.usable(url) ?? [])
    const path = pathOf(key, this.#options)
    const whole = part === undefined || (part.from === 0 && part.to === part.size)
    const resumed = whole ? undefined : { ...part, etag: undefined, verifiable: true }
    const first = await this.#request(path, signal, { cid: key.cid, fields, preferred, deadlineMs: firstByteTimeoutMs, resume: resumed, asked, wanted, avoids }).catch((error: unknown) => {
      if (error instanceof RelayError && error.code === 'RELAY_ERR_SHARD_NOT_FOUND') this.#missing.remember(id, clock.monotonic())
      throw error
    })
    const { node, response: { sha256, sha512 } } = first
    const headMs = clock.monotonic() - start
    const others = (silent: ReadonlySet<SuperNode>): SuperNode[] => this.#known(key.cid).filter(other => !silent.has(other) && avoids?.(other.id) !== true)
    return Object.assign(objectBody({
      first,
      path,
      part,
      soFar,
      wanted: () => wanted?.() ?? true,
      signal,
      request: async (ending, resume, who) => {
        const options = { cid: key.cid, fields, preferred: [], deadlineMs: RESUME_PATIENCE * firstByteTimeoutMs, resume, wanted, avoids }
        return 'last' in who ? await this.#request(path, ending, { ...options, ...who }) : await this.#race(path, ending, options, others(who.beside))
      },
      hasOther: silent => others(silent).length > 0,
      lateMs: sender => RESUME_PATIENCE * this.nodes.longestDelay(sender),
      patienceMs: RESUME_PATIENCE * firstByteTimeoutMs / 2,
      mayHedge: () => this.#budget.spend(),
      leastRate: () => new LeastRate(leastBodyBps, bodyTimeoutMs),
      timers: this.#timers,
      attempts: this.#attempts,
      observer: this.#options.observer,
      log: this.#options.log
    }), { size: first.response.size ?? part?.size, sha256, sha512, ageMs: first.response.ageMs, offset: part?.from ?? 0, node: node.id, region: node.region, headMs })
  }

  /** Asks super-nodes for the manifest of a CID, each once and one of each region first; siblings are not asked. */
  async askEach (cid: string, options: AskEachOptions): Promise<void> {
    const { region, clock, denies } = this.#options
    if (denies?.(cid) === true) return
    const path = pathOf({ cid, part: 'manifest' }, this.#options)
    const fields = this.#fields(options.via)
    let enough = false
    const take = (answer: NodeText): boolean => (enough = options.take(answer))
    const askAll = async (nodes: SuperNode[]): Promise<void> => await askEach(witnessesInTurn(nodes), { ...options, take }, async (node, signal) => {
      const runner = { node, attempt: this.nodes.begin(node), assignedAt: clock.monotonic() }
      const ended = (end: { how: 'won' } | { how: 'failed', error: unknown }): void => {
        this.#attempts.ended(runner, { ...end, ms: 0, hedge: false }, { path, via: fields.via }, signal)
      }
      try {
        const { body } = await node.get(path, signal, { fields: { ...fields } })
        const bytes = await readUpTo(body, options.maxBytes)
        ended({ how: 'won' })
        return { node: node.id, witness: witnessOf(node), bytes }
      } catch (error) {
        ended({ how: 'failed', error })
        throw error
      }
    })
    const known = this.#holders?.known(cid, region()) ?? []
    await askAll([...known, ...this.nodes.candidates(region())])
    if (!enough && known.length === 0 && !options.signal.aborted) await askAll(await this.#holders?.find(cid, region(), options.signal) ?? [])
  }

  /**
   * Whether a fetch that is under way waits for the relay that asks now, which must then not wait for the fetch.
   * @param asked of that fetch
   * @param via members of the request that asks now
   */
  async waitsFor (key: ShardKey, asked: AskedNodes, via: readonly string[]): Promise<boolean> {
    const path = pathOf(key, this.#options)
    const fields = this.#fields(via)
    const node = await this.#circles.find(asked, path, fields)
    if (node === undefined) return false
    this.#options.log('info', 'request would wait for itself in a circle of relays', { node: node.id, path, via: fields.via })
    return true
  }

  #sets (): NodeSet[] {
    return [this.nodes, this.#siblings, ...this.#holders === undefined ? [] : [this.#holders.nodes]]
  }

  #fields (via: readonly string[]): { via?: string } {
    const { pseudonym } = this.#options
    return pseudonym === undefined ? {} : { via: onwardVia(via, pseudonym) }
  }

  /** Whom to ask for a CID without looking for anybody, the best first. */
  #known (cid: string): SuperNode[] {
    const region = this.#options.region()
    return [...this.#holders?.known(cid, region) ?? [], ...this.nodes.candidates(region)]
  }

  /** Asks those that are known; if none of them has it, those that can be found. */
  async #request (path: string, signal: AbortSignal, options: RequestOptions): Promise<NodeAnswer> {
    const region = this.#options.region()
    const known = this.#holders?.known(options.cid, region) ?? []
    const all = [...options.preferred, ...this.#known(options.cid)]
    try {
      return await this.#race(path, signal, options, all)
    } catch (error) {
      if (this.#holders === undefined || known.length > 0 || signal.aborted || !mayBeElsewhere(error)) throw error
      const found = await this.#holders.find(options.cid, region, signal)
      const { last: _last, ...again } = options
      if (found !== undefined && found.length > 0) return await this.#race(path, signal, again, found)
      throw found !== undefined && all.length === 0 ? new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody is known to have the object') : error
    }
  }

  async #race (path: string, signal: AbortSignal, { fields, deadlineMs, resume, asked, wanted, avoids, last }: RequestOptions, all: readonly SuperNode[]): Promise<NodeAnswer> {
    const { clock, hedge } = this.#options
    const ordered = avoids === undefined ? all : all.filter(({ id }) => !avoids(id))
    if (ordered.length === 0 && all.length > 0) throw new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'every super-node sent wrong bytes for the object a short while ago')
    // A node whose body has just broken off may be back, but whoever else there is comes first.
    const nodes = last === undefined ? ordered : [...ordered.filter(node => node !== last), last]
    const runners: NodeRunner[] = []
    const verdict = new UpstreamVerdict()
    const started = <T>(runner: T | undefined): T => {
      if (runner === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'the race names a node that does not run')
      return runner
    }
    try {
      const { index, answer, release } = await hedgedRequest({
        delays: nodes.map(node => this.nodes.hedgeDelay(node)),
        ask: async (index, abort) => {
          const node = started(nodes[index])
          const runner: NodeRunner = { node, attempt: this.nodes.begin(node), assignedAt: undefined }
          runners[index] = runner
          asked?.add(node)
          return await node.get(path, abort, { fields, resume, wanted, assigned: () => { runner.assignedAt ??= clock.monotonic() } })
        },
        discard: ({ body }) => { body.destroy() },
        policy: { deadlineMs, maxParallel: hedge.maxParallel, patienceMs: deadlineMs / 2 },
        budget: this.#budget,
        clock,
        signal,
        mayGoOn: () => verdict.notFoundAt < ENOUGH_NOT_FOUND || verdict.open || this.#search.spend(clock.monotonic()),
        ended: (index, end) => {
          const runner = started(runners[index])
          asked?.delete(runner.node)
          const known = this.#attempts.ended(runner, end, { path, via: fields['via'] }, signal)
          if (known !== undefined) verdict.add(known)
        }
      })
      if (verdict.notFoundAt >= ENOUGH_NOT_FOUND) this.#search.found()
      const { node, attempt } = started(runners[index])
      return { node, attempt, response: answer, release }
    } catch (error) {
      if (!(error instanceof RaceLostError)) throw error instanceof RelayError ? error : translate(error, '', signal)
      if (error.why === 'deadline') throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `no super-node answered within ${deadlineMs} ms`, { cause: verdict.error })
      const known = verdict.error
      if (known === undefined) throw new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', 'no super-node is configured')
      throw withoutAddress(known)
    }
  }

  status (): NodeStatus[] {
    return this.nodes.status()
  }

  /** The relays of our own tier, without ourselves. */
  siblingStatus (): NodeStatus[] {
    return this.#siblings.status()
  }

  /** Nodes that hold certain CIDs. */
  holderStatus (): NodeStatus[] {
    return this.#holders?.nodes.status() ?? []
  }

  /** An object that was purged is asked for again, also when it was missing. */
  forgetMissing (matches: (id: string) => boolean): void {
    this.#missing.purge(matches)
  }

  async close (): Promise<void> {
    await Promise.all([this.nodes.close(), this.#siblings.close(), this.#holders?.close()])
  }
}
