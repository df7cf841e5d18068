import { RelayError } from '../base/errors.ts'

/** Shards of one video: 10 data and 4 parity (Reed-Solomon over GF(2^8)). */
export const DATA_SHARDS = 10
export const PARITY_SHARDS = 4
export const TOTAL_SHARDS = DATA_SHARDS + PARITY_SHARDS

/** What of a video is addressed: one of its shards by index, or the manifest that lists their hashes. */
export type ObjectPart = number | 'manifest'

/** Address of one immutable object of a video: same CID and part, same bytes. */
export interface ShardKey {
  /** Opaque and case-sensitive, `[A-Za-z0-9_-]{1,128}`. */
  readonly cid: string
  readonly part: ObjectPart
}

/** A CID, or the start of one. */
export const CID = /^[A-Za-z0-9_-]{1,128}$/
const SHARD_FILE = /^shard_(\d{1,2})\.bin$/
const PREFIX = '/shards/'

export function isCid (value: string): boolean {
  return CID.test(value)
}

export function isPart (value: unknown): value is ObjectPart {
  return value === 'manifest' || (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < TOTAL_SHARDS)
}

/** One string for one object: `<cid>/<part>`. A CID has no slash, so two keys never meet. */
export function keyId (key: ShardKey): string {
  return `${key.cid}/${key.part}`
}

/** Inverse of {@link keyId}; undefined when `id` is not one. */
export function parseKeyId (id: string): ShardKey | undefined {
  const slash = id.indexOf('/')
  const cid = id.slice(0, slash)
  const tail = id.slice(slash + 1)
  const part = tail === 'manifest' ? tail : /^\d{1,2}$/.test(tail) ? Number(tail) : undefined
  if (slash < 0 || !isCid(cid) || !isPart(part) || String(part) !== tail) return undefined
  return { cid, part }
}

/** The CID of a key's string, see {@link keyId}. */
export function cidOfId (id: string): string {
  return id.slice(0, id.indexOf('/'))
}

/** Every key a CID can have, shards first. */
export function keysOfCid (cid: string): ShardKey[] {
  const keys: ShardKey[] = Array.from({ length: TOTAL_SHARDS }, (_, part) => ({ cid, part }))
  keys.push({ cid, part: 'manifest' })
  return keys
}

/** The viewer path of an object, shard number without padding. */
export function shardPath (key: ShardKey): string {
  return key.part === 'manifest' ? `${PREFIX}${key.cid}/manifest.json` : `${PREFIX}${key.cid}/shard_${key.part}.bin`
}

/** The CID a shard path names, also when the rest of the path is malformed; undefined when it names none. */
export function cidOfPath (path: string): string | undefined {
  const cid = path.startsWith(PREFIX) ? path.slice(PREFIX.length).split('/', 1)[0] ?? '' : ''
  return isCid(cid) ? cid : undefined
}

/**
 * Parses the path of a request, byte for byte as it stood in the request line: nothing is decoded, so an encoded slash or
 * dot-segment is an error and not another spelling of a shard.
 * @param path without query string
 * @throws RelayError RELAY_ERR_SHARD_PATH naming the part that is wrong
 */
export function parseShardPath (path: string): ShardKey {
  const reject = (why: string): never => { throw new RelayError('RELAY_ERR_SHARD_PATH', why) }
  if (!path.startsWith(PREFIX)) return reject('a shard path starts with /shards/')
  const segments = path.slice(PREFIX.length).split('/')
  const [cid, file] = segments
  if (cid === undefined || file === undefined || segments.length !== 2) {
    return reject('a shard path has the form /shards/<CID>/shard_<N>.bin')
  }
  if (cid.length > 128) return reject(`the CID has ${cid.length} characters, at most 128 are allowed`)
  if (!isCid(cid)) return reject('the CID is empty or has a character outside A-Z a-z 0-9 _ -')
  if (file === 'manifest.json') return { cid, part: 'manifest' }
  const number = SHARD_FILE.exec(file)?.[1]
  if (number === undefined) return reject('the file is neither shard_<N>.bin with N of one or two digits nor manifest.json')
  const part = Number(number)
  if (part >= TOTAL_SHARDS) return reject(`shard ${part} does not exist, a video has shards 0 to ${TOTAL_SHARDS - 1}`)
  return { cid, part }
}

const OBJECT_PATH = /^\/shards\/[A-Za-z0-9_-]{1,128}\/(?:shard_\d{1,2}\.bin|manifest\.json)$/

/** The key of a path, for whoever does not care what is wrong with one that has none. */
export function keyOfPath (path: string): ShardKey | undefined {
  if (!OBJECT_PATH.test(path)) return undefined
  try {
    return parseShardPath(path)
  } catch {
    return undefined
  }
}
