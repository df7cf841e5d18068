import type { ManifestShard } from '../../src/protocol/manifest.ts'
import { hexOf } from '../../src/protocol/repr-digest.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import type { ErasureDecoder } from './erasure.ts'
import type { ObjectResult } from './fetch-object.ts'
import type { Manifest } from './manifest.ts'
import type { ClientPlatform } from './platform.ts'
import { abortable, linkedAbort } from './waiting.ts'

/** A shard that has become available; data shard `i` holds the bytes of the video from `i * shardSize`. */
export interface VideoShard {
  readonly index: number
  readonly bytes: Uint8Array
  /** True for a data shard that was computed from the others. */
  readonly repaired: boolean
  /** How it was fetched; undefined when repaired. */
  readonly result: ObjectResult | undefined
}

export interface VideoResult {
  readonly bytes: Uint8Array
  readonly manifest: Manifest
  /** Data shards that were computed from the others. */
  readonly repaired: readonly number[]
  /** What became of each shard that could not be fetched. */
  readonly failures: ReadonlyArray<{ readonly index: number, readonly reason: string }>
  /** SHA-256 of the whole video was right; false only where there is no way to compute one. */
  readonly verified: boolean
}

export interface VideoRequest {
  readonly manifest: Manifest
  readonly signal: AbortSignal
  readonly onShard: ((shard: VideoShard) => void) | undefined
  readonly onFailure?: ((index: number, error: unknown) => void) | undefined
  /** Awaited before each data shard is asked for. */
  readonly whenToFetch?: ((index: number) => Promise<void>) | undefined
  readonly fetch: (shard: ManifestShard, signal: AbortSignal) => Promise<ObjectResult>
  /** Loads the decoder when the first repair needs it. */
  readonly erasure: (() => Promise<ErasureDecoder>) | undefined
  readonly platform: ClientPlatform
}

function padded (bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length === size) return bytes
  const whole = new Uint8Array(size)
  whole.set(bytes)
  return whole
}

type Failures = Array<{ readonly index: number, readonly reason: string }>

/** Names the shards that failed, in the order of their index and not in that in which they happened to fail. */
function tooManyMissing (failures: Failures): ShardClientError {
  const named = failures.toSorted((a, b) => a.index - b.index).map(({ index, reason }) => `${index} (${reason})`)
  return new ShardClientError('missing', `${failures.length} shards are missing: ${named.join(', ')}`)
}

/** Fetches the data shards, and one parity shard for each that fails; any ten will do. */
async function fetchEnough (request: VideoRequest, failures: Failures): Promise<Array<Uint8Array | undefined>> {
  const { manifest, onShard, onFailure } = request
  const shards = new Array<Uint8Array | undefined>(manifest.shards.length).fill(undefined)
  const abort = linkedAbort(request.signal)
  let next = manifest.dataShards
  const get = async (index: number): Promise<void> => {
    const shard = manifest.shards[index]
    if (shard === undefined) throw tooManyMissing(failures)
    let result: ObjectResult
    try {
      result = await request.fetch(shard, abort.signal)
      if (result.bytes.length !== shard.size) throw new ShardClientError('digest', `shard ${index} has not the size of the manifest`)
    } catch (error) {
      abort.signal.throwIfAborted()
      // A closed client will not do better with another shard, nor will a token that the relay refuses.
      if (error instanceof ShardClientError && (error.fault === 'closed' || error.unauthorized)) throw error
      failures.push({ index, reason: reasonText(error) })
      onFailure?.(index, error)
      return await get(next++)
    }
    shards[index] = result.bytes
    onShard?.({ index, bytes: result.bytes, repaired: false, result })
  }
  try {
    await Promise.all(Array.from({ length: manifest.dataShards }, async (_, index) => {
      if (request.whenToFetch !== undefined) await abortable(request.whenToFetch(index), abort.signal)
      await get(index)
    }))
  } catch (error) {
    // The others are of no use any more.
    abort.abort(error)
    throw error
  } finally {
    abort.stop()
  }
  request.signal.throwIfAborted()
  return shards
}

async function checkHash (bytes: Uint8Array, expected: string, what: string, { platform }: VideoRequest): Promise<boolean> {
  if (platform.sha256 === undefined) return false
  if (hexOf(await platform.sha256(bytes)) !== expected) throw new ShardClientError('digest', `${what} does not match its hash in the manifest`)
  return true
}

/** @returns the indices of the data shards it has put in */
async function repair (request: VideoRequest, shards: Array<Uint8Array | undefined>): Promise<number[]> {
  const { manifest } = request
  const { dataShards, parityShards, shardSize } = manifest
  const missing = manifest.shards.slice(0, dataShards).filter(({ index }) => shards[index] === undefined)
  if (missing.length === 0) return []
  if (request.erasure === undefined) throw new ShardClientError('missing', `shards ${missing.map(({ index }) => index).join(', ')} are missing and no erasure decoder was given`)
  const decoder = await request.erasure()
  const data = await decoder.reconstruct(shards.map(shard => shard && padded(shard, shardSize)), dataShards, parityShards)
  request.signal.throwIfAborted()
  for (const { index, size, sha256 } of missing) {
    const bytes = data[index]?.subarray(0, size) ?? new Uint8Array(0)
    await checkHash(bytes, sha256, `repaired shard ${index}`, request)
    shards[index] = bytes
    request.onShard?.({ index, bytes, repaired: true, result: undefined })
  }
  return missing.map(({ index }) => index)
}

/**
 * Puts a video together from its data shards, repairing up to `parityShards` of them.
 * @throws ShardClientError missing, digest, closed, status 401 or 403; or the reason of the signal
 */
export async function assembleVideo (request: VideoRequest): Promise<VideoResult> {
  const { manifest } = request
  const failures: Failures = []
  const shards = await fetchEnough(request, failures)
  const repaired = await repair(request, shards)
  const bytes = new Uint8Array(manifest.size)
  for (let index = 0; index < manifest.dataShards; index++) {
    const start = index * manifest.shardSize
    if (start < manifest.size) bytes.set((shards[index] ?? new Uint8Array(0)).subarray(0, manifest.size - start), start)
  }
  const verified = await checkHash(bytes, manifest.sha256, 'the video', request)
  return { bytes, manifest, repaired, failures, verified }
}
