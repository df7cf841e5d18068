import { setImmediate as nextTurn } from 'node:timers/promises'
import { cidOfId, keysOfCid, keyId } from '../../protocol/shard-key.ts'
import type { RamTier } from '../../storage/ram-tier.ts'
import type { DiskStore } from './disk-store.ts'

/** Entries that a purge looks at, and of them evicts, between two turns of the event loop: some milliseconds. */
const LOOKS_A_TURN = 2_000
const EVICTIONS_A_TURN = 100
/** Changes of the index that wait to be written, from which on a purge waits too: a batch is made in one turn. */
const MAX_INDEX_PENDING = 1_000

/** What is purged. */
export interface PurgeWhat {
  readonly matches: (cid: string) => boolean
  /** All CIDs that match, where they are known: then the cache is not searched. */
  readonly cids?: readonly string[] | undefined
  /** Told at the start, and at the end within the same turn in which objects may be stored again: fills that are under way then must not be. */
  readonly forbid?: () => void
  /** When it was asked for, ms since the epoch: objects are only marked as stale since then. */
  readonly staleSince?: number | undefined
}

/** Evicts what somebody wants gone, some at a time. A purge wins over whatever of it is on its way into the cache: nothing of that is stored. */
export class Purges {
  readonly #disk: DiskStore
  readonly #ram: Pick<RamTier, 'delete'>

  constructor (disk: DiskStore, ram: Pick<RamTier, 'delete'>) {
    this.#disk = disk
    this.#ram = ram
  }

  /** One object, now. @returns whether there was one */
  one (id: string): boolean {
    this.#ram.delete(id, 'purge')
    return this.#disk.purge(id)
  }

  /** One object, which is served until it was fetched again. @returns whether there was one */
  mark (id: string, staleSince: number): boolean {
    const entry = this.#disk.peek(id)
    if (entry === undefined) return false
    // Of several purges the first counts, or they would keep it stale for ever.
    if (entry.staleSince > 0) return true
    entry.staleSince = staleSince
    this.#disk.index.stored(id, entry)
    return true
  }

  /**
   * All objects of some CIDs, and what is kept of those that came in part. The event loop gets its turns meanwhile.
   * @returns how many objects went, or are stale; the index on disk knows it too then, unless its disk does not answer
   */
  async purge ({ matches, cids, forbid = () => {}, staleSince }: PurgeWhat): Promise<number> {
    const end = this.#disk.guard.begin(matches)
    let purged = 0
    try {
      forbid()
      for (const ids of cids === undefined ? this.#found(matches) : groups(cids)) {
        for (let at = 0; at < ids.length; at += EVICTIONS_A_TURN) {
          for (const id of ids.slice(at, at + EVICTIONS_A_TURN)) if (staleSince === undefined ? this.one(id) : this.mark(id, staleSince)) purged++
          if (this.#disk.index.pending > MAX_INDEX_PENDING) await this.#disk.index.flush()
          await nextTurn()
        }
        if (ids.length === 0) await nextTurn()
      }
    } finally {
      forbid()
      this.#disk.partials.drop(id => matches(cidOfId(id)))
      end()
    }
    await this.#disk.index.flush()
    return purged
  }

  * #found (matches: (cid: string) => boolean): Generator<readonly string[]> {
    let next: number | undefined = 1
    while (next !== undefined) {
      const found: ReturnType<DiskStore['table']['matching']> = this.#disk.table.matching(next, LOOKS_A_TURN, matches)
      next = found.next
      yield found.ids
    }
  }
}

function * groups (cids: readonly string[]): Generator<readonly string[]> {
  for (const cid of cids) yield keysOfCid(cid).map(keyId)
}
