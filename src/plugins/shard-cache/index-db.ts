import { mkdir } from 'node:fs/promises'
import { open, type RootDatabase } from 'lmdb'
import { parseKeyId } from '../../protocol/shard-key.ts'
import { parseRecord, withinTime, type EntryRecord } from './entry.ts'

/** Persistent index: key id → record, ordered by id. Implementations pass `test/contracts/index-db.ts`. */
export interface IndexDb {
  /** Every record, by id; those that cannot be decoded are skipped and counted in `corrupt`, those of another version in `foreign`. */
  load (): Iterable<[id: string, record: EntryRecord]>
  /** Ids after `after` (exclusive) that start with `prefix`, in order, at most `limit`. */
  ids (query: { prefix: string, after: string, limit: number }): string[]
  /** Applies all changes in one transaction; null deletes. */
  write (changes: ReadonlyMap<string, EntryRecord | null>): Promise<void>
  readonly corrupt: number
  /** Records of any kind. */
  readonly count: number
  /** Records that another version of the relay wrote, for reasons of its own. */
  readonly foreign: number
  /** Whether there is something under this id that is not a record of this version. */
  unreadable (id: string): boolean
  /** Begins anew with an empty index in the same place, where its file has been removed. */
  reopen (): Promise<void>
  close (): Promise<void>
}

/** First byte of every record. */
export const RECORD_VERSION = 1
/** version u8, size f64, storedAt f64, lastAccess f64, hits f64, SHA-256 32 bytes; the generation follows to the end. */
const FIXED_BYTES = 1 + 8 * 4 + 32
/** Added to the hits of what was verified: an earlier version, after a rollback, reads it as hits. */
const VERIFIED = 0.5

export function encodeRecord (record: EntryRecord): Buffer {
  const out = Buffer.allocUnsafe(FIXED_BYTES + record.generation.length)
  out[0] = RECORD_VERSION
  out.writeDoubleBE(record.size, 1)
  out.writeDoubleBE(record.storedAt, 9)
  out.writeDoubleBE(record.lastAccess, 17)
  out.writeDoubleBE(record.verified === true ? Math.floor(record.hits) + VERIFIED : Math.floor(record.hits), 25)
  out.write(record.sha256, 33, 'hex')
  out.write(record.generation, FIXED_BYTES, 'latin1')
  return out
}

/** Whether another version of the relay has written it. */
function isForeign (bytes: Buffer): boolean {
  return bytes.length > 0 && bytes[0] !== RECORD_VERSION
}

/** Undefined when the bytes are not a record: a damaged index costs entries, never the process. */
export function decodeRecord (bytes: Buffer): EntryRecord | undefined {
  if (bytes.length <= FIXED_BYTES || bytes[0] !== RECORD_VERSION) return undefined
  const hits = bytes.readDoubleBE(25)
  const record = parseRecord({
    size: bytes.readDoubleBE(1),
    storedAt: withinTime(bytes.readDoubleBE(9)),
    lastAccess: withinTime(bytes.readDoubleBE(17)),
    hits: Math.floor(hits),
    sha256: bytes.toString('hex', 33, FIXED_BYTES),
    generation: bytes.toString('latin1', FIXED_BYTES)
  })
  return record === undefined || hits % 1 !== VERIFIED ? record : { ...record, verified: true }
}

class LmdbIndex implements IndexDb {
  readonly #directory: string
  #db: RootDatabase<Buffer, string>
  #reopening: Promise<void> | undefined
  corrupt = 0
  foreign = 0

  constructor (directory: string) {
    this.#directory = directory
    this.#db = openLmdb(directory)
  }

  async reopen (): Promise<void> {
    this.#reopening ??= (async () => {
      await this.#db.close()
      await mkdir(this.#directory, { recursive: true })
      this.#db = openLmdb(this.#directory)
    })().finally(() => { this.#reopening = undefined })
    await this.#reopening
  }

  * load (): Generator<[string, EntryRecord]> {
    for (const { key, value } of this.#db.getRange({ snapshot: true })) {
      const record = typeof key === 'string' && parseKeyId(key) !== undefined ? decodeRecord(value) : undefined
      if (record !== undefined) yield [key, record]
      else if (isForeign(value)) this.foreign++
      else this.corrupt++
    }
  }

  ids ({ prefix, after, limit }: { prefix: string, after: string, limit: number }): string[] {
    const start = after > prefix ? after : prefix
    const found: string[] = []
    for (const key of this.#db.getKeys({ start })) {
      // A damaged key may decode to anything.
      if (typeof key !== 'string' || !key.startsWith(prefix) || found.length >= limit) break
      if (key > after) found.push(key)
    }
    return found
  }

  get count (): number {
    const { entryCount } = this.#db.getStats() as { entryCount: number }
    return entryCount
  }

  unreadable (id: string): boolean {
    const bytes = this.#db.get(id)
    return bytes !== undefined && decodeRecord(bytes) === undefined
  }

  async write (changes: ReadonlyMap<string, EntryRecord | null>): Promise<void> {
    // The batch's own promise settles with all of its operations, so theirs say nothing new.
    const ignore = (): void => {}
    if (this.#reopening !== undefined) await this.#reopening
    try {
      await this.#db.batch(() => {
        for (const [id, record] of changes) {
          const change = record === null ? this.#db.remove(id) : this.#db.put(id, encodeRecord(record))
          change.then(ignore, ignore)
        }
      })
    } catch (error) {
      throw await commitError(error)
    }
  }

  async close (): Promise<void> {
    await this.#reopening
    await this.#db.close()
  }
}

/** LMDB rejects with a generic error first; what the system said comes in a promise on it, unhandled unless somebody waits. */
async function commitError (error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return await Promise.resolve(error.commitError).then(() => error, (cause: unknown) => cause)
}

/** Opens or creates the LMDB environment in `directory`; throws what LMDB throws when it is damaged beyond opening. */
export function openIndexDb (directory: string): IndexDb {
  return new LmdbIndex(directory)
}

function openLmdb (directory: string): RootDatabase<Buffer, string> {
  // Overlapping sync is off because, after a commit that failed, close() waits for a flush that never comes; event-turn batching,
  // because its promise of a commit is handed to nobody and rejects unhandled.
  const db = open<Buffer, string>({ path: directory, encoding: 'binary', noSubdir: false, overlappingSync: false, eventTurnBatching: false })
  // From its first read on, LMDB tells other processes that this one has it open, which the check of the next start asks for.
  db.get('0')
  return db
}
