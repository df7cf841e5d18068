import { randomUUID } from 'node:crypto'
import { link, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCode } from './errors.ts'
import { syncDirectory } from './sync-directory.ts'

/** Writes a file, mode 0600, so that a crash leaves the old one or the new one and never half of each, and after this the new one, also where the power goes. */
export async function replaceFile (file: string, text: string | Uint8Array): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
    // Some file systems cannot; the file is in place all the same.
    await syncDirectory(dirname(file)).catch(() => {})
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
}

/**
 * Keeps a file that cannot be used under a second name, before another one takes its place: `<file>.<why>-<ms of its last change>`.
 * @returns that name
 */
export async function keepBeside (file: string, why: string): Promise<string> {
  const { mtimeMs } = await stat(file)
  const beside = `${file}.${why}-${Math.floor(mtimeMs)}`
  await link(file, beside).catch((error: unknown) => {
    // Kept at an earlier start.
    if (systemCode(error) !== 'EEXIST') throw error
  })
  return beside
}
