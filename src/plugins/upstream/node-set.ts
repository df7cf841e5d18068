import { roundMs, systemTimers, type Clock } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import type { Oddity } from './answer.ts'
import type { CircuitAttempt, Outcome } from './circuit.ts'
import { HealthChecks } from './health-checks.ts'
import { beginAttempt, finishAttempt, healthState, nodeState, orderCandidates, recordCheck, sweepOutliers, type AdminState, type FitnessPolicy } from './node-state.ts'
import type { NodeSpec } from './sources/node-source.ts'
import { SuperNode, type SuperNodeOptions } from './super-node.ts'
import type { NodeStatus, UpstreamObserver } from './upstream-types.ts'

export interface NodeSetOptions {
  readonly connection: Omit<SuperNodeOptions, 'url' | 'region' | 'role' | 'fitness' | 'now' | 'onOddity'>
  readonly fitness: FitnessPolicy
  /** Bounds of how long a node may take before the next is asked beside it, ms. */
  readonly hedge: { readonly minMs: number, readonly maxMs: number, /** In place of `maxMs` for a relay. */ readonly relayMaxMs: number }
  readonly health: { readonly intervalMs: number, readonly timeoutMs: number }
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: Pick<UpstreamObserver, 'healthCheckFailed' | 'oddAnswer' | 'nodeGone'>
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

export interface NodeAddress {
  /** `http://` or `https://` origin. */
  readonly url: string
  readonly region: string
  /** Where its health is asked for; `origin` by default. */
  readonly role?: NodeSpec['role']
  readonly operator?: string
}

const ODD_ANSWERS: Readonly<Record<Oddity, string>> = {
  'digest-algorithm': 'super-node sends digests in no algorithm of ours, its bytes are taken unchecked',
  'digest-malformed': 'super-node sends malformed digests, its bytes are taken unchecked',
  'no-store': 'super-node sends no-store, what it sends is not stored',
  'no-length': 'super-node sends bodies without length or digest, which may lack their end and are not stored'
}

/** Nodes are compared with each other this often, ms. */
const SWEEP_MS = 5_000

/** The super-nodes there are, what is known of each, and who is asked first. Changes at run time. */
export class NodeSet {
  readonly #options: NodeSetOptions
  readonly #nodes = new Map<string, SuperNode>()
  /** Nodes taken out, until their last body has ended. */
  readonly #leaving = new Set<SuperNode>()
  readonly #checks: HealthChecks
  readonly #sweep: NodeJS.Timeout
  #closed = false

  constructor (options: NodeSetOptions) {
    this.#options = options
    const { health, fitness, random } = options
    this.#checks = new HealthChecks({ ...health, backoff: fitness.circuit, random, timers: { ...systemTimers, now: options.clock.monotonic } })
    this.#sweep = setInterval(() => { this.#eject() }, SWEEP_MS).unref()
  }

