import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { systemCode } from '../../base/errors.ts'
import { keyId } from '../../protocol/shard-key.ts'
import type { FileSystem } from '../../storage/disk-files.ts'
import type { CacheEntry } from './cache-entry.ts'
import type { DiskStore } from './disk-store.ts'
import { parseFileName, relativeFile, type EntryRecord } from './entry.ts'
import type { FindRecord } from './found-files.ts'

export interface ReconcileReport {
  /** Files that belong to an entry and have its size. */
  readonly confirmed: number
  /** Files without an entry, removed. */
  readonly orphansRemoved: number
  /** Files without an entry that a manifest vouches for, taken over. */
  readonly adopted: number
  /** Files whose records were lost or of another version, taken over as they are. */
  readonly found: number
  /** Entries whose file is missing or has another size, dropped. */
  readonly missingDropped: number
  /** Directories that could not be read, or are links, and files that cannot be judged: they or the manifest could not be read. */
  readonly errors: number
}

export interface ReconcileOptions {
  readonly store: DiskStore
  readonly fs: FileSystem
  readonly signal: AbortSignal
  /** Awaited before every directory; ends early when the signal aborts. */
  readonly pace?: (signal: AbortSignal) => Promise<void>
  /** Checks an orphan against a manifest and returns the record to take it over with. */
  readonly vouch: (id: string, generation: string, file: string, size: number) => Promise<EntryRecord | undefined>
  /** Tells the record of an orphan that is kept without a manifest; none by default. */
  readonly find?: FindRecord
}

/** A file in the place of an object that has no entry. */
interface Orphan { readonly id: string, readonly generation: string, readonly file: string, readonly size: number, readonly mtimeMs: number }

const HEX_PAIR = /^[0-9a-f]{2}$/
/** Stats under way at the same time: enough to keep the thread pool busy, few enough to leave room for viewers. */
const PARALLEL = 8
/** Entries dropped between two turns of the event loop. */
const DROPPED_A_TURN = 1_000

/** Removes half-written files of earlier runs. Runs before anything is served, so that none is ever visible. */
export async function clearTemporary (fs: FileSystem, root: string, bootId: string): Promise<number> {
  const directory = join(root, 'tmp')
  const stale = (await fs.readdir(directory)).filter(name => !name.startsWith(`${bootId}.`))
  await inParallel(stale, async name => { await fs.unlink(join(directory, name)) })
  return stale.length
}

/**
 * Makes index and directory agree, while the relay is serving: files of this run are left alone by their generation, and an entry
 * that is dropped here would have become a miss on its next hit.
 */
export async function reconcile (options: ReconcileOptions): Promise<ReconcileReport> {
  const { store, fs, signal } = options
  const report = { confirmed: 0, orphansRemoved: 0, adopted: 0, found: 0, missingDropped: 0, errors: 0 }
  const list = async (directory: string): Promise<string[]> => {
    try {
      // Through a link, files of somebody else would be found that have no entry here.
      if ((await fs.lstat(directory)).isDirectory()) return await fs.readdir(directory)
      report.errors++
      return []
    } catch {
      report.errors++
      return []
    }
  }
  const remove = async (file: string): Promise<void> => {
    await store.disk.remove(file)
    report.orphansRemoved++
  }
  const visit = async (directory: string, prefix: string, name: string, orphans: Orphan[]): Promise<void> => {
    const parsed = parseFileName(name)
    if (parsed?.generation.startsWith(store.bootId) === true) return
    const file = join(directory, name)
    const stat = await fs.lstat(file).catch(() => undefined)
    if (stat?.isFile() !== true) return
    const { size } = stat
    const id = parsed === undefined ? '' : keyId(parsed.key)
    // A file in another directory than its own is not an entry's file, whatever its name.
    if (parsed !== undefined && relativeFile(id, parsed.generation) === `${prefix}/${name}`) {
      const entry = store.peek(id)
      if (entry?.generation === parsed.generation && entry.size === size) {
        entry.confirmed = true
        report.confirmed++
        return
      }
      const record = entry === undefined ? await options.vouch(id, parsed.generation, file, size) : undefined
      if (record !== undefined && store.adopt(id, record)) {
        report.adopted++
        return
      }
      if (entry === undefined && record === undefined) {
        orphans.push({ id, generation: parsed.generation, file, size, mtimeMs: stat.mtimeMs })
        return
      }
    }
    await remove(file)
  }
  /** Of two files of one object the later one counts. */
  const settle = async (orphans: Orphan[]): Promise<void> => {
    for (const orphan of orphans.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
      if (signal.aborted) return
      try {
        const record = store.peek(orphan.id) === undefined ? await options.find?.(orphan.id, orphan.generation, orphan.file, orphan) : undefined
        if (record !== undefined && store.adopt(orphan.id, record)) report.found++
        else await remove(orphan.file)
      } catch {
        // Kept until it can be judged.
        report.errors++
      }
    }
  }
  for (const first of (await list(store.root)).filter(name => HEX_PAIR.test(name))) {
    for (const second of (await list(join(store.root, first))).filter(name => HEX_PAIR.test(name))) {
      await options.pace?.(signal)
      if (signal.aborted) return report
      const directory = join(store.root, first, second)
      const orphans: Orphan[] = []
      await inParallel(await list(directory), name => visit(directory, `${first}/${second}`, name, orphans))
      await settle(orphans)
    }
  }
  if (report.errors === 0) {
    const missing: CacheEntry[] = []
    for (const entry of store.firstOut()) {
      if (!entry.confirmed) missing.push(entry)
    }
    for (const [position, entry] of missing.entries()) {
      store.invalidate(entry)
      if (position % DROPPED_A_TURN === DROPPED_A_TURN - 1) await nextTurn()
      if (signal.aborted) return { ...report, missingDropped: position + 1 }
    }
    report.missingDropped = missing.length
  }
  return report
}

/** Drops the entries whose files are gone, for a directory that was emptied under a running relay. Returns how many. */
export async function dropMissing (store: DiskStore, fs: FileSystem, signal: AbortSignal): Promise<number> {
  let dropped = 0
  await inParallel(Array.from(store.firstOut()), async entry => {
    if (signal.aborted || !entry.indexed) return
    const gone = await fs.stat(store.fileOf(entry)).then(() => false, (error: unknown) => systemCode(error) === 'ENOENT')
    if (!gone) return
    store.invalidate(entry)
    dropped++
  })
  return dropped
}

async function inParallel<T> (items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker))
}
