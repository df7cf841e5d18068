import { setImmediate as nextTurn } from 'node:timers/promises'
import { makeEntry, type CacheEntry } from './entry.ts'
import type { IndexDb } from './index-db.ts'

/** Entries between two turns of the event loop: some milliseconds. */
const ENTRIES_A_TURN = 5_000

/**
 * The entries of an earlier run, least recently used first. Times later than now are of a clock that was ahead for a moment, and make nothing the most
 * recent for good.
 * @param now wall clock, ms since the epoch
 * @param progress told what share is done, 0 to 1, between turns of the event loop; what it throws ends this
 */
export async function loadEntries (db: Pick<IndexDb, 'load' | 'count'>, now: number, progress: (share: number) => void): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = []
  for (const [id, record] of db.load()) {
    entries.push(makeEntry(id, { ...record.copy(), storedAt: Math.min(record.storedAt, now), lastAccess: Math.min(record.lastAccess, now) }, false))
    if (entries.length % ENTRIES_A_TURN > 0) continue
    progress(Math.min(1, entries.length / db.count))
    await nextTurn()
  }
  return entries.sort((a, b) => a.lastAccess - b.lastAccess)
}
