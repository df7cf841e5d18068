import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Reading a million entries takes about a second; a damaged tree may have no end at all. */
const CHECK_TIMEOUT_MS = 60_000

/** Status of the check when another process has the environment open. */
const IN_USE = 75

/**
 * Sees who else reads, then visits every entry and asks for free pages, as a run will. A relay always reads, as LMDB counts; that it lives, its lock on the
 * byte of its process id says, across containers too. Plain JavaScript over lmdb alone, so that it starts fast.
 */
const PROGRAM = `
import { open, ABORT } from ${JSON.stringify(import.meta.resolve('lmdb'))}
const db = open({ path: process.argv[1], encoding: 'binary', overlappingSync: false })
if (/^ *[0-9]+ /m.test(db.readerList())) process.exit(${IN_USE})
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
 * @returns whether another process has it open
 * @throws Error when the environment exists and cannot be used
 */
export async function checkIndex (directory: string): Promise<'free' | 'in use'> {
  if (!existsSync(join(directory, 'data.mdb'))) return 'free'
  try {
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', PROGRAM, directory], { timeout: CHECK_TIMEOUT_MS, killSignal: 'SIGKILL' })
    return 'free'
  } catch (error) {
    const { code, signal } = error as { code?: unknown, signal?: unknown }
    // A name in place of an exit status: the check could not start, which says nothing about the index.
    if (typeof code === 'string') return 'free'
    if (code === IN_USE) return 'in use'
    throw new Error(`index check ended with ${typeof signal === 'string' ? signal : `status ${String(code)}`}`, { cause: error })
  }
}
