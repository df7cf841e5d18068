import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { RelayError } from '../../base/errors.ts'
import { isCid, isPart, keyId, parseKeyId, type ObjectPart, type ShardKey } from '../../protocol/shard-key.ts'
import { parseRecord, type EntryRecord } from './entry.ts'

/** `cache_manifest.json`: the index as text, to move a warm cache to another machine together with its files. */
export const MANIFEST_VERSION = 1

export interface ManifestEntry extends EntryRecord {
  readonly cid: string
  readonly part: ObjectPart
}

/** The manifest as text, piece by piece, one entry a line. */
export function * manifestText (entries: Iterable<EntryRecord & { readonly id: string }>, takes: (entry: EntryRecord) => boolean = () => true): Generator<string> {
  yield `{"version":${MANIFEST_VERSION},"entries":[`
  let separator = '\n'
  for (const entry of entries) {
    const key = parseKeyId(entry.id)
    if (key === undefined || !takes(entry)) continue
    const { size, sha256, storedAt, lastAccess, hits, generation } = entry
    yield separator + JSON.stringify({ ...key, size, sha256, storedAt, lastAccess, hits, generation })
    separator = ',\n'
  }
  yield '\n]}\n'
}

/**
 * Reads a manifest.
 * @throws RelayError RELAY_ERR_MANIFEST naming the first thing that is wrong
 */
export function parseManifest (text: string): ManifestEntry[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new RelayError('RELAY_ERR_MANIFEST', `the manifest is not JSON: ${error instanceof Error ? error.message.slice(0, 120) : ''}`)
  }
  return checkManifest(value)
}

/** As {@link parseManifest}, for a value that is parsed already. */
export function checkManifest (value: unknown): ManifestEntry[] {
  const { version, entries } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (version !== MANIFEST_VERSION) throw new RelayError('RELAY_ERR_MANIFEST', `version must be ${MANIFEST_VERSION}${typeof version === 'number' ? `, and is ${version}: another version of the relay wrote it` : ''}`)
  if (!Array.isArray(entries)) throw new RelayError('RELAY_ERR_MANIFEST', 'entries must be an array')
  return entries.map((item: unknown, position) => {
    const { cid, part } = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>
    const record = parseRecord(item)
    if (typeof cid !== 'string' || !isCid(cid)) throw new RelayError('RELAY_ERR_MANIFEST', `entries[${position}].cid is not a CID`)
    if (!isPart(part)) throw new RelayError('RELAY_ERR_MANIFEST', `entries[${position}].part is neither 0 to 13 nor "manifest"`)
    if (record === undefined) throw new RelayError('RELAY_ERR_MANIFEST', `entries[${position}] has a missing or malformed size, sha256, storedAt, lastAccess, hits or generation`)
    return { cid, part, ...record }
  })
}

/** A lookup that vouches for files a manifest lists: size and SHA-256 must be as listed. */
export function voucher (entries: readonly ManifestEntry[]): (id: string, generation: string, file: string, size: number) => Promise<EntryRecord | undefined> {
  const byId = new Map(entries.map(entry => [keyId(entry satisfies ShardKey), entry]))
  return async (id, generation, file, size) => {
    const entry = byId.get(id)
    if (entry === undefined || entry.generation !== generation || entry.size !== size) return undefined
    return await sha256OfFile(file) === entry.sha256 ? entry : undefined
  }
}

/** SHA-256 of a file, lower-case hex; undefined when it cannot be read. */
export async function sha256OfFile (file: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  } catch {
    return undefined
  }
  return hash.digest('hex')
}
