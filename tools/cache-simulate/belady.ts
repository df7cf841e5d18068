import type { Outcome } from './replay.ts'
import type { Trace } from './trace.ts'

const NEVER = 0xffffffff

/** Numbers below a bound, of which the highest is found fast: a tree of bits, 32 to a node. */
export class HighestSet {
  readonly #levels: Uint32Array[] = []

  constructor (bound: number) {
    for (let length = bound; ;) {
      length = Math.max(1, Math.ceil(length / 32))
      this.#levels.push(new Uint32Array(length))
      if (length === 1) break
    }
  }

  has (number: number): boolean {
    return (((this.#levels[0]?.[number >>> 5] ?? 0) >>> (number & 31)) & 1) === 1
  }

  add (number: number): void {
    for (const level of this.#levels) {
      level[number >>> 5] = (level[number >>> 5] ?? 0) | (1 << (number & 31))
      number >>>= 5
    }
  }

  delete (number: number): void {
    for (const level of this.#levels) {
      const rest = (level[number >>> 5] ?? 0) & ~(1 << (number & 31))
      level[number >>> 5] = rest
      if (rest !== 0) return
      number >>>= 5
    }
  }

  /** Undefined when it is empty. */
  get highest (): number | undefined {
    let at = 0
    for (const level of this.#levels.toReversed()) {
      const bits = level[at] ?? 0
      if (bits === 0) return undefined
      at = at * 32 + 31 - Math.clz32(bits)
    }
    return at
  }
}

/** When the object of each request is asked for the next time, as the number of that request. */
export function nextUses ({ requests, sizes }: Trace): Uint32Array {
  const next = new Uint32Array(requests.length)
  const seen = new Uint32Array(sizes.length).fill(NEVER)
  for (let at = requests.length - 1; at >= 0; at--) {
    const object = requests[at] ?? 0
    next[at] = seen[object] ?? NEVER
    seen[object] = at
  }
  return next
}

/**
 * Belady's MIN by bytes, with a cache that may leave out what it was asked for: what is asked for again last goes first. No policy has more hits where all objects are of
 * one size. Where they are not, the best choice is NP-hard; this is then an approximation, which a policy might beat, and not a bound.
 */
export function optimum (trace: Trace, maxBytes: number, next: Uint32Array = nextUses(trace)): Outcome {
  const { requests, sizes } = trace
  /** When what is cached is asked for next. */
  const cached = new HighestSet(requests.length)
  let [used, hits, bytes, hitBytes] = [0, 0, 0, 0]
  for (const [at, object] of requests.entries()) {
    const size = sizes[object] ?? 0
    bytes += size
    if (cached.has(at)) {
      cached.delete(at)
      used -= size
      hits++
      hitBytes += size
    }
    const again = next[at] ?? NEVER
    if (again === NEVER) continue
    cached.add(again)
    used += size
    for (let last = cached.highest; used > maxBytes && last !== undefined; last = cached.highest) {
      cached.delete(last)
      used -= sizes[requests[last] ?? 0] ?? 0
    }
  }
  return { requests: requests.length, hits, bytes, hitBytes }
}
