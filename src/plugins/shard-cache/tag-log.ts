import { createReadStream } from 'node:fs'
import { appendFile, open, rename, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { systemCode } from '../../base/errors.ts'
import { keepBeside } from '../../base/replace-file.ts'
import { isTag } from '../../protocol/manifest.ts'
import { isCid } from '../../protocol/shard-key.ts'
import { MAX_CID_TAGS } from './cid-tags.ts'

/** First line of the file, `{"version":1}`; every other is `["<cid>",["<tag>",…]]`, and the last one of a CID holds. */
export const TAG_LOG_VERSION = 1
/** CIDs whose change is not written yet; beyond, the whole file is written anew. */
export const MAX_UNWRITTEN = 50_000
/** Lines that say nothing any more, besides as many as there are tagged CIDs, until the file is written anew. */
const SLACK_LINES = 10_000
/** CIDs of one write. */
const WRITE_CIDS = 5_000
const HEAD = `{"version":${TAG_LOG_VERSION}}\n`

export interface TagLogOptions {
  readonly file: string
  /** Tags of a CID now; none when it has gone. */
  readonly tagsOf: (cid: string) => readonly string[]
  /** CIDs with tags. */
  readonly tagged: () => Iterable<string>
  readonly count: () => number
  /** Runs what writes to the disk; rejects when that does not answer in time. */
  readonly run: (work: () => Promise<void>) => Promise<void>
  /** Awaited between pieces of work. */
  readonly nextTurn: () => Promise<unknown>
  readonly log: (level: 'warn' | 'error', message: string, fields: Record<string, unknown>) => void
}

/** The tags of CIDs on disk: a file to which changes are appended. What was flushed outlives the process, and a power loss as far as the system has written it. */
export class TagLog {
  readonly #options: TagLogOptions
  readonly #unwritten = new Set<string>()
  #lines = 0
  /** The file does not say what the table does, and has to be written anew. */
  #behind = false
  #failing = false
  #flushing: Promise<void> | undefined

  constructor (options: TagLogOptions) {
    this.#options = options
  }

  /** CIDs whose change is not in the file yet. */
  get unwritten (): number { return this.#unwritten.size }

  /** Reads the file. One that cannot be used is kept beside, and begun anew. */
  async load (take: (cid: string, tags: readonly string[]) => void): Promise<void> {
    const { file, log, nextTurn } = this.#options
    const last = new Map<string, readonly string[]>()
    let bad = 0
    try {
      let version: unknown
      for await (const line of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
        if (this.#lines++ === 0) {
          version = JSON.parse(line)
          if (!isHead(version)) throw new SyntaxError('its first line names another version')
          continue
        }
        const entry = entryOf(line)
        if (entry === undefined) bad++
        else last.set(...entry)
      }
    } catch (error) {
      this.#lines = 0
      if (systemCode(error) === 'ENOENT') return
      this.#behind = true
      const aside = await keepBeside(file, 'unreadable').catch(() => undefined)
      log('error', 'tags of cached objects cannot be read: purges by tag do not find what was tagged before', { file, aside, reason: error instanceof Error ? error.message : String(error) })
      return
    }
    // What was killed while it wrote leaves one.
    if (bad > 0) this.#behind = true
    if (bad > 1) log('warn', 'lines of the tags of cached objects are damaged', { file, lines: bad })
    let n = 0
    for (const [cid, tags] of last) {
      if (tags.length > 0) take(cid, tags)
      if (++n % WRITE_CIDS === 0) await nextTurn()
    }
    this.#unwritten.clear()
  }

  /** The tags of a CID have changed. */
  changed (cid: string): void {
    if (this.#unwritten.size < MAX_UNWRITTEN) this.#unwritten.add(cid)
    else if (!this.#unwritten.has(cid)) this.#behind = true
  }

  /** Writes what has changed until now. Never rejects: what the disk refuses is tried again with the next one. */
  async flush (): Promise<void> {
    await (this.#flushing ??= this.#flush().finally(() => { this.#flushing = undefined }))
  }

  async #flush (): Promise<void> {
    const { file, log, count, run } = this.#options
    if (this.#unwritten.size === 0 && !this.#behind) return
    try {
      await run(async () => {
        if (this.#behind || this.#lines > 2 * count() + SLACK_LINES) await this.#writeAnew()
        else await this.#append()
      })
      this.#failing = false
    } catch (error) {
      this.#behind = true
      if (!this.#failing) log('error', 'tags of cached objects cannot be kept: after a restart, purges by tag would not find them', { file, reason: systemCode(error) ?? String(error) })
      this.#failing = true
    }
  }

  async #append (): Promise<void> {
    const { file } = this.#options
    const cids = [...this.#unwritten]
    this.#unwritten.clear()
    await appendFile(file, `${this.#lines === 0 ? HEAD : ''}${this.#textOf(cids)}`, { mode: 0o600 })
    this.#lines += cids.length + (this.#lines === 0 ? 1 : 0)
  }

  /** Beside the old one, which it then replaces. */
  async #writeAnew (): Promise<void> {
    const { file, tagged, nextTurn } = this.#options
    const temporary = `${file}.new`
    const cids = [...tagged()]
    this.#unwritten.clear()
    this.#behind = false
    try {
      const handle = await open(temporary, 'w', 0o600)
      try {
        await handle.write(HEAD)
        for (let at = 0; at < cids.length; at += WRITE_CIDS) {
          await handle.write(this.#textOf(cids.slice(at, at + WRITE_CIDS)))
          await nextTurn()
        }
        await handle.datasync()
      } finally {
        await handle.close()
      }
      await rename(temporary, file)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {})
      throw error
    }
    this.#lines = cids.length + 1
  }

  #textOf (cids: readonly string[]): string {
    return cids.map(cid => `${JSON.stringify([cid, this.#options.tagsOf(cid)])}\n`).join('')
  }
}

function isHead (value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'version' in value && value.version === TAG_LOG_VERSION
}

function entryOf (line: string): [cid: string, tags: readonly string[]] | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  const [cid, tags] = Array.isArray(value) ? value as unknown[] : []
  if (typeof cid !== 'string' || !isCid(cid) || !Array.isArray(tags) || tags.length > MAX_CID_TAGS) return undefined
  return tags.every((tag): tag is string => typeof tag === 'string' && isTag(tag)) ? [cid, tags] : undefined
}
