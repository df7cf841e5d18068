import { mixed } from './id-hash.ts'

const ROWS = 4
/** What a counter of four bits holds. */
const MOST = 15
/** Counters of a row for each value, of twice as many where there are just enough. */
const COUNTERS_A_VALUE = 4
/** Counted uses for each value after which all counts are halved, as in the paper. */
const SAMPLE_A_VALUE = 10
/** Values for which it is made at first, and at most: 8 MB. */
const FIRST_VALUES = 128
const MOST_VALUES = 2 ** 20
/** Odd numbers that make four hashes of one. */
const SEEDS = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const

/**
 * How often ids were asked for lately, never too few unless halved: a count-min sketch with counters of four bits that forgets by halving
 * (TinyLFU, Einziger et al., ACM ToS 2017). It grows with the number of values it is for; 8 to 16 bytes each.
 */
export class FrequencySketch {
  #values = FIRST_VALUES
  /** Eight counters a word, row after row. */
  #table = new Uint32Array(wordsFor(FIRST_VALUES))
  #counted = 0

  /** Makes room for so many values; what is known stays. */
  fit (values: number): void {
    while (this.#values < Math.min(values, MOST_VALUES)) {
      const row = this.#table.length / ROWS
      const wider = new Uint32Array(this.#table.length * 2)
      // A hash has one more bit now: both places it may mean begin with what the one place knew.
      for (let n = 0; n < ROWS * 2; n++) wider.set(this.#table.subarray((n >> 1) * row, ((n >> 1) + 1) * row), n * row)
      this.#table = wider
      this.#values *= 2
    }
  }

  /** Counts a use. @param hash of the id, an integer */
  add (hash: number): void {
    let added = false
    for (let row = 0; row < ROWS; row++) {
      const [word, shift] = this.#place(hash, row)
      const bits = this.#table[word] ?? 0
      if (((bits >>> shift) & MOST) === MOST) continue
      this.#table[word] = bits + (1 << shift)
      added = true
    }
    if (added && ++this.#counted >= this.#values * SAMPLE_A_VALUE) this.#halve()
  }

  /** Uses, 15 at most. */
  estimate (hash: number): number {
    let least = MOST
    for (let row = 0; row < ROWS; row++) {
      const [word, shift] = this.#place(hash, row)
      least = Math.min(least, ((this.#table[word] ?? 0) >>> shift) & MOST)
    }
    return least
  }

  #place (hash: number, row: number): readonly [word: number, shift: number] {
    const bits = mixed(Math.imul(hash + 1, SEEDS[row] ?? 1))
    const words = this.#table.length / ROWS
    // The number of words is a power of two: one bit more of the same hash in a row that is twice as wide.
    return [row * words + ((bits >>> 3) & (words - 1)), (bits & 7) * 4]
  }

  #halve (): void {
    for (const [n, bits] of this.#table.entries()) this.#table[n] = (bits >>> 1) & 0x77777777
    this.#counted >>>= 1
  }
}

function wordsFor (values: number): number {
  return values * COUNTERS_A_VALUE * ROWS / 8
}
