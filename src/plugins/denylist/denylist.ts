import { LRUCache } from 'lru-cache'
import type { DeniedSet } from './denied-set.ts'
import { cidDigest } from './entry.ts'

/** Who says it: an operator over the admin API, the file of the configuration, or what its URL answers. */
export const SOURCES = ['own', 'file', 'url'] as const
export type SourceName = (typeof SOURCES)[number]

/** Whether a CID may be served. */
export type Denies = (cid: string) => boolean

/** CIDs whose verdicts are remembered: a digest is most of what a lookup costs. */
const MAX_VERDICTS = 10_000

/** What must not be served, by CID and by prefix of CIDs, from several lists. Looking a CID up takes the same time whatever their length. */
export class Denylist {
  readonly #lists = new Map<SourceName, DeniedSet>()
  readonly #verdicts = new LRUCache<string, boolean>({ max: MAX_VERDICTS })
  #listener: () => void = () => {}

  get size (): number { return [...this.#lists.values()].reduce((sum, { size }) => sum + size, 0) }

  /** @param listener told whenever a list was put in the place of another */
  onChange (listener: () => void): void {
    this.#listener = listener
  }

  list (name: SourceName): DeniedSet | undefined { return this.#lists.get(name) }

  replace (name: SourceName, list: DeniedSet): void {
    this.#lists.set(name, list)
    this.#verdicts.clear()
    this.#listener()
  }

  readonly denies: Denies = cid => {
    if (this.size === 0) return false
    const known = this.#verdicts.get(cid)
    if (known !== undefined) return known
    const denied = this.sourcesOf(cid).length > 0
    this.#verdicts.set(cid, denied)
    return denied
  }

  /** Lists that deny it. */
  sourcesOf (cid: string): SourceName[] {
    const digest = cidDigest(cid)
    return SOURCES.filter(name => this.#lists.get(name)?.denies(cid, digest) === true)
  }
}
