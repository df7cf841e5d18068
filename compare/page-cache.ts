import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Files in one command line. */
const BATCH = 500

async function filesBelow (folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}

/**
 * Writes the files of a folder to disk and drops their pages (posix_fadvise DONTNEED by dd), then counts what is still in memory.
 * The host of a virtual machine may keep its own copy.
 * @param only part of the path of the files meant
 * @returns bytes of them in the page cache; undefined when fincore is missing
 */
export async function dropPages (folder: string, only = ''): Promise<number | undefined> {
  const files = (await filesBelow(folder)).filter(file => file.includes(only))
  let resident: number | undefined = 0
  for (let start = 0; start < files.length; start += BATCH) {
    const batch = files.slice(start, start + BATCH)
    // Pages that are not written yet cannot be dropped.
    await run('sync', ['--data', ...batch])
    await run('sh', ['-c', 'for file do dd if="$file" iflag=nocache count=0 status=none || exit 1; done', 'sh', ...batch])
    const { stdout } = await run('fincore', ['--bytes', '--noheadings', '--output', 'RES', ...batch], { maxBuffer: 16_777_216 }).catch(() => ({ stdout: undefined }))
    if (stdout === undefined) resident = undefined
    else if (resident !== undefined) resident += stdout.split('\n').reduce((sum, line) => sum + Number(line), 0)
  }
  return resident
}