  get size (): number { return this.#nodes.size }

  get nodes (): SuperNode[] { return [...this.#nodes.values()] }

  /** Makes `addresses` the nodes there are; those that stay keep their connections and what is known of them. */
  set (addresses: readonly NodeAddress[]): void {
    if (this.#closed) return
    const wanted = new Map(addresses.map(address => [new URL(address.url).origin, address]))
    for (const [origin, node] of this.#nodes) {
      const same = wanted.get(origin)
      if (same?.region === node.region && (same.role ?? 'origin') === node.role && same.operator === node.operator) wanted.delete(origin)
      else this.#remove(origin, node)
    }
    for (const [origin, address] of wanted) this.#add(origin, address)
  }

  /** Whether the node is there, or has a body under way since it was taken out. */
  knows (node: SuperNode): boolean {
    return this.#nodes.get(node.url) === node || this.#leaving.has(node)
  }

  find (id: string): SuperNode | undefined {
    return this.nodes.find(node => node.id === id)
  }

  /** The node at `origin`, if it is up. */
  usable (origin: string): SuperNode | undefined {
    const node = this.#nodes.get(origin)
    return node !== undefined && nodeState(node.fitness, this.#options.clock.monotonic()) === 'up' ? node : undefined
  }

  /** New requests no longer go to a node that drains or is disabled; a disabled one is not checked either. */
  setState (node: SuperNode, state: AdminState): void {
    const before = node.fitness.admin
    node.fitness.admin = state
    if (this.#closed || (before === 'disabled') === (state === 'disabled')) return
    if (state === 'disabled') {
      this.#checks.remove(node.id)
      return
    }
    this.#watch(node)
    // What is known of it is from before somebody worked on it.
    this.#checks.hasten(node.id, 0)
  }

  /** Whom to ask, the best first; empty only when every node drains or is disabled. */
  candidates (region: string): SuperNode[] {
    const { clock, random, fitness } = this.#options
    return orderCandidates(this.nodes, region, clock.monotonic(), random, fitness)
  }

  /** The best node that is up. */
  nearest (region: string): SuperNode | undefined {
    return this.candidates(region).find(({ url }) => this.usable(url) !== undefined)
  }

  begin (node: SuperNode): CircuitAttempt {
    return beginAttempt(node.fitness, this.#options.clock.monotonic(), this.#options.fitness)
  }

  /** @param headMs see {@link finishAttempt} */
  finish (node: SuperNode, attempt: CircuitAttempt, outcome: Outcome, headMs?: number): void {
    const { clock, random, fitness } = this.#options
    const now = clock.monotonic()
    const before = healthState(node.fitness, now)
    finishAttempt(node.fitness, attempt, outcome, headMs, now, random(), fitness)
    if (outcome === 'ok' || outcome === 'aborted') return
    const state = healthState(node.fitness, now)
    if (state !== 'open') return
    if (before !== 'open') this.#options.log('warn', 'super-node is asked last from now on', { node: node.id, failures: node.fitness.circuit.failures })
    // So that it comes back without a viewer paying for the try.
    this.#checks.hasten(node.id, Math.max(0, node.fitness.circuit.retryAt - now))
  }

  /** How long the node may take before another one is asked as well, ms: its 95th percentile, within bounds. */
  hedgeDelay (node: SuperNode): number {
    const { hedge: { minMs }, clock } = this.#options
    const longest = this.longestDelay(node)
    return Math.min(longest, Math.max(minMs, node.fitness.latency.p95(clock.monotonic()) ?? longest))
  }

  /** The upper bound of {@link hedgeDelay}, ms. */
  longestDelay ({ role }: SuperNode): number {
    const { hedge: { maxMs, relayMaxMs } } = this.#options
    return role === 'relay' ? relayMaxMs : maxMs
  }

  status (): NodeStatus[] {
    const now = this.#options.clock.monotonic()
    return this.nodes.map(({ id, url, region, fitness, connections }) => ({
      id,
      url,
      region,
      state: nodeState(fitness, now),
      health: fitness.admin === 'disabled' ? null : healthState(fitness, now),
      latencyMs: roundMs(fitness.latency.ewma ?? null),
      p95Ms: roundMs(fitness.latency.p95(now) ?? null),
      failures: Math.max(fitness.circuit.failures, fitness.circuit.failedChecks),
      connections
    }))
  }

  /** Ends the checks, cuts every connection. */
  async close (): Promise<void> {
    this.#closed = true
    clearInterval(this.#sweep)
    this.#checks.close()
    const nodes = [...this.#nodes.values(), ...this.#leaving]
    await Promise.all(nodes.map(async node => { await node.close() }))
  }

  #add (origin: string, { region, role = 'origin', operator }: NodeAddress): void {
    const { connection, fitness, clock, observer, log } = this.#options
    const told = new Set<Oddity>()
    const onOddity = (id: string, oddity: Oddity): void => {
      observer.oddAnswer(id, oddity)
      if (told.has(oddity)) return
      told.add(oddity)
      log('warn', ODD_ANSWERS[oddity], { node: id, oddity })
    }
    const node = new SuperNode({ ...connection, url: origin, region, role, operator, fitness, now: clock.now, onOddity })
    this.#nodes.set(origin, node)
    this.#watch(node)
  }

  #watch (node: SuperNode): void {
    const { fitness, clock, random, observer, log } = this.#options
    const record = (passed: boolean, error?: unknown): void => {
      const now = clock.monotonic()
      const before = healthState(node.fitness, now)
      recordCheck(node.fitness, passed, now, random(), fitness)
      const after = healthState(node.fitness, now)
      if (before === after) return
      const news = after === 'up' ? 'super-node is healthy again' : passed ? 'super-node answers its health checks again' : 'super-node fails its health checks'
      log(passed ? 'info' : 'warn', news, { node: node.id, state: after, ...error instanceof RelayError ? { code: error.code, detail: error.message } : {} })
      // Half-open, it is looked at once more before long.
      if (after === 'probing') this.#checks.hasten(node.id, fitness.circuit.initialMs)
    }
    this.#checks.add({
      id: node.id,
      check: async signal => { await node.checkHealth(signal) },
      passed: () => { record(true) },
      failed: error => {
        observer.healthCheckFailed(node.id)
        record(false, error)
      }
    })
  }

  #remove (origin: string, node: SuperNode): void {
    this.#nodes.delete(origin)
    this.#checks.remove(node.id)
    this.#leaving.add(node)
    void node.drain().then(() => {
      this.#leaving.delete(node)
      // It may have come back meanwhile, with another region for instance.
      if (![...this.#nodes.values(), ...this.#leaving].some(({ id }) => id === node.id)) this.#options.observer.nodeGone(node.id)
    })
  }

  #eject (): void {
    const { clock, fitness, log } = this.#options
    for (const { id } of sweepOutliers(this.nodes, clock.monotonic(), fitness)) log('warn', 'super-node is much worse than the others and set aside', { node: id })
  }
}
