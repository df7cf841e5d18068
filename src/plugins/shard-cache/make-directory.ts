import { dirname } from 'node:path'
import { systemCode } from '../../base/errors.ts'
import type { FileSystem } from '../../storage/disk-files.ts'

/** Objects may be what viewers paid for, and `tls/` has a key: nobody else reads them. */
export const DIRECTORY = { mode: 0o700 }

/** Parents first. The recursive form of mkdir never returns where creating fails with ENOENT, as below /proc. */
export async function makeDirectory (fs: Pick<FileSystem, 'mkdir'>, path: string): Promise<void> {
  try {
    await fs.mkdir(path, DIRECTORY)
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error
    await makeDirectory(fs, dirname(path))
    await fs.mkdir(path, DIRECTORY).catch((second: unknown) => {
      // Somebody else makes it at the same time.
      if (systemCode(second) !== 'EEXIST') throw second
    })
  }
}
