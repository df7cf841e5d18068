import { Interned } from '../../storage/interned.ts'
import { lengthened } from '../../storage/slots.ts'

/** Tags of one CID. */
export const MAX_CID_TAGS = 16
/** Memory of the sets of tags that CIDs have, each kept once, bytes: 200,000 sets of two short tags. What would exceed it is left out. */
export const MAX_TAG_BYTES = 32 * 1024 * 1024
/** What a set takes besides its text, bytes. */
const SET_BYTES = 130
const NO_SET = 0

/** The tags of CIDs by the number of the CID: 4 bytes for each CID there is room for, from the first tag on, and each set of tags once. */
export class CidTags {
  readonly #sets = new Interned()
  #setOf = new Uint32Array(0)
  #bytes = 0
  #tagged = 0
  #refused = 0

  /** CIDs with tags. */
  get tagged (): number { return this.#tagged }
  /** Of the sets. */
  get bytes (): number { return this.#bytes }
  /** Sets that were left out because of {@link MAX_TAG_BYTES}, or tags beyond {@link MAX_CID_TAGS}. */
  get refused (): number { return this.#refused }

  of (cid: number): readonly string[] {
    return tagsOf(this.#sets.stringOf(this.#setOf[cid] ?? NO_SET))
  }

  /** Adds tags to those of a CID. @returns whether it has others now */
  add (cid: number, tags: readonly string[]): boolean {
    if (tags.length === 0) return false
    const before = this.#sets.stringOf(this.#setOf[cid] ?? NO_SET)
    const all = new Set([...tagsOf(before), ...tags])
    if (all.size > MAX_CID_TAGS) this.#refused++
    const after = [...all].slice(0, MAX_CID_TAGS).toSorted().join(' ')
    if (after === before) return false
    if (this.#sets.numberOf(after) === NO_SET && this.#bytes + sizeOf(after) > MAX_TAG_BYTES) {
      this.#refused++
      return false
    }
    if (cid >= this.#setOf.length) this.#setOf = lengthened(this.#setOf, new Uint32Array(Math.max(64, cid + 1, this.#setOf.length * 2)))
    if (this.#sets.numberOf(after) === NO_SET) this.#bytes += sizeOf(after)
    const set = this.#sets.use(after)
    this.forget(cid)
    this.#setOf[cid] = set
    this.#tagged++
    return true
  }

  /** The number of the CID may be given to another one. @returns whether it had tags */
  forget (cid: number): boolean {
    const set = this.#setOf[cid] ?? NO_SET
    if (set === NO_SET) return false
    const text = this.#sets.stringOf(set)
    this.#setOf[cid] = NO_SET
    this.#tagged--
    if (this.#sets.leave(set)) this.#bytes -= sizeOf(text)
    return true
  }
}

const tagsOf = (text: string): readonly string[] => text === '' ? [] : text.split(' ')

/** Counted twice, as text and as key of a map. */
const sizeOf = (text: string): number => text.length + SET_BYTES
