import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'

/** As state files are called while they are being written. */
const UNFINISHED = /\.[0-9a-f-]{16,36}\.tmp$/
/** Nobody writes one for so long, ms. */
const MIN_AGE_MS = 60_000

/**
 * Removes what kills left of state files that were being written; some hold secrets. What cannot be removed stays. Never rejects.
 * @param now wall clock, ms since the epoch
 * @returns how many went
 */
export async function clearUnfinished (directory: string, now: number): Promise<number> {
  let cleared = 0
  for (const name of (await readdir(directory).catch(() => [])).filter(one => UNFINISHED.test(one))) {
    const file = join(directory, name)
    const found = await lstat(file).catch(() => undefined)
    if (found?.isFile() !== true || now - found.mtimeMs < MIN_AGE_MS) continue
    await unlink(file).then(() => { cleared++ }, () => {})
  }
  return cleared
}
