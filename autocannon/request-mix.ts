/** What a scenario asks for, as data: it goes to load processes over IPC, and every process draws the same requests from the same seed. */
import { seededRandom } from '../demo/super-node/faults.ts'
import { shardPath } from '../src/protocol/shard-key.ts'
import { Zipf } from './zipf.ts'

export interface RequestShape {
  /** Path and query. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Synthetic objects that nobody has asked for before. */
export interface FreshObjects {
  readonly bytes: number
  /** Part of the CID; another one in every run against the same cache. */
  readonly label: string
}

/** `rotate`: the list from top to bottom, again and again. `fresh`: misses only. `zipf`: the list by popularity, first is first. */
export type Mix =
  | { readonly kind: 'rotate', readonly requests: readonly RequestShape[] }
  | { readonly kind: 'fresh', readonly fresh: FreshObjects }
  | { readonly kind: 'zipf', readonly requests: readonly RequestShape[], readonly exponent: number, readonly freshShare: number, readonly fresh: FreshObjects }

export function syntheticCid (bytes: number, label: string): string {
  return `syn-${bytes}-${label}`
}

/** Shards 0 to 9 of as many synthetic videos as are needed; the super-nodes compute parity far more slowly than data. */
export function syntheticRequests (count: number, bytes: number, label: string): RequestShape[] {
  return Array.from({ length: count }, (_, index) => ({ path: shardPath({ cid: syntheticCid(bytes, `${label}${Math.floor(index / 10)}`), part: index % 10 }) }))
}

/**
 * Draws the requests of one slot (a connection, a session); slots begin at different places and never share a fresh object.
 * @throws RangeError for an empty list or impossible shares
 */
export function requestSource (mix: Mix, seed: number, slot: number): () => RequestShape {
  if (mix.kind !== 'fresh' && mix.requests.length === 0) throw new RangeError('a mix has at least one request')
  const first = mix.kind === 'fresh' ? undefined : mix.requests[0]
  let drawn = 0
  const fresh = ({ bytes, label }: FreshObjects): RequestShape => ({ path: shardPath({ cid: syntheticCid(bytes, `${label}-${seed}-${slot}-${drawn++}`), part: 0 }) })
  switch (mix.kind) {
    case 'rotate': return () => mix.requests[(slot + drawn++) % mix.requests.length] ?? first ?? { path: '/' }
    case 'fresh': return () => fresh(mix.fresh)
    case 'zipf': {
      if (!(mix.freshShare >= 0 && mix.freshShare <= 1)) throw new RangeError(`a share is 0 to 1, not ${mix.freshShare}`)
      const random = seededRandom(seed + Math.imul(slot + 1, 0x9e3779b1))
      const zipf = new Zipf(mix.requests.length, mix.exponent)
      return () => random() < mix.freshShare ? fresh(mix.fresh) : mix.requests[zipf.rank(random())] ?? first ?? { path: '/' }
    }
  }
}
