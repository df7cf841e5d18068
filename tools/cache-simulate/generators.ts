import { seededRandom } from '../../demo/super-node/faults.ts'
import { TraceBuilder, type Trace } from './trace.ts'

export interface GeneratorOptions {
  readonly requests: number
  /** Videos' shards that are asked for again and again, at a time. */
  readonly objects: number
  /** Of Zipf's law. */
  readonly alpha: number
  readonly seed: number
  /** Bytes of an object, evenly spread on a logarithmic scale. */
  readonly bytes: readonly [least: number, most: number]
}

export const GENERATORS = ['zipf', 'one-hit', 'drift', 'drift-one-hit', 'scan'] as const
export type GeneratorName = typeof GENERATORS[number]

/** How often the catalogue is replaced in a drift. */
const DRIFTS = 1
/** Share of requests for objects that are asked for once. */
const ONE_HIT_SHARE = 0.2
/** Objects of a scan, as a share of those asked for again and again, and how many scans there are. */
const SCANNED = 0.2
const SCANS = 5

/** Numbers 0 to `objects` - 1 by Zipf's law, the first most often. */
function zipf (objects: number, alpha: number, random: () => number): () => number {
  const up = new Float64Array(objects)
  let sum = 0
  for (let n = 0; n < objects; n++) up[n] = sum += (n + 1) ** -alpha
  return () => {
    const wanted = random() * sum
    let [low, high] = [0, objects - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((up[middle] ?? 0) > wanted) high = middle
      else low = middle + 1
    }
    return low
  }
}

/**
 * A trace that is the same for the same options.
 * - `zipf`: each request is for an object by Zipf's law, whatever came before.
 * - `one-hit`: as that, and one in five requests is for an object that is never asked for again.
 * - `drift`: as `zipf`, and now and then a new object takes the rank of one chosen by chance, so that in the end the catalogue was replaced once.
 * - `drift-one-hit`: both.
 * - `scan`: as `zipf`, and five times somebody asks for objects in a row that nobody else wants, a fifth as many as the others, every second request.
 */
export function generate (name: GeneratorName, options: GeneratorOptions): Trace {
  const { requests, objects, alpha, seed, bytes: [least, most] } = options
  const random = seededRandom(seed)
  const rank = zipf(objects, alpha, random)
  const sizes: number[] = []
  const fresh = (): number => sizes.push(Math.round(least * (most / least) ** random())) - 1
  const ranks = Array.from({ length: objects }, fresh)
  const builder = new TraceBuilder()
  const ask = (object: number): void => { builder.add(object, sizes[object] ?? 0) }
  const scanLength = Math.round(objects * SCANNED)
  const scanned = Array.from({ length: name === 'scan' ? scanLength : 0 }, fresh)
  const drifts = name.startsWith('drift')
  const hasOneHits = name.endsWith('one-hit')
  for (let n = 0; n < requests; n++) {
    if (drifts && random() < objects * DRIFTS / requests) ranks[Math.floor(random() * objects)] = fresh()
    const place = n % Math.ceil(requests / SCANS)
    if (hasOneHits && random() < ONE_HIT_SHARE) ask(fresh())
    else if (place < scanLength * 2 && place % 2 === 1 && name === 'scan') ask(scanned[place >> 1] ?? 0)
    else ask(ranks[rank()] ?? 0)
  }
  return builder.finish(name)
}
