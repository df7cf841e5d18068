import { LRUCache } from 'lru-cache'
import type { Clock } from '../../base/clock.ts'
import type { NodeAddress, NodeSet } from './node-set.ts'
import type { SuperNode } from './super-node.ts'

/** Who has the objects of a CID, as somebody else knows it. */
export interface HolderSource {
  /** Those of whom it is known already, in any order; nothing is asked for it. */
  known (cid: string): readonly NodeAddress[]
  /**
   * Asks, or joins whoever does. Never rejects.
   * @returns empty when nobody is known to have them; undefined when that could not be found out in time
   */
  find (cid: string, signal: AbortSignal): Promise<readonly NodeAddress[] | undefined>
}

export interface HoldersOptions {
  readonly source: HolderSource
  /** Theirs alone. */
  readonly nodes: NodeSet
  /** Origins that are not asked as holders: those that are asked anyway, or not on purpose. */
  readonly excludes: (origin: string) => boolean
  readonly clock: Pick<Clock, 'monotonic'>
}

/** Holders connected to at the same time, as many as may be configured; the one that was not used longest goes first. */
export const MAX_HOLDER_NODES = 64
/** A holder that was not used for so long is dropped, and its health is not asked for any more, ms. */
export const HOLDER_IDLE_MS = 600_000

/** Super-nodes that hold certain CIDs and are asked for nothing else. */
export class Holders {
  readonly #options: HoldersOptions
  /** By origin, with monotonic ms of its last use. */
  readonly #used = new LRUCache<string, { readonly address: NodeAddress, readonly at: number }>({ max: MAX_HOLDER_NODES })
  readonly #sweep: NodeJS.Timeout

  constructor (options: HoldersOptions) {
    this.#options = options
    this.#sweep = setInterval(() => { this.dropIdle() }, HOLDER_IDLE_MS / 10).unref()
  }

  get nodes (): NodeSet { return this.#options.nodes }

  /** Those of a CID of whom it is known already, the best first. */
  known (cid: string, region: string): SuperNode[] {
    return this.#nodesOf(this.#options.source.known(cid), region)
  }

  /** Those of a CID, the best first; undefined when that could not be found out. */
  async find (cid: string, region: string, signal: AbortSignal): Promise<SuperNode[] | undefined> {
    const found = await this.#options.source.find(cid, signal)
    return found === undefined ? undefined : this.#nodesOf(found, region)
  }

  /** Drops those that were not used for {@link HOLDER_IDLE_MS}; bodies under way end well. */
  dropIdle (): void {
    const before = this.#options.clock.monotonic() - HOLDER_IDLE_MS
    const idle = [...this.#used].filter(([, { at }]) => at <= before)
    for (const [origin] of idle) this.#used.delete(origin)
    if (idle.length > 0) this.#apply()
  }

  async close (): Promise<void> {
    clearInterval(this.#sweep)
    await this.#options.nodes.close()
  }

  #nodesOf (addresses: readonly NodeAddress[], region: string): SuperNode[] {
    if (addresses.length === 0) return []
    const { excludes, nodes, clock } = this.#options
    const at = clock.monotonic()
    const wanted = new Set<string>()
    let isNew = false
    for (const address of addresses) {
      const { origin } = new URL(address.url)
      if (excludes(origin)) continue
      wanted.add(origin)
      const used = this.#used.get(origin)
      isNew ||= used === undefined
      // Of two records that disagree about its region the first counts, or it would be connected to anew each time.
      this.#used.set(origin, { address: used?.address ?? { ...address, url: origin }, at })
    }
    if (isNew) this.#apply()
    return nodes.candidates(region).filter(({ url }) => wanted.has(url))
  }

  #apply (): void {
    this.#options.nodes.set([...this.#used.values()].map(({ address }) => address))
  }
}
