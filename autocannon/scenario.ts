import { createHash } from 'node:crypto'
import { syntheticShard } from '../demo/super-node/server.ts'
import type { Faults } from '../demo/super-node/faults.ts'
import { parseShardPath } from '../src/protocol/shard-key.ts'
import { MB } from './result.ts'
import type { Mix } from './request-mix.ts'

export type RelaySettings = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** One kind of load on an HTTP surface, as data; `runner.ts` carries all of them out. */
export interface Scenario {
  readonly name: string
  /** One line for `npm run load -- list`. */
  readonly title: string
  readonly surface: 'viewer' | 'admin'
  readonly mix: Mix
  /** What every answer has to be; `bytes` is the length of its body. */
  readonly expect: { readonly status: number, readonly bytes?: number }
  /** Whether what the mix lists is fetched before, so that it is in the cache. */
  readonly warm: boolean
  /** Closed loop: each connection asks again when it has its answer. */
  readonly connections: number
  /** Configuration beside that of every load test (`rig.ts`). */
  readonly relay?: RelaySettings
  /** Of every super-node. */
  readonly faults?: Faults
}

/** Shards of the load tests are as large as the network's smallest, 1 MB, unless a scenario is about another size. */
export const SHARD_BYTES = MB

/** The true bytes of a synthetic object; undefined for paths that are none. */
export function trueBytes (path: string): Buffer | undefined {
  if (!path.startsWith('/shards/')) return undefined
  const { cid, part } = parseShardPath(path)
  return part === 'manifest' ? undefined : syntheticShard(cid, part)
}

/** The entity tag that the relay gives an object. */
export function entityTag (path: string): string {
  return `"sha256-${createHash('sha256').update(trueBytes(path) ?? Buffer.alloc(0)).digest('hex')}"`
}
