/** Which blocks of an object are here: one bit for each. */
export class BlockSet {
  /** Blocks of the object. */
  readonly size: number
  readonly #bits: Uint8Array
  #count = 0

  /** @param bits of those that are here already, as {@link toBytes} gave them */
  constructor (size: number, bits?: Uint8Array) {
    this.size = size
    this.#bits = new Uint8Array(Math.ceil(size / 8))
    if (bits !== undefined) for (let block = 0; block < size; block++) if (((bits[block >> 3] ?? 0) >> (block & 7) & 1) === 1) this.add(block)
  }

  /** Blocks that are here. */
  get count (): number { return this.#count }
  get full (): boolean { return this.#count === this.size }

  has (block: number): boolean {
    return ((this.#bits[block >> 3] ?? 0) >> (block & 7) & 1) === 1
  }

  add (block: number): void {
    if (block < 0 || block >= this.size || this.has(block)) return
    this.#bits[block >> 3] = (this.#bits[block >> 3] ?? 0) | 1 << (block & 7)
    this.#count++
  }

  delete (block: number): void {
    if (block < 0 || block >= this.size || !this.has(block)) return
    this.#bits[block >> 3] = (this.#bits[block >> 3] ?? 0) & ~(1 << (block & 7))
    this.#count--
  }

  /** The first block from `from` on that is not here; {@link size} when all are. */
  firstMissing (from: number): number {
    let block = from
    while (block < this.size && this.has(block)) block++
    return block
  }

  /** The first block from `from` on that is here; {@link size} when none is. */
  firstPresent (from: number): number {
    let block = from
    while (block < this.size && !this.has(block)) block++
    return block
  }

  /** A new set of the blocks of both. */
  union (other: BlockSet): BlockSet {
    return new BlockSet(this.size, this.#bits.map((bits, at) => bits | (other.#bits[at] ?? 0)))
  }

  /** Eight blocks a byte, the first in the lowest bit. */
  toBytes (): Uint8Array {
    return this.#bits.slice()
  }
}
