/** Places at first; a power of two, doubled when they are full. */
const FIRST_PLACES = 64

/** Which values were evicted lately, by the hashes of their ids, first in first out; 12 bytes each and a number in a map. */
export class Ghosts {
  /** The place of each hash, counted on over the end of the arrays. */
  readonly #placeOf = new Map<number, number>()
  #hashes = new Uint32Array(FIRST_PLACES)
  #sizes = new Float64Array(FIRST_PLACES)
  #from = 0
  #to = 0
  #bytes = 0

  get count (): number { return this.#placeOf.size }
  /** Places there are, taken or not. */
  get places (): number { return this.#hashes.length }
  /** What the values had. */
  get bytes (): number { return this.#bytes }

  add (hash: number, size: number): void {
    this.take(hash)
    if (this.#to - this.#from === this.#hashes.length) this.#makeRoom()
    this.#hashes[this.#index(this.#to)] = hash
    this.#sizes[this.#index(this.#to)] = size
    this.#placeOf.set(hash, this.#to++)
    this.#bytes += size
  }

  /** Forgets it; false when it was not there. */
  take (hash: number): boolean {
    const place = this.#placeOf.get(hash)
    if (place === undefined) return false
    this.#placeOf.delete(hash)
    this.#bytes -= this.#sizes[this.#index(place)] ?? 0
    return true
  }

  /** Forgets the first until neither bound is exceeded. */
  trim (count: number, bytes: number): void {
    while (this.#placeOf.size > count || this.#bytes > bytes) {
      const hash = this.#hashes[this.#index(this.#from)] ?? 0
      if (this.#placeOf.get(hash) === this.#from) this.take(hash)
      this.#from++
    }
    // What was taken at the front needs no place any more.
    while (this.#from < this.#to && this.#placeOf.get(this.#hashes[this.#index(this.#from)] ?? 0) !== this.#from) this.#from++
  }

  #index (place: number): number {
    return place & (this.#hashes.length - 1)
  }

  /** What is remembered moves to the front; only where that is more than half of the places there will be more. */
  #makeRoom (): void {
    const kept: (readonly [hash: number, size: number])[] = []
    for (let place = this.#from; place < this.#to; place++) {
      const hash = this.#hashes[this.#index(place)] ?? 0
      if (this.#placeOf.get(hash) === place) kept.push([hash, this.#sizes[this.#index(place)] ?? 0])
    }
    if (kept.length * 2 > this.#hashes.length) {
      this.#hashes = new Uint32Array(this.#hashes.length * 2)
      this.#sizes = new Float64Array(this.#sizes.length * 2)
    }
    for (const [place, [hash, size]] of kept.entries()) {
      this.#hashes[place] = hash
      this.#sizes[place] = size
      this.#placeOf.set(hash, place)
    }
    this.#from = 0
    this.#to = kept.length
  }
}
