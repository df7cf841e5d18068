import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Reading a million entries takes about a second; a damaged tree may have no end at all. */
const CHECK_TIMEOUT_MS = 60_000

/** Visits every entry and asks for free pages, as a run will. Plain JavaScript over lmdb alone, so that it starts fast. */
const PROGRAM = `
import { open, ABORT } from ${JSON.stringify(import.meta.resolve('lmdb'))}
const db = open({ path: process.argv[1], encoding: 'binary', overlappingSync: false })
for (const { key, value } of db.getRange()) if (key === undefined || value === undefined) throw new Error('hole')
db.transactionSync(() => {
  db.putSync('check', Buffer.alloc(8192))
  return ABORT
})
await db.close()
`

/**
 * Opens an LMDB environment in a process of its own first: LMDB trusts its file, and a damaged one ends the process that reads it
 * with SIGSEGV, SIGBUS or SIGABRT instead of an error.
 * @throws Error when the environment exists and cannot be used
 */
export async function checkIndex (directory: string): Promise<void> {
  if (!existsSync(join(directory, 'data.mdb'))) return
  try {
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', PROGRAM, directory], { timeout: CHECK_TIMEOUT_MS, killSignal: 'SIGKILL' })
  } catch (error) {
    const { code, signal } = error as { code?: unknown, signal?: unknown }
    // A name in place of an exit status: the check could not start, which says nothing about the index.
    if (typeof code === 'string') return
    throw new Error(`index check ended with ${typeof signal === 'string' ? signal : `status ${String(code)}`}`, { cause: error })
  }
}
