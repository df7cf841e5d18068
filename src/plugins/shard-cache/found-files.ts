import { mayBeTorn } from './disk-sync.ts'
import type { EntryRecord } from './entry.ts'
import type { IndexDb } from './index-db.ts'
import { sha256OfFile } from './manifest.ts'

export interface FinderOptions {
  readonly index: Pick<IndexDb, 'unreadable'>
  /** Whether the index that knew the files is gone. */
  readonly replaced: boolean
  /** Whether there is a manifest that this version cannot read, which may vouch for any file. */
  readonly manifestUnread: boolean
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

/** The record of a file as it is found; undefined when there is no reason to keep it. @throws Error when it cannot be read now */
export type FindRecord = (id: string, generation: string, file: string, found: { readonly size: number, readonly mtimeMs: number }) => Promise<EntryRecord | undefined>

/**
 * Files are in place only when they are whole and verified, so one whose record was lost is worth as much as before: its size and SHA-256 are taken
 * from itself. That holds for files of an index that was replaced, and for those whose record this version cannot read, as after a
 * rollback. One that the disk may have torn (`cache.sync = "none"`) vouches for nothing. Any other file without an entry was purged or replaced, and stays so, unless a manifest that cannot be read may list it: copied
 * files need not be whole, and are left as they are until it can be read or has gone.
 */
export function finder ({ index, replaced, manifestUnread, now }: FinderOptions): FindRecord {
  return async (id, generation, file, { size, mtimeMs }) => {
    if (mayBeTorn(generation) || (!replaced && !index.unreadable(id))) {
      if (manifestUnread) throw new Error(`${file} may be listed in the manifest`)
      return undefined
    }
    const sha256 = await sha256OfFile(file)
    if (sha256 === undefined) throw new Error(`${file} cannot be read`)
    const at = Math.max(0, Math.min(now(), mtimeMs))
    return { size, sha256, storedAt: at, lastAccess: at, hits: 0, generation }
  }
}
