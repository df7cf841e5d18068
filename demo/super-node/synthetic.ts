import { createCipheriv, createHash, type Cipher } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'
import { STRIPE_BYTES, encodeStripe } from './erasure.ts'
import { BlockHasher, buildManifest, type Manifest } from './manifest.ts'

/** Largest synthetic shard: 32 MiB, three times the largest shard of the network. */
export const SYNTHETIC_MAX_BYTES = 33_554_432

const SYNTHETIC_CID = /^syn-([1-9]\d{0,7})-[A-Za-z0-9_-]+$/
const ZEROS = Buffer.alloc(STRIPE_BYTES)
const ZERO_IV = Buffer.alloc(16)

/** Shard size in bytes of a CID `syn-<shardBytes>-<label>`; undefined when the CID is not a synthetic one. */
export function syntheticSize (cid: string): number | undefined {
  if (cid.length > 128) return undefined
  const size = Number(SYNTHETIC_CID.exec(cid)?.[1] ?? 0)
  return size >= 1 && size <= SYNTHETIC_MAX_BYTES ? size : undefined
}

// A stream cipher as a generator: the same bytes everywhere, and they do not compress or repeat.
function keystream (cid: string, index: number): Cipher {
  return createCipheriv('aes-256-ctr', createHash('sha256').update(`${cid}/${index}`).digest(), ZERO_IV)
}

function dataShard (cid: string, index: number, size: number): Buffer {
  return keystream(cid, index).update(Buffer.alloc(size))
}

/** All 14 shards side by side, one stripe at a time: parity of 32 MiB shards in a few megabytes of memory. */
function * stripesOf (cid: string, size: number): Generator<Uint8Array[]> {
  const streams = Array.from({ length: DATA_SHARDS }, (_, index) => keystream(cid, index))
  for (let start = 0; start < size; start += STRIPE_BYTES) {
    const width = Math.min(STRIPE_BYTES, size - start)
    const stripe = new Uint8Array(width * TOTAL_SHARDS)
    for (const [index, stream] of streams.entries()) stripe.set(stream.update(ZEROS.subarray(0, width)), index * width)
    encodeStripe(stripe)
    yield Array.from({ length: TOTAL_SHARDS }, (_, index) => stripe.subarray(index * width, (index + 1) * width))
  }
}

function * paritySteps (cid: string, size: number): Generator<void, Buffer[]> {
  const parity = Array.from({ length: PARITY_SHARDS }, () => Buffer.alloc(size))
  let at = 0
  for (const columns of stripesOf(cid, size)) {
    for (const [index, shard] of parity.entries()) shard.set(columns[DATA_SHARDS + index] ?? [], at)
    at += columns[0]?.length ?? 0
    yield
  }
  return parity
}

function * manifestSteps (cid: string, size: number): Generator<void, Manifest> {
  const hashes = Array.from({ length: TOTAL_SHARDS }, () => createHash('sha256'))
  const blocks = hashes.map(() => new BlockHasher())
  for (const columns of stripesOf(cid, size)) {
    for (const [index, column] of columns.entries()) {
      hashes[index]?.update(column)
      blocks[index]?.add(column)
    }
    yield
  }
  const whole = createHash('sha256')
  for (let index = 0; index < DATA_SHARDS; index++) {
    whole.update(dataShard(cid, index, size))
    yield
  }
  return buildManifest({
    cid,
    size: size * DATA_SHARDS,
    contentType: 'application/octet-stream',
    sha256: whole.digest(),
    shardSize: size,
    shardHashes: hashes.map(hash => hash.digest()),
    blockHashes: blocks.map(hasher => hasher.end())
  })
}

// Long work gives the event loop a turn after every stripe, so that a node in the same process keeps answering.
async function run<T> (steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    await nextTurn()
  }
}

function sizeOrThrow (cid: string): number {
  const size = syntheticSize(cid)
  if (size === undefined) throw new RangeError(`not a synthetic CID: ${cid}`)
  return size
}

/**
 * The bytes of shard `index` (0..13) of a synthetic CID, computed in one go; for tests to compare with.
 * @throws RangeError for any other CID or index
 */
export function syntheticShard (cid: string, index: number): Buffer {
  const size = sizeOrThrow(cid)
  if (!Number.isInteger(index) || index < 0 || index >= TOTAL_SHARDS) throw new RangeError(`no shard ${index}`)
  if (index < DATA_SHARDS) return dataShard(cid, index, size)
  const steps = paritySteps(cid, size)
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value[index - DATA_SHARDS] ?? Buffer.alloc(0)
}

/** One data shard of a synthetic CID. @throws RangeError for any other CID */
export function syntheticData (cid: string, index: number): Buffer {
  return dataShard(cid, index, sizeOrThrow(cid))
}

/** The four parity shards of a synthetic CID. @throws RangeError for any other CID */
export async function syntheticParity (cid: string): Promise<Buffer[]> {
  return run(paritySteps(cid, sizeOrThrow(cid)))
}

/** The manifest of a synthetic CID. @throws RangeError for any other CID */
export async function syntheticManifest (cid: string): Promise<Manifest> {
  return run(manifestSteps(cid, sizeOrThrow(cid)))
}
