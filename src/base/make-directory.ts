import { dirname } from 'node:path'
import { systemCode } from './errors.ts'

/** Objects may be what viewers paid for, and `tls/` has a key: nobody else reads them. */
export const DIRECTORY = { mode: 0o700 }

/**
 * Parents first. The recursive form of mkdir never returns where creating fails with ENOENT, as below /proc.
 * @returns the topmost directory that was made, undefined when all of them were there
 */
export async function makeDirectory (fs: { mkdir (path: string, options: typeof DIRECTORY): Promise<unknown> }, path: string): Promise<string | undefined> {
  try {
    await fs.mkdir(path, DIRECTORY)
    return path
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return undefined
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error
    const first = await makeDirectory(fs, dirname(path))
    await fs.mkdir(path, DIRECTORY).catch((second: unknown) => {
      // Somebody else makes it at the same time.
      if (systemCode(second) !== 'EEXIST') throw second
    })
    return first
  }
}
