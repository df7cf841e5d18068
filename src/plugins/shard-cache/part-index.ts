import { TOTAL_SHARDS } from '../../protocol/shard-key.ts'
import { lengthened, NONE } from '../../storage/slots.ts'
import type { EntryRows } from './entry-rows.ts'

/** The parts of a CID by number: its shards, then the manifest. */
export const MANIFEST_PART = TOTAL_SHARDS
const PARTS = TOTAL_SHARDS + 1
const NAMES = [...Array.from({ length: TOTAL_SHARDS }, (_, part) => String(part)), 'manifest']
const ZERO = 0x30

/** Number of the part that an id names from there on; undefined when it names none. Once for each of a million entries: without a string. */
export function partNumber (id: string, from: number): number | undefined {
  const length = id.length - from
  if (length > 2) return id.endsWith('manifest') && length === 8 ? MANIFEST_PART : undefined
  const first = id.charCodeAt(from) - ZERO
  const number = length === 1 ? first : length === 2 && first === 1 ? 10 + id.charCodeAt(from + 1) - ZERO : -1
  return number >= (length - 1) * 10 && number < Math.min(length * 10, TOTAL_SHARDS) ? number : undefined
}

export function partName (part: number): string {
  return NAMES[part] ?? ''
}

/** Marks the number of a block, where a CID has more than one part here. */
const IS_BLOCK = 2 ** 31

/** Slots by the number of their CID and that of their part: 4 bytes for a CID of which one part is here, 64 for others. */
export class PartIndex {
  /** By CID: nothing, its only slot, or its block, which is marked as one. */
  #places = new Uint32Array(64)
  /** Slots of blocks, which begin with the second part of a CID. */
  #blocks = new Uint32Array(64 * PARTS)
  readonly #freeBlocks: number[] = []
  #blockCount = 0
  readonly #rows: Pick<EntryRows, 'partOf'>

  constructor (rows: Pick<EntryRows, 'partOf'>) {
    this.#rows = rows
  }

  /** NONE when it is not here. */
  slotOf (cid: number, part: number): number {
    const place = this.#places[cid] ?? NONE
    if (place >= IS_BLOCK) return this.#blocks[(place - IS_BLOCK) * PARTS + part] ?? NONE
    return place !== NONE && this.#rows.partOf(place) === part ? place : NONE
  }

  set (cid: number, part: number, slot: number): void {
    if (cid >= this.#places.length) this.#places = lengthened(this.#places, new Uint32Array(Math.max(cid + 1, this.#places.length * 2)))
    const place = this.#places[cid] ?? NONE
    if (place === NONE) {
      this.#places[cid] = slot
      return
    }
    const block = place >= IS_BLOCK ? place - IS_BLOCK : this.#openBlock()
    if (place < IS_BLOCK) {
      this.#places[cid] = block + IS_BLOCK
      this.#blocks[block * PARTS + this.#rows.partOf(place)] = place
    }
    this.#blocks[block * PARTS + part] = slot
  }

  /** Takes out a part that is here. */
  delete (cid: number, part: number): void {
    const place = this.#places[cid] ?? NONE
    if (place < IS_BLOCK) {
      this.#places[cid] = NONE
      return
    }
    const first = (place - IS_BLOCK) * PARTS
    this.#blocks[first + part] = NONE
    if (this.#blocks.subarray(first, first + PARTS).some(slot => slot !== NONE)) return
    this.#places[cid] = NONE
    this.#freeBlocks.push(place - IS_BLOCK)
  }

  #openBlock (): number {
    const block = this.#freeBlocks.pop() ?? this.#blockCount++
    if (this.#blockCount * PARTS > this.#blocks.length) this.#blocks = lengthened(this.#blocks, new Uint32Array(this.#blocks.length * 2))
    return block
  }
}
