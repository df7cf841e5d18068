import { createHash } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import { isCid, parseKeyId, type ShardKey } from '../../protocol/shard-key.ts'

/** What is remembered about a cached object across restarts. */
export interface EntryRecord {
  /** Bytes of the body. */
  readonly size: number
  /** SHA-256 of the body, lower-case hex. */
  readonly sha256: string
  /** Wall clock, ms since the epoch. */
  readonly storedAt: number
  lastAccess: number
  hits: number
  /** Unique per store of a key: a file name is never used twice, so no reader of an old file meets a new one. */
  readonly generation: string
  /** Whether it was compared with a believed manifest; records of versions that knew none do not say. */
  readonly verified?: boolean
  /** When a soft purge asked for it to be fetched again, ms since the epoch in whole seconds; absent or 0 when none did. */
  readonly staleSince?: number
}

const GENERATION = /^[0-9a-z]{1,24}$/
const FILE_NAME = /^([A-Za-z0-9_-]{1,128})\.(\d{2}|manifest)\.([0-9a-z]{1,24})$/
const SHA256_HEX = /^[0-9a-f]{64}$/
/** Times from here on (the year 2248) cannot be told apart in steps of 1 µs, on which the order of recency rests. */
export const TIME_END = 2 ** 43

/**
 * Path of an object's file below the shard directory: `ab/cd/<cid>.<part>.<generation>`. The two levels come from SHA-256 of the
 * key, so that they fill evenly whatever CIDs look like and CIDs that differ in case only stay apart on any file system.
 */
export function relativeFile (id: string, generation: string): string {
  const key = parseKeyId(id)
  if (key === undefined) throw new RelayError('RELAY_ERR_INTERNAL', `not a key: ${id}`)
  const hash = createHash('sha256').update(id).digest('hex')
  const part = key.part === 'manifest' ? 'manifest' : String(key.part).padStart(2, '0')
  return `${hash.slice(0, 2)}/${hash.slice(2, 4)}/${key.cid}.${part}.${generation}`
}

/** Inverse of {@link relativeFile} for a bare file name; undefined for a file that is not ours. */
export function parseFileName (name: string): { key: ShardKey, generation: string } | undefined {
  const match = FILE_NAME.exec(name)
  const [, cid, part, generation] = match ?? []
  if (cid === undefined || part === undefined || generation === undefined || !isCid(cid)) return undefined
  const key = parseKeyId(`${cid}/${part === 'manifest' ? part : Number(part)}`)
  return key === undefined ? undefined : { key, generation }
}

/** Checks a record that was read from disk or sent by an operator; undefined when any field is wrong. */
export function parseRecord (value: unknown): EntryRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { size, sha256, storedAt, lastAccess, hits, generation } = value as Record<string, unknown>
  const count = (n: unknown): n is number => typeof n === 'number' && Number.isFinite(n) && n >= 0
  const time = (n: unknown): n is number => count(n) && n < TIME_END
  if (!count(size) || !Number.isSafeInteger(size) || !time(storedAt) || !time(lastAccess) || !count(hits)) return undefined
  if (typeof sha256 !== 'string' || !SHA256_HEX.test(sha256)) return undefined
  if (typeof generation !== 'string' || !GENERATION.test(generation)) return undefined
  return { size, sha256, storedAt, lastAccess, hits, generation }
}
