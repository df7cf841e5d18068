import { randomBytes } from 'node:crypto'

const WORDS = 4
const LEAST_SLOTS = 64

/**
 * A set of SHA-256 digests, of each of which the first 128 bits are kept: 32 to 64 bytes an entry, nothing for the garbage collector, and a lookup takes
 * the same time whatever their number. Where a digest lies depends on random numbers, so that nobody can write a list whose entries lie in each other's way.
 */
export class DigestSet {
  #slots: Uint32Array
  #count = 0
  /** Odd. */
  readonly #factors: Words

  /** @param expected entries for which there is room without growing */
  constructor (expected = 0) {
    this.#slots = new Uint32Array(WORDS * slotsFor(expected))
    const random = randomBytes(WORDS * 4)
    this.#factors = [random.readInt32LE(0) | 1, random.readInt32LE(4) | 1, random.readInt32LE(8) | 1, random.readInt32LE(12) | 1]
  }

  get size (): number { return this.#count }
  get bytes (): number { return this.#slots.byteLength }

  /** @param digest 32 bytes */
  has (digest: Buffer): boolean {
    return this.#slots[this.#find(this.#slots, wordsOf(digest))] !== 0
  }

  /** False when it is there already. */
  add (digest: Buffer): boolean {
    const words = wordsOf(digest)
    const at = this.#find(this.#slots, words)
    if (this.#slots[at] !== 0) return false
    this.#slots.set(words, at)
    this.#count++
    if (this.#count * 2 * WORDS > this.#slots.length) this.#grow()
    return true
  }

  /** Where a digest lies, or would. */
  #find (slots: Uint32Array, words: Words): number {
    const mask = slots.length / WORDS - 1
    const [a, b, c, d] = this.#factors
    let mixed = Math.imul(words[0], a)
    mixed = Math.imul(mixed ^ words[1] ^ (mixed >>> 15), b)
    mixed = Math.imul(mixed ^ words[2] ^ (mixed >>> 15), c)
    mixed = Math.imul(mixed ^ words[3] ^ (mixed >>> 15), d)
    for (let slot = (mixed ^ (mixed >>> 16)) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS
      if (slots[at] === 0) return at
      if (slots[at] === words[0] && slots[at + 1] === words[1] && slots[at + 2] === words[2] && slots[at + 3] === words[3]) return at
    }
  }

  #grow (): void {
    const larger = new Uint32Array(this.#slots.length * 2)
    for (let at = 0; at < this.#slots.length; at += WORDS) {
      if (this.#slots[at] === 0) continue
      const words: Words = [this.#slots[at] ?? 0, this.#slots[at + 1] ?? 0, this.#slots[at + 2] ?? 0, this.#slots[at + 3] ?? 0]
      larger.set(words, this.#find(larger, words))
    }
    this.#slots = larger
  }
}

type Words = readonly [number, number, number, number]

/** The first word of a slot that is taken is never 0. */
function wordsOf (digest: Buffer): Words {
  return [digest.readUInt32LE(0) || 1, digest.readUInt32LE(4), digest.readUInt32LE(8), digest.readUInt32LE(12)]
}

/** At most half of the slots are taken; their number is a power of two. */
function slotsFor (entries: number): number {
  return Math.max(LEAST_SLOTS, 2 ** Math.ceil(Math.log2(2 * entries + 1)))
}
