import { RelayError, type ErrorCode } from '../../base/errors.ts'
import type { ObjectFacts } from '../../protocol/answer.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { Integrity } from '../integrity/integrity.ts'
import type { CachedObject } from '../shard-cache/shard-cache.ts'
import type { RunningFill } from './running-fill.ts'

/** The bytes of an open object as another process reads them. */
export interface SharedFile {
  /** Undefined while memory holds the bytes; of a fill, another one once it is stored. */
  readonly path: string | undefined
  /** SHA-256 of its blocks, by which whoever reads it verifies each; undefined where that is not asked for. */
  readonly blocks?: Uint8Array | undefined
  /** Whether all that can be read is verified; otherwise the last byte of a response waits until the whole object is. */
  readonly byBlocks: boolean
  /** Whether all of the object is in it. */
  readonly whole: boolean
  /** Position up to which the bytes from the start of what was asked for may be read now. */
  readable (): number
  /** Resolves when the byte at `position`, and all before it that were asked for, may be read. @throws RelayError when that will never be */
  more (position: number): Promise<void>
}

export interface OpenOptions {
  /** What of the object is read, as far as its viewer says; all of it without. */
  readonly range?: RangeSpec | undefined
  /** The bytes are read by another process, from a file where there is one. */
  readonly asFile?: boolean
  /** `via` members of the request, without our own; what loops has been refused before. */
  readonly via?: readonly string[]
  /** What goes along with what is fetched because of it. */
  readonly trace?: RequestTrace | undefined
  /** Nothing is fetched for it, and it waits for nothing that is. */
  readonly onlyIfCached?: boolean
  /** What its viewer says that it will ask for next, and may have. */
  readonly next?: readonly ShardKey[] | undefined
}

/** Told of every object that was opened for a viewer of this relay, and not for another relay; must not throw. */
export type OpenedListener = (key: ShardKey, shard: Pick<ObjectFacts, 'size' | 'origin'>, next: readonly ShardKey[]) => void

/** An object opened for one viewer; `release` once. */
export interface OpenShard extends ObjectFacts {
  readonly key: ShardKey
  /** The whole body, when it is in memory. */
  readonly buffer: Buffer | undefined
  /** Set for an object that was opened with `asFile`, or is being filled. */
  readonly file: SharedFile | undefined
  /**
   * Bytes at `position`, at least one and at most `length`; the caller stays within `size`.
   * @param end where the response ends, exclusive, when that is before `size`: its last byte is withheld until the whole object is verified
   * @param into memory that they may be read into, instead of new memory
   * @throws RelayError when neither cache nor super-nodes can deliver them
   */
  read (position: number, length: number, end?: number, into?: Buffer): Promise<Uint8Array>
  /** @param listener told once, when the object must not be served any more; every read throws the error from then on */
  whenRevoked (listener: (error: RelayError) => void): void
  release (): void
}

/** An open object, and where its bytes come from. */
export interface OpenSource extends Omit<OpenShard, 'whenRevoked'> {
  /** Resolves when all of it is there and verified as far as it can be. @throws what reading throws */
  readonly complete: () => Promise<void>
  /** Whether its bytes are not what the manifest says, and others may be had. */
  readonly wrong: () => boolean
  /** Whether it was rebuilt from siblings. */
  readonly repaired: boolean
  /** Resolves when the cache has it, or will not have it; never rejects. */
  readonly settled: Promise<void>
}

/** As far as the heads tell. */
export function sameObject (a: Pick<OpenShard, 'size' | 'sha256'>, b: Pick<OpenShard, 'size' | 'sha256'>): boolean {
  return a.size === b.size && (a.sha256 === undefined || b.sha256 === undefined || a.sha256 === b.sha256)
}

/**
 * What was never compared with a manifest is served as such, and compared as soon as there is one. What is stale no other relay may keep.
 * @param forRelay whether a relay asks for it
 * @param forwarded set when super-nodes were asked first, because its time was over
 */
export function fromCache (key: ShardKey, cached: CachedObject, integrity: Pick<Integrity, 'used'> | undefined, forRelay = false, forwarded?: { readonly failed: ErrorCode | undefined }): OpenSource {
  const verified = integrity === undefined || cached.verified
  if (!verified) integrity.used(key)
  return {
    key,
    size: cached.size,
    sha256: cached.sha256,
    verified,
    complete: async () => {},
    wrong: () => false,
    repaired: false,
    settled: Promise.resolve(),
    origin: { hit: true, tier: cached.tier, storedAt: cached.storedAt, staleSince: cached.staleSince > 0 ? cached.staleSince : undefined, forwarded },
    lifetime: cached.lifetime,
    lasting: !(forRelay && cached.standing !== 'fresh'),
    buffer: cached.buffer,
    file: cached.path === undefined ? undefined : { path: cached.path, blocks: cached.blocks, byBlocks: true, whole: true, readable: () => cached.size, more: async () => {} },
    read: async (position, length, _end, into) => await cached.read(position, length, into),
    release: () => { cached.release() }
  }
}

/** Whether less is asked for than all of an object from its start. */
export function isPart (range: RangeSpec | undefined): range is RangeSpec {
  return range !== undefined && !(range.kind === 'from' && range.first === 0 && range.last === undefined)
}

/** Position of the first byte that is asked for; 0 where that is not to be had. */
export function startOf (range: RangeSpec | undefined, size: number): number {
  if (range === undefined) return 0
  const start = range.kind === 'from' ? range.first : size - range.length
  return start > 0 && start < size ? start : 0
}

/** Where that ends which is asked for, exclusive; the object's end where that is not to be had. */
export function endOf (range: RangeSpec | undefined, size: number): number {
  return range?.kind === 'from' && range.last !== undefined && range.last >= range.first ? Math.min(size, range.last + 1) : size
}

export async function fromFill (key: ShardKey, fill: RunningFill, leave: () => void, collapsed: boolean, range?: RangeSpec): Promise<OpenSource> {
  const head = await fill.head.catch((error: unknown) => {
    leave()
    throw error
  })
  const start = startOf(range, head.size)
  const end = endOf(range, head.size)
  return {
    key,
    size: head.size,
    sha256: fill.sha256 ?? head.sha256,
    verified: head.verified || fill.verified,
    complete: async () => { await fill.complete() },
    wrong: () => fill.wrong,
    repaired: head.repaired,
    settled: fill.finished,
    origin: { hit: false, collapsed, region: head.region, node: head.node, headMs: head.headMs, ageMs: head.ageMs },
    lasting: head.lasting,
    buffer: undefined,
    file: {
      get path () { return fill.path },
      byBlocks: fill.byBlocks,
      get whole () { return fill.whole },
      readable: () => fill.readableInFile(start),
      more: async position => { await fill.moreInFile(position, start, end) }
    },
    read: async (position, length, last, into) => await fill.read(position, length, last, into),
    release: leave
  }
}

/** As {@link fromFill} for a sibling of a shard that is being rebuilt: of two that are, neither waits for the other. */
export async function fromPlainFill (key: ShardKey, fill: RunningFill, leave: () => void): Promise<OpenSource> {
  const turned = fill.repairing.then(() => {
    leave()
    throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'no super-node delivers the sibling, and it is being rebuilt itself')
  })
  return await Promise.race([fromFill(key, fill, leave, true), turned])
}
