import { spawn } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { Timers } from '../../base/clock.ts'
import { systemCode } from '../../base/errors.ts'

/**
 * `damaged` is said of what LMDB itself stumbled over. Whatever else ended a check, such as a signal that somebody sent or a system short of
 * memory, says nothing about the index.
 */
export type IndexVerdict = { readonly is: 'sound' } | { readonly is: 'damaged' | 'inconclusive' | 'in use', readonly why: string }

export interface IndexCheckOptions {
  readonly timers: Timers
  /** Ends it early, with `inconclusive`. */
  readonly signal?: AbortSignal | undefined
  /** Told what share of the entries it has visited, 0 to 1, now and then. */
  readonly visited?: (share: number) => void
  /** What is run instead of the check, by `node --eval`. */
  readonly program?: string
  /** For so long it may say nothing, ms. */
  readonly silentMs?: number
}

/** Reading a hundred thousand entries takes a tenth of a second; a slow disk may need much longer for all of them, and says so on the way. */
const SILENT_MS = 60_000
const ENTRIES_A_LINE = 50_000
/** What a process gets that LMDB leads astray. */
const CRASHES: ReadonlySet<string> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE', 'SIGTRAP'])
/** Exit statuses by which the check says that it found damage, or that another process has the environment open. */
const DAMAGED = 3
const IN_USE = 75
const MAX_OUTPUT = 2_000
/** Where the first page of `data.mdb` has the mark of LMDB and after it the version of the format, 32 bits each of a little-endian machine. */
const MARK_AT = 24
const MARK = 0xbeefc0de
const LMDB_FORMAT = 2

/**
 * Sees who else reads, then visits every entry and asks for free pages, as a run will. A relay always reads, as LMDB counts; that it lives, its lock on the
 * byte of its process id says, across containers too. Keys that do not ascend are a tree that has no end. Plain JavaScript over lmdb alone, so that
 * it starts fast.
 */
const PROGRAM = `
import { open, ABORT } from ${JSON.stringify(import.meta.resolve('lmdb'))}
try {
  const db = open({ path: process.argv[1], encoding: 'binary', keyEncoding: 'binary', overlappingSync: false })
  if (/^ *[0-9]+ /m.test(db.readerList())) process.exit(${IN_USE})
  const total = Math.max(1, db.getStats().entryCount)
  let last
  let count = 0
  for (const { key, value } of db.getRange()) {
    if (key === undefined || value === undefined) throw new Error('hole')
    if (last !== undefined && Buffer.compare(last, key) >= 0) throw new Error('order')
    last = Buffer.from(key)
    if (++count % ${ENTRIES_A_LINE} === 0) process.stdout.write(Math.min(1, count / total) + '\\n')
  }
  db.transactionSync(() => {
    db.putSync(Buffer.from('check'), Buffer.alloc(8192))
    return ABORT
  })
  await db.close()
} catch (error) {
  if (/EACCES|EPERM|ENOMEM|EMFILE|ENFILE|EAGAIN|EBUSY|ENOSPC|EROFS|No such module|Cannot find/i.test(String(error?.code) + String(error))) throw error
  process.stderr.write(String(error))
  process.exitCode = ${DAMAGED}
}
`

/** The version of LMDB's own format; undefined when the file does not begin as one of LMDB, null when there is none. */
function formatOf (file: string): number | undefined | null {
  const head = Buffer.alloc(MARK_AT + 8)
  try {
    const fd = openSync(file, 'r')
    try {
      return readSync(fd, head) === head.length && head.readUInt32LE(MARK_AT) === MARK ? head.readUInt32LE(MARK_AT + 4) : undefined
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? null : undefined
  }
}

/**
 * Opens an LMDB environment in a process of its own first: LMDB trusts its file, and a damaged one ends the process that reads it
 * with SIGSEGV, SIGBUS or SIGABRT instead of an error. Never rejects.
 */
export async function checkIndex (directory: string, { timers, signal, visited = () => {}, program = PROGRAM, silentMs = SILENT_MS }: IndexCheckOptions): Promise<IndexVerdict> {
  const format = formatOf(join(directory, 'data.mdb'))
  if (format === null) return { is: 'sound' }
  // LMDB ends with SIGSEGV on it, which would not tell it from damage.
  if (format !== undefined && format !== LMDB_FORMAT) return { is: 'damaged', why: `it is of another version of LMDB: format ${format}, not ${LMDB_FORMAT}` }
  if (signal?.aborted === true) return { is: 'inconclusive', why: 'the relay stops' }
  return await new Promise<IndexVerdict>(resolve => {
    // A group of its own: Ctrl-C is for the relay alone.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program, directory], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let said = ''
    const stop = (): void => { child.kill('SIGKILL') }
    let silent = timers.after(silentMs, stop)
    const again = (): void => {
      silent()
      silent = timers.after(silentMs, stop)
    }
    signal?.addEventListener('abort', stop, { once: true })
    const end = (verdict: IndexVerdict): void => {
      silent()
      signal?.removeEventListener('abort', stop)
      resolve(verdict)
    }
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      again()
      const share = Number(text.trim().split('\n').at(-1))
      if (share >= 0 && share <= 1) visited(share)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(0, MAX_OUTPUT) })
    child.once('error', error => { end({ is: 'inconclusive', why: error.message }) })
    child.once('close', (code, by) => {
      const why = `the check ended with ${by ?? `status ${String(code)}`}${said === '' ? '' : `: ${said.trim()}`}`
      if (code === 0) end({ is: 'sound' })
      else if (code === IN_USE) end({ is: 'in use', why })
      else end({ is: code === DAMAGED || (by !== null && CRASHES.has(by)) ? 'damaged' : 'inconclusive', why })
    })
  })
}
