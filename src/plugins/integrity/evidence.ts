import { LRUCache } from 'lru-cache'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'

/** A wrong object, and who sent it. */
export interface Evidence {
  /** More than one when the body went on from another node: which of them sent the wrong bytes cannot be told. */
  readonly nodes: readonly string[]
  readonly key: ShardKey
  /** What the believed manifest says, lower-case hex. */
  readonly expected: string
  /** SHA-256 of what came, or what the node announced; undefined when its length was wrong already. */
  readonly received: string | undefined
  /** Why the manifest is believed. */
  readonly by: 'publisher' | 'quorum'
  /** Wall clock, ms since the epoch. */
  readonly at: number
}

/** A super-node that sent wrong objects. */
export interface Offender {
  readonly node: string
  readonly wrong: number
  /** Wall clock, ms since the epoch. */
  readonly lastAt: number
}

/** Latest pieces kept of each node, so that one liar does not push out what is known of another. */
export const EVIDENCE_PER_NODE = 32
/** Nodes remembered; twice what may be configured. The one that was quiet longest goes first. */
export const MAX_OFFENDERS = 128

interface OffenderRow { wrong: number, lastAt: number, readonly latest: Evidence[] }

/** What super-nodes have sent wrongly: the latest pieces of evidence and a count for each. */
export class EvidenceBook {
  readonly #rows = new LRUCache<string, OffenderRow>({ max: MAX_OFFENDERS })

  add (evidence: Evidence): void {
    for (const node of evidence.nodes) {
      const row = this.#rows.get(node) ?? { wrong: 0, lastAt: 0, latest: [] }
      row.wrong++
      row.lastAt = evidence.at
      row.latest.push(evidence)
      if (row.latest.length > EVIDENCE_PER_NODE) row.latest.shift()
      this.#rows.set(node, row)
    }
  }

  /** What is held against anybody because of an object counts no more. @param id of its key */
  forgive (id: string): void {
    for (const [node, row] of [...this.#rows.entries()]) {
      const kept = row.latest.filter(({ key }) => keyId(key) !== id)
      row.wrong -= row.latest.length - kept.length
      row.latest.splice(0, Infinity, ...kept)
      if (row.wrong === 0) this.#rows.delete(node)
    }
  }

  /** Those that were caught last first. */
  offenders (): Offender[] {
    return [...this.#rows.entries()].map(([node, { wrong, lastAt }]) => ({ node, wrong, lastAt }))
  }

  /** Each piece once, the latest first, at most `limit`. */
  latest (limit: number): Evidence[] {
    const all = new Set([...this.#rows.values()].flatMap(({ latest }) => latest))
    return [...all].toSorted((a, b) => b.at - a.at).slice(0, limit)
  }
}
