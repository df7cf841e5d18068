import { createHash } from 'node:crypto'
import { encodeShards } from '../../demo/super-node/erasure.ts'
import { ShardClientError } from '../../client/src/client-error.ts'
import type { FetchShardOptions, ShardResult } from '../../client/src/client-options.ts'
import { nodeErasure } from '../../client/src/node.ts'
import { IcnFile, type FileContext } from '../../client/src/icn-file.ts'
import { parseManifest } from '../../client/src/manifest.ts'
import type { PieceSource } from '../../client/src/piece-source.ts'
import { PieceStore } from '../../client/src/piece-store.ts'
import { systemPlatform } from '../../client/src/platform.ts'
import { PrioritySlots } from '../../client/src/priority-slots.ts'
import { blockRange } from '../../client/src/block-range.ts'
import { onAbort } from '../../client/src/waiting.ts'
import type { ReadStatistics } from '../../client/src/read-statistics.ts'

export const FILE_CID = 'QmFile'

/** Bytes that differ everywhere, so that those of another place are noticed. */
export function fileBytes (size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0, value = 1; at < size; at++) {
    value = (value * 1_103_515_245 + 12_345) & 0x7fffffff
    bytes[at] = value >> 16
  }
  return bytes
}

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

/** The manifest of these shards as a super-node serves it. */
export function fileManifestBytes (file: Uint8Array, shards: readonly Uint8Array[], blockSize?: number): Buffer {
  const shardSize = shards[0]?.length ?? 0
  const blocksOf = (shard: Uint8Array, size: number): string => Buffer.concat(Array.from({ length: Math.ceil(shard.length / size) }, (_, block) => sha256(shard.subarray(block * size, (block + 1) * size)))).toString('base64')
  return Buffer.from(JSON.stringify({
    version: 1,
    cid: FILE_CID,
    size: file.length,
    contentType: 'video/mp4',
    dataShards: 10,
    parityShards: 4,
    shardSize,
    sha256: sha256(file).toString('hex'),
    blockSize,
    shards: shards.map((shard, index) => ({ index, size: shard.length, sha256: sha256(shard).toString('hex'), ...blockSize !== undefined && { blocks: blocksOf(shard, blockSize) } }))
  }))
}

export type ShardFault = 'missing' | 'wrong' | 'gone-later'

/** Shards of one file without relay and network. */
export class FakeShards implements PieceSource {
  readonly shards: Uint8Array[]
  readonly faults = new Map<number, ShardFault>()
  readonly asked: Array<{ readonly index: number, readonly start: number, readonly end: number }> = []
  readonly platform = systemPlatform()
  /** Awaited before each answer. */
  pause: () => Promise<void> = async () => {}
  underWay = 0
  /** Most bytes under way at the same time. */
  mostBytes = 0
  #bytes = 0

  constructor (shards: readonly Uint8Array[]) {
    this.shards = [...shards]
  }

  decoder = nodeErasure

  async fetchShard (_cid: string, index: number, { range, manifest, signal, verify = true }: FetchShardOptions): Promise<ShardResult> {
    signal?.throwIfAborted()
    const shard = this.shards[index] ?? Buffer.alloc(0)
    const { start, end = shard.length } = range ?? { start: 0 }
    this.asked.push({ index, start, end })
    this.underWay++
    this.#bytes += end - start
    this.mostBytes = Math.max(this.mostBytes, this.#bytes)
    try {
      await new Promise<void>((resolve, reject) => {
        const unfollow = signal === undefined ? undefined : onAbort(signal, () => { reject(signal.reason as Error) })
        this.pause().then(resolve, reject).finally(() => unfollow?.())
      })
      const fault = this.faults.get(index)
      if (fault === 'missing' || (fault === 'gone-later' && this.asked.filter(asked => asked.index === index).length > 1)) throw new ShardClientError('status', 'no super-node has it', { status: 404 })
      // As ShardClient would: what is compared with a hash is, and what is not is passed on.
      const bytes = Uint8Array.from(shard.subarray(start, end))
      if (fault === 'wrong') bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
      const isWhole = range === undefined
      const blocks = range !== undefined && manifest !== undefined && verify ? blockRange(manifest, index, range, this.platform) : undefined
      if (blocks !== undefined && (blocks.fetched.start !== start || blocks.fetched.end !== end)) throw new Error('not widened to whole blocks')
      await blocks?.verify(bytes)
      if (isWhole && verify && sha256(bytes).toString('hex') !== manifest?.shards[index]?.sha256) throw new ShardClientError('digest', 'the object has another hash')
      return { bytes, status: isWhole ? 200 : 206, etag: undefined, cacheStatus: undefined, cache: 'hit', verified: verify && (isWhole || blocks !== undefined), transport: 'webtransport', attempts: 1, timings: { queuedMs: 1, firstByteMs: 1, totalMs: 1 } }
    } finally {
      this.underWay--
      this.#bytes -= end - start
    }
  }
}

export interface FileRig {
  readonly file: IcnFile
  readonly source: FakeShards
  readonly store: PieceStore
  readonly ended: ReadStatistics[]
  readonly life: AbortController
}

/** A file of these bytes. */
export function fileRig (bytes: Uint8Array, { blockSize, shards = encodeShards(bytes), ...options }: Partial<FileContext> & { readonly blockSize?: number, readonly shards?: readonly Uint8Array[] } = {}): FileRig {
  const source = new FakeShards(shards)
  const life = new AbortController()
  const ended: ReadStatistics[] = []
  const store = new PieceStore(options.cacheBytes ?? 16_777_216)
  const file = new IcnFile(parseManifest(fileManifestBytes(bytes, shards, blockSize), FILE_CID), {
    source,
    platform: source.platform,
    verify: true,
    repairs: new PrioritySlots(2, 0),
    store,
    windowBytes: 8_388_608,
    cacheBytes: 16_777_216,
    maxBytes: 2 ** 30,
    life: life.signal,
    bandwidth: () => undefined,
    ended: statistics => { ended.push(statistics) },
    ...options
  })
  return { file, source, store, ended, life }
}

/** All that a stream gives. */
export async function streamBytes (stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}
