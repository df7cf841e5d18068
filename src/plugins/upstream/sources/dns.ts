import { Resolver } from 'node:dns/promises'
import { systemTimers } from '../../../base/clock.ts'
import { systemCode } from '../../../base/errors.ts'
import { fromAddresses, fromServices, refreshDelay, retryDelay, type AddressRecord, type DnsQuery, type SrvRecord } from './dns-answer.ts'
import { sameNodes, type NodeSource, type NodeSpec } from './node-source.ts'

/** The part of a `node:dns` resolver that is used; each source has one of its own, because `cancel` ends all its look-ups. */
export interface NameResolver {
  resolve4 (name: string, options: { ttl: true }): Promise<AddressRecord[]>
  resolve6 (name: string, options: { ttl: true }): Promise<AddressRecord[]>
  resolveSrv (name: string): Promise<SrvRecord[]>
  cancel (): void
}

export interface DnsSourceOptions extends DnsQuery {
  /** Name servers, `address` or `address:port`; without any, those of the host. */
  readonly servers?: readonly string[]
  /** One that asks the servers by default. */
  readonly resolver?: NameResolver
  /** In [0, 1). */
  readonly random: () => number
  /** Runs `work` after `ms`; returns how to prevent it. Timers of the process by default. */
  readonly schedule?: (work: () => void, ms: number) => () => void
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** One try at one server; with two tries a look-up ends well before the shortest time to live, ms. */
const TRY_MS = 1_000
const TRIES = 2

function resolverFor (servers: readonly string[]): NameResolver {
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES })
  if (servers.length > 0) resolver.setServers(servers)
  return resolver
}

/**
 * Nodes by DNS, looked up again when their time to live ends. A look-up that fails, or finds nothing, changes nothing: the nodes of
 * the last good answer are used until there is another (RFC 8767, stale data).
 */
export class DnsSource implements NodeSource {
  readonly name: string
  readonly #options: DnsSourceOptions
  readonly #resolver: NameResolver
  readonly #schedule: NonNullable<DnsSourceOptions['schedule']>
  #onChange: (nodes: readonly NodeSpec[]) => void = () => {}
  #nodes: readonly NodeSpec[] = []
  #failures = 0
  #unschedule: () => void = () => {}
  /** Look-ups come one after the other. */
  #last: Promise<void> = Promise.resolve()
  /** One that has not begun: whoever asks meanwhile has its answer. */
  #queued: Promise<void> | undefined
  #started = false
  #closed = false

  constructor (options: DnsSourceOptions) {
    this.name = `dns ${options.type} ${options.dns}`
    this.#options = options
    this.#resolver = options.resolver ?? resolverFor(options.servers ?? [])
    this.#schedule = options.schedule ?? ((work, ms) => systemTimers.after(ms, work))
  }

  async start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void> {
    this.#onChange = onChange
    this.#started = true
    await this.refresh()
  }

  async refresh (): Promise<void> {
    if (!this.#started) return
    // One under way may have asked before the change that somebody wants to see.
    this.#last = this.#queued ??= this.#last.then(async () => {
      this.#queued = undefined
      await this.#look()
    })
    await this.#last
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#unschedule()
    this.#resolver.cancel()
  }

  async #look (): Promise<void> {
    if (this.#closed) return
    this.#unschedule()
    const { random, log } = this.#options
    let delay: number
    try {
      const answer = await this.#lookUp()
      if (answer === undefined) throw new Error('the answer names no node')
      if (this.#closed) return
      if (this.#failures > 0) log('info', 'name resolves again', { source: this.name, failures: this.#failures })
      this.#failures = 0
      delay = refreshDelay(answer.ttlMs, random())
      this.#take(answer.nodes)
    } catch (error) {
      if (this.#closed) return
      this.#failures++
      delay = retryDelay(this.#failures, random())
      log('warn', 'name does not resolve, the last answer stays in use', {
        source: this.name,
        reason: systemCode(error) ?? (error instanceof Error ? error.message : String(error)),
        failures: this.#failures,
        nodes: this.#nodes.length,
        retryMs: Math.round(delay)
      })
    }
    this.#unschedule = this.#schedule(() => { void this.refresh() }, delay)
  }

  #take (nodes: readonly NodeSpec[]): void {
    if (sameNodes(nodes, this.#nodes)) return
    this.#nodes = nodes
    this.#options.log('info', 'nodes found', { source: this.name, nodes: nodes.map(({ url }) => url) })
    this.#onChange(nodes)
  }

  async #lookUp (): Promise<{ nodes: NodeSpec[], ttlMs: number } | undefined> {
    const { dns, type } = this.#options
    if (type === 'SRV') return fromServices(await this.#resolver.resolveSrv(dns), this.#options)
    const records = type === 'A' ? await this.#resolver.resolve4(dns, { ttl: true }) : await this.#resolver.resolve6(dns, { ttl: true })
    return fromAddresses(records, this.#options)
  }
}
