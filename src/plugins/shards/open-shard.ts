import { RelayError } from '../../base/errors.ts'
import type { ObjectFacts } from '../../protocol/answer.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { Integrity } from '../integrity/integrity.ts'
import type { CachedObject } from '../shard-cache/shard-cache.ts'
import type { Fill } from './fill.ts'

/** The bytes of an open object as another process reads them. */
export interface SharedFile {
  /** Undefined while memory holds the bytes; of a fill, another one once it is stored. */
  readonly path: string | undefined
  /** SHA-256 of its blocks, by which whoever reads it verifies each; undefined where that is not asked for. */
  readonly blocks?: Uint8Array | undefined
  /** Bytes from the start of the object that may be read now. */
  readable (): number
  /** Resolves when more than `position` bytes may be read. @throws RelayError when that will never be */
  more (position: number): Promise<void>
}

export interface OpenOptions {
  /** The bytes are read by another process, from a file where there is one. */
  readonly asFile?: boolean
  /** `via` members of the request, without our own; what loops has been refused before. */
  readonly via?: readonly string[]
  /** Nothing is fetched for it, and it waits for nothing that is. */
  readonly onlyIfCached?: boolean
}

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
  release (): void
}

/** An open object, and where its bytes come from. */
export interface OpenSource extends OpenShard {
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

/** What was never compared with a manifest is served as such, and compared as soon as there is one. */
export function fromCache (key: ShardKey, cached: CachedObject, integrity: Pick<Integrity, 'used'> | undefined): OpenSource {
  const verified = integrity === undefined || cached.verified
  if (!verified) integrity.used(key)
  return {
    key,
    size: cached.size,
    sha256: cached.sha256,
    verified,
    wrong: () => false,
    repaired: false,
    settled: Promise.resolve(),
    origin: { hit: true, tier: cached.tier, storedAt: cached.storedAt },
    lasting: true,
    buffer: cached.buffer,
    file: cached.path === undefined ? undefined : { path: cached.path, blocks: cached.blocks, readable: () => cached.size, more: async () => {} },
    read: async (position, length, _end, into) => await cached.read(position, length, into),
    release: () => { cached.release() }
  }
}

export async function fromFill (key: ShardKey, fill: Fill, leave: () => void, collapsed: boolean): Promise<OpenSource> {
  const head = await fill.head.catch((error: unknown) => {
    leave()
    throw error
  })
  return {
    key,
    size: head.size,
    sha256: fill.sha256 ?? head.sha256,
    verified: head.verified || fill.verified,
    wrong: () => fill.wrong,
    repaired: head.repaired,
    settled: fill.finished,
    origin: { hit: false, collapsed, region: head.region, headMs: head.headMs },
    lasting: head.lasting,
    buffer: undefined,
    file: {
      get path () { return fill.path },
      readable: () => fill.readableInFile,
      more: async position => { await fill.moreInFile(position) }
    },
    read: async (position, length, end, into) => await fill.read(position, length, end, into),
    release: leave
  }
}

/** As {@link fromFill} for a sibling of a shard that is being rebuilt: of two that are, neither waits for the other. */
export async function fromPlainFill (key: ShardKey, fill: Fill, leave: () => void): Promise<OpenSource> {
  const turned = fill.repairing.then(() => {
    leave()
    throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'no super-node delivers the sibling, and it is being rebuilt itself')
  })
  return await Promise.race([fromFill(key, fill, leave, true), turned])
}
