/** Work for a cache that is killed in the middle of it: steps as plain data, which a process carries out and another one judges. */
import { open } from 'node:fs/promises'
import { openCache, type OpenCacheOptions, type OpenedCache } from '../../src/plugins/shard-cache/open-cache.ts'
import type { ShardCache } from '../../src/plugins/shard-cache/shard-cache.ts'
import { keyId, type ShardKey } from '../../src/protocol/shard-key.ts'
import { bytesOf, never, sha256 } from './store-bytes.ts'

/** One thing that is done to object number `object`. Versions of an object differ in bytes and size. */
export type Step =
  | { readonly do: 'store', readonly object: number, readonly version: number }
  /** Some blocks, or those that are missing; then it is stored, or kept as a part. */
  | { readonly do: 'blocks', readonly object: number, readonly version: number, readonly blocks?: readonly number[] }
  /** A bit of its file flips, and somebody reads it. */
  | { readonly do: 'rot', readonly object: number }
  | { readonly do: 'read' | 'purge' | 'purge-cid', readonly object: number }
  | { readonly do: 'purge-all' }
  | { readonly do: 'resize', readonly maxBytes: number }

/** Steps of a batch are done at the same time; then the cache is flushed, if it says so. */
export interface Batch {
  readonly steps: readonly Step[]
  readonly flush: boolean
}

/** Bound of a cache that is at work, unless a step has changed it: nothing is evicted. */
export const MAX_BYTES = 400_000
export const BLOCK_BYTES = 512
/** Bodies are appended in pieces. */
const PIECE_BYTES = 2_000

/** Two objects have the same CID. */
export function keyOf (object: number): ShardKey {
  return { cid: `video-${object >> 1}`, part: object & 1 }
}

export function bodyOf (object: number, version: number): Buffer {
  return bytesOf(`${object} ${version}`, 1_200 + (object * 977 + version * 313) % 3_000)
}

/** Opens a cache whose runs are told apart by `run`. */
export async function openWorkCache (path: string, run: number, options: Partial<OpenCacheOptions> = {}): Promise<OpenedCache> {
  let now = 1_700_000_000_000 + run * 1_000_000
  return await openCache({
    path,
    maxBytes: MAX_BYTES,
    ramBytes: 50_000,
    passThroughBytes: 1_000_000,
    clock: { now: () => now++, monotonic: () => 0 },
    random: () => 0.5,
    observer: { diskIo: () => {}, diskError: () => {}, removed: () => {}, stored: () => {}, storeBypassed: () => {} },
    log: () => {},
    ioTimeoutMs: 60_000,
    verify: { mode: 'first' },
    ...options
  })
}

/** Reads an object to its end; undefined when it is a miss. */
export async function readObject (cache: ShardCache, key: ShardKey): Promise<Buffer | undefined> {
  const object = await cache.open(key)
  if (object === undefined) return undefined
  try {
    const pieces: Uint8Array[] = []
    for (let at = 0; at < object.size; at += pieces.at(-1)?.length ?? 0) pieces.push(Uint8Array.from(await object.read(at, object.size - at)))
    return Buffer.concat(pieces)
  } finally {
    object.release()
  }
}

export async function doStep (cache: ShardCache, step: Step): Promise<void> {
  switch (step.do) {
    case 'store': return await store(cache, keyOf(step.object), bodyOf(step.object, step.version))
    case 'blocks': return await storeBlocks(cache, keyOf(step.object), bodyOf(step.object, step.version), step.blocks)
    case 'rot': return await rot(cache, keyOf(step.object))
    case 'read': return void await readObject(cache, keyOf(step.object))
    case 'purge': return void cache.purge(keyOf(step.object))
    case 'purge-cid': return void cache.purgeCid(keyOf(step.object).cid)
    case 'purge-all': return void await cache.purgeMatching(() => true)
    case 'resize': cache.disk.resize(step.maxBytes)
  }
}

/** Which batch begins; what is indexed after a flush, SHA-256 by id. */
export type WorkLine = { readonly begins: number } | { readonly flushed: number, readonly entries: Readonly<Record<string, string>> }

export async function doWork (cache: ShardCache, work: readonly Batch[], say: (line: WorkLine) => void): Promise<void> {
  for (const [at, { steps, flush }] of work.entries()) {
    say({ begins: at })
    await Promise.all(steps.map(async step => { await doStep(cache, step) }))
    if (!flush) continue
    await cache.flush()
    say({ flushed: at, entries: Object.fromEntries(Array.from(cache.disk.firstOut(), ({ id, sha256 }) => [id, sha256])) })
  }
}

async function store (cache: ShardCache, key: ShardKey, body: Buffer): Promise<void> {
  const { spool, commit } = await cache.createSpool(key, body.length, true)
  try {
    for (let at = 0; at < body.length; at += PIECE_BYTES) await spool.append(body.subarray(at, at + PIECE_BYTES), never)
    await commit(sha256(body))
  } finally {
    await spool.close()
  }
}

/** Blocks that an earlier step left are compared with what they must be. */
async function storeBlocks (cache: ShardCache, key: ShardKey, body: Buffer, wanted?: readonly number[]): Promise<void> {
  const digest = sha256(body)
  const { spool, commit, keep } = await cache.createBlockSpool(key, { size: body.length, sha256: digest, blockSize: BLOCK_BYTES }, true)
  const blockAt = (block: number): Buffer => body.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
  try {
    for (let block = 0; block * BLOCK_BYTES < body.length; block++) {
      if (spool.claimed.has(block)) spool.confirm(block, blockAt(block).equals(await spool.readClaimed(block)))
      if (spool.here.has(block) || wanted?.includes(block) === false) continue
      await spool.put(block, [blockAt(block)], await spool.place(never), never)
    }
    if (wanted === undefined) await commit(digest)
    else await keep()
  } finally {
    await spool.close()
  }
}

async function rot (cache: ShardCache, key: ShardKey): Promise<void> {
  const entry = cache.disk.peek(keyId(key))
  // Its bytes were looked at in this run, and are not again.
  if (entry === undefined || entry.intact) return
  const file = await open(cache.disk.fileOf(entry), 'r+').catch(() => undefined)
  if (file === undefined) return
  await file.write(Buffer.from([0xff, 0xfe]), 0, 2, 7)
  await file.close()
  await readObject(cache, key)
}
