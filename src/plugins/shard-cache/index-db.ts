import { mkdir } from 'node:fs/promises'
import { open, type RootDatabase } from 'lmdb'
import { parseKeyId } from '../../protocol/shard-key.ts'
import type { EntryRecord } from './entry.ts'
import { partNumber } from './part-index.ts'
import { encodeRecord, RECORD_VERSION, RecordBytes } from './record-bytes.ts'
import type { WriteObserver } from './write-points.ts'

/** Persistent index: key id → record, ordered by id. Implementations pass `test/contracts/index-db.ts`. */
export interface IndexDb {
  /**
   * Every record, by id, each only until the next is asked for; those that cannot be decoded are skipped and counted in `corrupt`, those of another
   * version in `foreign`.
   */
  load (): Iterable<[id: string, record: RecordBytes]>
  /** Ids after `after` (exclusive) that start with `prefix`, in order, at most `limit`. */
  ids (query: { prefix: string, after: string, limit: number }): string[]
  /** Applies all changes in one transaction; null deletes. Records are read before this waits for anything. */
  write (changes: ReadonlyMap<string, EntryRecord | null>): Promise<void>
  readonly corrupt: number
  /** Records of any kind. */
  readonly count: number
  /** Records that another version of the relay wrote, for reasons of its own. */
  readonly foreign: number
  /** Whether there is something under this id that is not a record of this version. */
  unreadable (id: string): boolean
  /**
   * Closes it and opens it again: with an empty index, where its file has been removed. The memory in which what was read so far is mapped is given
   * back, which after a load is all of the index. No write is under way.
   */
  reopen (): Promise<void>
  close (): Promise<void>
}

class LmdbIndex implements IndexDb {
  readonly #directory: string
  readonly #observe: WriteObserver
  #db: RootDatabase<Buffer, string>
  #reopening: Promise<void> | undefined
  corrupt = 0
  foreign = 0

  constructor (directory: string, observe: WriteObserver) {
    this.#directory = directory
    this.#observe = observe
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

  load (): Iterable<[string, RecordBytes]> {
    const record = new RecordBytes()
    const isKey = keyCheck()
    const rows = this.#db.getRange({ snapshot: true })[Symbol.iterator]()
    // By hand, since V8 does not optimise a generator that is called once: it takes three times as long.
    const next = (): IteratorResult<[string, RecordBytes], undefined> => {
      for (;;) {
        const row = rows.next()
        if (row.done === true) return { done: true, value: undefined }
        const { key, value } = row.value
        if (record.read(value) && typeof key === 'string' && isKey(key)) return { value: [key, record] }
        if (value.length > 0 && record.version !== RECORD_VERSION) this.foreign++
        else this.corrupt++
      }
    }
    const end = (): IteratorResult<[string, RecordBytes], undefined> => {
      rows.return?.()
      return { done: true, value: undefined }
    }
    return { [Symbol.iterator]: () => ({ next, return: end }) }
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
    return bytes !== undefined && !new RecordBytes(bytes).valid
  }

  async write (changes: ReadonlyMap<string, EntryRecord | null>): Promise<void> {
    // The batch's own promise settles with all of its operations, so theirs say nothing new.
    const ignore = (): void => {}
    const encoded = Array.from(changes, ([id, record]) => ({ id, bytes: record === null ? null : encodeRecord(record) }))
    if (this.#reopening !== undefined) await this.#reopening
    this.#observe('index-write', 'before')
    try {
      await this.#db.batch(() => {
        for (const { id, bytes } of encoded) {
          const change = bytes === null ? this.#db.remove(id) : this.#db.put(id, bytes)
          change.then(ignore, ignore)
        }
      })
    } catch (error) {
      throw await commitError(error)
    } finally {
      this.#observe('index-write', 'after')
    }
  }

  async close (): Promise<void> {
    await this.#reopening
    await this.#db.close()
  }
}

/** Whether ids are those of keys, by {@link parseKeyId}: in order, most have the CID of the one before, which is checked only once. */
function keyCheck (): (id: string) => boolean {
  let cid = '/'
  return id => {
    if (id.startsWith(cid) && partNumber(id, cid.length) !== undefined) return true
    const key = parseKeyId(id)
    if (key === undefined) return false
    cid = `${key.cid}/`
    return true
  }
}

/** LMDB rejects with a generic error first; what the system said comes in a promise on it, unhandled unless somebody waits. */
async function commitError (error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return await Promise.resolve(error.commitError).then(() => error, (cause: unknown) => cause)
}

/** Opens or creates the LMDB environment in `directory`; throws what LMDB throws when it is damaged beyond opening. */
export function openIndexDb (directory: string, observe: WriteObserver = () => {}): IndexDb {
  return new LmdbIndex(directory, observe)
}

/** Values as they are. Those that were read are LMDB's own memory, until the next is: a copy of each costs more than all else of a start. */
const UNCOPIED = { encode: (bytes: Buffer): Buffer => bytes, decode: (bytes: Buffer): Buffer => bytes }

function openLmdb (directory: string): RootDatabase<Buffer, string> {
  // Overlapping sync is off because, after a commit that failed, close() waits for a flush that never comes; event-turn batching,
  // because its promise of a commit is handed to nobody and rejects unhandled.
  const db = open<Buffer, string>({ path: directory, encoder: UNCOPIED, noSubdir: false, overlappingSync: false, eventTurnBatching: false })
  // From its first read on, LMDB tells other processes that this one has it open, which the check of the next start asks for.
  db.get('0')
  return db
}
