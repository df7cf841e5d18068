/** What goes wrong during a soak, and when, decided from a seed before it begins; pure. */
import { seededRandom, type Faults } from '../../demo/super-node/faults.ts'

export type Disturbance =
  | { readonly kind: 'kill-gateway' }
  | { readonly kind: 'kill-node', readonly node: number }
  | { readonly kind: 'fault-node', readonly node: number, readonly faults: Faults }
  | { readonly kind: 'purge-video', readonly video: number }
  | { readonly kind: 'purge-all' }
  | { readonly kind: 'resize', readonly share: number }

export interface Planned {
  /** From the start of the traffic, milliseconds. */
  readonly atMs: number
  readonly disturbance: Disturbance
}

export interface StormOptions {
  readonly seconds: number
  readonly nodes: number
  readonly videos: number
  readonly seed: number
}

/** Every way in which a super-node fails that a relay has to survive. */
const FAULTS: readonly Faults[] = [
  { latencyMs: 200, jitterMs: 300 },
  { failRate: 0.3 },
  { hangRate: 0.2 },
  { corrupt: true },
  { truncateAtBytes: 30_000 },
  { stallAtBytes: 20_000 },
  { bytesPerSecond: 200_000 },
  { notFound: true }
]

const KINDS = ['kill-gateway', 'kill-node', 'fault-node', 'purge-video', 'purge-all', 'resize'] as const

/** Mean pause between two, seconds; a storm too short for one of each moves them closer together. */
const PAUSE_SECONDS = 6
const MIN_PAUSE_SECONDS = 1.2

function shuffled<T> (items: readonly T[], random: () => number): T[] {
  return items.map(item => ({ item, at: random() })).sort((one, other) => one.at - other.at).map(({ item }) => item)
}

/** The disturbances of a storm, in order: round after round of every kind, each round in another order. */
export function planStorm ({ seconds, nodes, videos, seed }: StormOptions): Planned[] {
  const random = seededRandom(seed)
  const pause = Math.max(MIN_PAUSE_SECONDS, Math.min(PAUSE_SECONDS, seconds / (KINDS.length + 1)))
  const below = (limit: number): number => Math.floor(random() * limit)
  const drawn = (kind: typeof KINDS[number]): Disturbance => {
    switch (kind) {
      case 'kill-gateway': case 'purge-all': return { kind }
      case 'kill-node': return { kind, node: below(nodes) }
      case 'fault-node': return { kind, node: below(nodes), faults: FAULTS[below(FAULTS.length)] ?? {} }
      case 'purge-video': return { kind, video: below(videos) }
      case 'resize': return { kind, share: 0.3 + 0.5 * random() }
    }
  }
  const planned: Planned[] = []
  let round: Array<typeof KINDS[number]> = []
  for (let at = pause; at < seconds; at += pause * (0.7 + 0.6 * random())) {
    if (round.length === 0) round = shuffled(KINDS, random)
    const kind = round.pop()
    if (kind !== undefined) planned.push({ atMs: at * 1_000, disturbance: drawn(kind) })
  }
  return planned
}
