import type { EntryRecord } from './entry.ts'
import type { IndexDb } from './index-db.ts'
import { sha256OfFile } from './manifest.ts'

export interface FinderOptions {
  readonly index: Pick<IndexDb, 'unreadable'>
  /** Whether the index that knew the files is gone. */
  readonly replaced: boolean
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

/** The record of a file as it is found; undefined when there is no reason to keep it. @throws Error when it cannot be read now */
export type FindRecord = (id: string, generation: string, file: string, found: { readonly size: number, readonly mtimeMs: number }) => Promise<EntryRecord | undefined>

/**
 * Files are in place only when they are whole and verified, so one whose record was lost is worth as much as before: its size and SHA-256 are taken
 * from itself. That holds for files of an index that was replaced, and for those whose record this version cannot read, as after a
 * rollback. Any other file without an entry was purged or replaced, and stays so.
 */
export function finder ({ index, replaced, now }: FinderOptions): FindRecord {
  return async (id, generation, file, { size, mtimeMs }) => {
    if (!replaced && !index.unreadable(id)) return undefined
    const sha256 = await sha256OfFile(file)
    if (sha256 === undefined) throw new Error(`${file} cannot be read`)
    const at = Math.max(0, Math.min(now(), mtimeMs))
    return { size, sha256, storedAt: at, lastAccess: at, hits: 0, generation }
  }
}
