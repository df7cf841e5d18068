import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { LRUCache } from 'lru-cache'
import { DATA_SHARDS, type ObjectPart, type ShardKey, keyId } from '../../src/protocol/shard-key.ts'
import { encodeShards } from './erasure.ts'
import { blockHashesOf, buildManifest, manifestBytes, mediaCid } from './manifest.ts'
import { syntheticData, syntheticManifest, syntheticParity, syntheticSize } from './synthetic.ts'

/** A servable object with its SHA-256. */
export interface StoredObject {
  readonly bytes: Buffer
  readonly sha256: Buffer
  readonly contentType: string
}

/** A media file that a super-node publishes. */
export interface CatalogItem {
  readonly cid: string
  readonly contentType: string
  /** Bytes of the media. */
  readonly size: number
  /** ISO 8601: when the file was last written. */
  readonly publishedAt: string
  readonly tags: readonly string[]
}

/** Bytes of generated shards kept for repeat requests. */
const GENERATED_CACHE_BYTES = 67_108_864

const TYPES: Readonly<Record<string, string>> = { '.webm': 'video/webm', '.mp4': 'video/mp4', '.ogg': 'video/ogg', '.mp3': 'audio/mpeg', '.wav': 'audio/wav' }
const WEBM_CODECS: ReadonlyArray<readonly [id: string, codec: string]> = [
  ['V_VP9', 'vp9'], ['V_VP8', 'vp8'], ['A_OPUS', 'opus'], ['A_VORBIS', 'vorbis']
]

/** MIME type of a media file; for WebM with the codecs its track headers name, because MSE takes no type without them. */
export function contentTypeOf (path: string, media: Buffer): string {
  const type = TYPES[extname(path).toLowerCase()] ?? 'application/octet-stream'
  if (type !== 'video/webm') return type
  const head = media.subarray(0, 4096)
  const codecs = WEBM_CODECS.filter(([id]) => head.includes(id)).map(([, codec]) => codec)
  return codecs.length === 0 ? type : `${type}; codecs="${codecs.join(',')}"`
}

function stored (bytes: Buffer, contentType = 'application/octet-stream'): StoredObject {
  return { bytes, sha256: createHash('sha256').update(bytes).digest(), contentType }
}

interface Video {
  readonly item: CatalogItem
  readonly objects: ReadonlyMap<ObjectPart, StoredObject>
}

async function loadVideo (path: string): Promise<Video> {
  const media = await readFile(path)
  if (media.length === 0) throw new RangeError(`${path} is empty`)
  const sha256 = createHash('sha256').update(media).digest()
  const cid = mediaCid(sha256)
  const contentType = contentTypeOf(path, media)
  const shards = encodeShards(media).map(bytes => stored(bytes))
  const shardSize = Math.ceil(media.length / DATA_SHARDS)
  const manifest = buildManifest({ cid, size: media.length, contentType, sha256, shardSize, shardHashes: shards.map(shard => shard.sha256), blockHashes: shards.map(shard => blockHashesOf(shard.bytes)) })
  const objects = new Map<ObjectPart, StoredObject>(shards.map((shard, index) => [index, shard]))
  objects.set('manifest', stored(manifestBytes(manifest), 'application/json'))
  const publishedAt = (await stat(path)).mtime.toISOString()
  return { item: { cid, contentType, size: media.length, publishedAt, tags: ['demo'] }, objects }
}

/** Everything a super-node can serve: the media files it was given, and any synthetic CID without registration. */
export class Catalog {
  /** Newest first. */
  readonly items: readonly CatalogItem[]
  readonly #videos: ReadonlyMap<string, Video>
  readonly #generated = new LRUCache<string, StoredObject>({ maxSize: GENERATED_CACHE_BYTES, sizeCalculation: object => object.bytes.length })
  readonly #running = new Map<string, Promise<unknown>>()

  private constructor (videos: readonly Video[]) {
    this.#videos = new Map(videos.map(video => [video.item.cid, video]))
    this.items = [...this.#videos.values()].map(video => video.item).sort((a, b) => b.publishedAt.localeCompare(a.publishedAt))
  }

  /** Reads and encodes the files. @throws the file system's error, or RangeError for an empty file */
  static async load (media: readonly string[]): Promise<Catalog> {
    return new Catalog(await Promise.all(media.map(loadVideo)))
  }

  /** The object at `key`, or undefined when this node does not have it. */
  async find (key: ShardKey): Promise<StoredObject | undefined> {
    const video = this.#videos.get(key.cid)
    if (video !== undefined) return video.objects.get(key.part)
    if (syntheticSize(key.cid) === undefined) return undefined
    return this.#generated.get(keyId(key)) ?? await this.#generate(key)
  }

  async #generate ({ cid, part }: ShardKey): Promise<StoredObject> {
    if (part === 'manifest') {
      return this.#once(`${cid}/manifest`, async () => this.#keep(cid, part, stored(manifestBytes(await syntheticManifest(cid)), 'application/json')))
    }
    if (part < DATA_SHARDS) return this.#keep(cid, part, stored(syntheticData(cid, part)))
    const parity = await this.#once(`${cid}/parity`, async () => (await syntheticParity(cid)).map((bytes, index) => this.#keep(cid, DATA_SHARDS + index, stored(bytes))))
    return parity[part - DATA_SHARDS] ?? stored(Buffer.alloc(0))
  }

  #keep (cid: string, part: ObjectPart, object: StoredObject): StoredObject {
    this.#generated.set(keyId({ cid, part }), object)
    return object
  }

  // Parallel requests for one parity shard or manifest share the work.
  async #once<T> (id: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(id) as Promise<T> | undefined
    if (running !== undefined) return running
    const started = work().finally(() => this.#running.delete(id))
    this.#running.set(id, started)
    return started
  }
}
