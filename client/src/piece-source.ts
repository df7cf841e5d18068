import type { FetchShardOptions, ShardResult } from './client-options.ts'
import type { ErasureDecoder } from './erasure.ts'
import type { Manifest } from './manifest.ts'
import type { ClientPlatform } from './platform.ts'
import type { PrioritySlots } from './priority-slots.ts'

/** What reading files needs of the client below. */
export interface PieceSource {
  /** @throws ShardClientError; or the reason of the signal */
  fetchShard (cid: string, index: number, options: FetchShardOptions): Promise<ShardResult>
  /** @throws ShardClientError missing */
  decoder (): Promise<ErasureDecoder>
}

/** What the reads of one client share. */
export interface ReadContext {
  readonly source: PieceSource
  readonly platform: ClientPlatform
  /** Compare digests. */
  readonly verify: boolean
  /** Repairs at the same time, each of which holds ten times what it repairs. */
  readonly repairs: PrioritySlots
}

/** Bytes of a shard that were fetched or repaired, at least those that were asked for. */
export interface PieceBytes {
  readonly bytes: Uint8Array
  /** Byte of the shard that they begin with. */
  readonly start: number
  /** Every byte was compared with a hash of the manifest. */
  readonly verified: boolean
  readonly repaired: boolean
  /** The answers of the relay that it is made of. */
  readonly answers: ReadonlyArray<Pick<ShardResult, 'transport' | 'cache' | 'attempts' | 'timings'> & { readonly bytes: number }>
}

/** How what is fetched is verified: blocks by their hashes, whole shards by theirs, or not. */
export type VerifyMode = 'blocks' | 'shards' | 'none'

export function verifyMode ({ blocks }: Manifest, { verify, platform }: Pick<ReadContext, 'verify' | 'platform'>): VerifyMode {
  if (!verify || platform.sha256 === undefined) return 'none'
  return blocks === undefined ? 'shards' : 'blocks'
}
