/** Requests for objects in the order in which they came; 4 bytes each, and some 100 for each object. */
export interface Trace {
  readonly name: string
  /** Number of the object of each request, in the order of first requests. */
  readonly requests: Uint32Array
  /** Bytes of each object, as its first request has them: shards do not change. */
  readonly sizes: Float64Array
  /** Requests left out: of zero bytes. */
  readonly empty: number
  /** Requests that gave an object another size. */
  readonly resized: number
}

/** @returns bytes of all objects, each once */
export function footprintOf ({ sizes }: Pick<Trace, 'sizes'>): number {
  return sizes.reduce((sum, size) => sum + size, 0)
}

export type ObjectId = string | number | bigint

/** Takes requests one by one. */
export class TraceBuilder {
  readonly #numbers = new Map<ObjectId, number>()
  #requests = new Uint32Array(1024)
  #sizes = new Float64Array(1024)
  #count = 0
  #empty = 0
  #resized = 0

  get count (): number { return this.#count }

  add (id: ObjectId, size: number): void {
    if (size === 0) {
      this.#empty++
      return
    }
    let number = this.#numbers.get(id)
    if (number === undefined) {
      number = this.#numbers.size
      this.#numbers.set(id, number)
      if (number === this.#sizes.length) this.#sizes = grown(this.#sizes, new Float64Array(number * 2))
      this.#sizes[number] = size
    } else if (this.#sizes[number] !== size) this.#resized++
    if (this.#count === this.#requests.length) this.#requests = grown(this.#requests, new Uint32Array(this.#count * 2))
    this.#requests[this.#count++] = number
  }

  finish (name: string): Trace {
    return { name, requests: this.#requests.slice(0, this.#count), sizes: this.#sizes.slice(0, this.#numbers.size), empty: this.#empty, resized: this.#resized }
  }
}

function grown<A extends Uint32Array | Float64Array> (from: A, to: A): A {
  to.set(from)
  return to
}
