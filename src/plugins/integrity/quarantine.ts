import { LRUCache } from 'lru-cache'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'

/** Pairs remembered: about 2 MB. The one that was not asked about longest goes first. */
export const MAX_QUARANTINED = 10_000
/** Time for which a node that sent a wrong object is not asked for it, ms. */
const ALONE_MS = 600_000
/** The same for nodes that sent a wrong body together: one of them may be honest, and may be the only one left. */
const TOGETHER_MS = 10_000

/** Which super-node is not asked for which object, for a time. */
export class Quarantine {
  readonly #until = new LRUCache<string, number>({ max: MAX_QUARANTINED })

  get size (): number { return this.#until.size }

  /** @param now monotonic ms */
  add (nodes: readonly string[], key: ShardKey, now: number): void {
    const until = now + (nodes.length === 1 ? ALONE_MS : TOGETHER_MS)
    for (const node of nodes) {
      const pair = `${node} ${keyId(key)}`
      this.#until.set(pair, Math.max(until, this.#until.peek(pair) ?? 0))
    }
  }

  /** They may be asked again. */
  lift (nodes: readonly string[], key: ShardKey): void {
    for (const node of nodes) this.#until.delete(`${node} ${keyId(key)}`)
  }

  has (node: string, key: ShardKey, now: number): boolean {
    const pair = `${node} ${keyId(key)}`
    const until = this.#until.get(pair)
    if (until !== undefined && now >= until) this.#until.delete(pair)
    return until !== undefined && now < until
  }
}
