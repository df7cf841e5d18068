import { join } from 'node:path'
import { keyId } from '../../protocol/shard-key.ts'
import type { DiskStore } from './disk-store.ts'
import { relativeFile } from './entry.ts'
import { voucher, type ManifestEntry } from './manifest.ts'

/** What became of the entries of a manifest. */
export interface ManifestImport {
  adopted: number
  known: number
  rejected: number
}

/**
 * Takes over files that lie in the cache directory already, and that a manifest lists with the right size and digest.
 * @param reconciled settles once files that nothing vouches for are not being removed any more
 */
export async function importManifest (disk: DiskStore, entries: readonly ManifestEntry[], reconciled: Promise<unknown>): Promise<ManifestImport> {
  await reconciled.catch(() => {})
  const vouch = voucher(entries)
  const result: ManifestImport = { adopted: 0, known: 0, rejected: 0 }
  for (const entry of entries) {
    const id = keyId(entry)
    if (disk.peek(id) !== undefined) {
      result.known++
      continue
    }
    const file = join(disk.root, relativeFile(id, entry.generation))
    const size = await disk.disk.fs.stat(file).then(stat => stat.size, () => -1)
    const record = size < 0 ? undefined : await vouch(id, entry.generation, file, size)
    if (record !== undefined && disk.adopt(id, record)) result.adopted++
    else result.rejected++
  }
  return result
}
