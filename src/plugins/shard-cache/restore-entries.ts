import { setImmediate as nextTurn } from 'node:timers/promises'
import { sortByTime } from '../../storage/sort-by-time.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { EntryTable } from './entry-table.ts'
import type { IndexDb } from './index-db.ts'

/** Entries between two turns of the event loop: some milliseconds. */
const ENTRIES_A_TURN = 5_000
/** Share of the work that reading is, the rest is putting them in order. */
const READING = 0.8

export interface EntryRestore {
  /** Told what share is done, 0 to 1, between turns of the event loop; what it throws ends this. */
  readonly progress: (share: number) => void
  readonly maxBytes: number
  /** Takes in the entry of a slot; the least recently used come first. */
  readonly keep: (slot: number) => void
  /** Told of the oldest entries, which exceed the bound, and have left the table then. */
  readonly drop: (entry: CacheEntry) => void
}

/**
 * Fills an empty table from the index of an earlier run, and says in which order it was used. Times later than `now` are of a clock that was ahead for a moment, and make nothing the most
 * recent for good.
 * @param now wall clock, ms since the epoch
 * @returns bytes of what is kept
 */
export async function restoreEntries (db: Pick<IndexDb, 'load' | 'count' | 'reopen'>, table: EntryTable, now: number, { progress, maxBytes, keep, drop }: EntryRestore): Promise<number> {
  const { count } = db
  const times = new Float64Array(count)
  let done = 0
  let bytes = 0
  table.fit(count)
  const rows = db.load()[Symbol.iterator]()
  // A function of its own, since V8 optimises what is called again and again.
  const readSome = (): boolean => {
    for (let n = 0; n < ENTRIES_A_TURN; n++) {
      const row = rows.next()
      if (row.done === true) return false
      const [id, record] = row.value
      table.restore(id, record, now)
      times[done++] = Math.min(record.lastAccess, now)
      bytes += record.size
    }
    return true
  }
  try {
    while (readSome()) {
      progress(Math.min(1, done / count) * READING)
      await nextTurn()
    }
  } catch (error) {
    rows.return?.()
    throw error
  }
  // Pages that were read once count as memory of this process until the system wants them back.
  await db.reopen()
  const order = await orderOf(times.subarray(0, done))
  for (let n = 0; n < done; n++) {
    // Rows of an empty table are taken one after the other, from 1 on.
    const slot = (order[n] ?? 0) + 1
    if (bytes > maxBytes) {
      const entry = table.valueAt(slot)
      bytes -= entry.size
      table.close(slot, entry)
      drop(entry)
    } else keep(slot)
    if (n % ENTRIES_A_TURN < ENTRIES_A_TURN - 1) continue
    progress(READING + (1 - READING) * n / done)
    await nextTurn()
  }
  return bytes
}

async function orderOf (times: Float64Array<ArrayBuffer>): Promise<Uint32Array> {
  const steps = sortByTime(times)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    await nextTurn()
  }
}
