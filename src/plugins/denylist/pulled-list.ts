import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import { RelayError, systemCode } from '../../base/errors.ts'
import { replaceFile } from '../../base/replace-file.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import type { Timers } from '../../base/clock.ts'
import { getIfChanged } from '../upstream/get-if-changed.ts'
import { parseList, type ParsedList } from './list-text.ts'

export interface PulledListOptions {
  readonly url: string
  readonly intervalMs: number
  /** Longest list that is taken, bytes. */
  readonly maxBytes: number
  /** Where the last good copy lies; `<file>.json` tells what it is. */
  readonly file: string
  readonly timers: Timers
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** A list that holds from now on. */
  readonly pulled: (list: ParsedList) => void
  readonly failed: (reason: string) => void
}

const KeptFile = Type.Object({
  version: Type.Literal(1),
  url: Type.String(),
  etag: Type.Union([Type.String({ maxLength: 1_024 }), Type.Null()]),
  sha256: Type.String(),
  /** Wall clock, ms since the epoch. */
  checkedAt: Type.Number({ minimum: 0 })
}, { additionalProperties: false })
type Kept = Static<typeof KeptFile>
const keptCheck = schemaCheck<Kept>(KeptFile)

/** First pause after a failure, ms; doubles up to the interval. */
const RETRY_FIRST_MS = 10_000

/** A denylist that is asked for again and again, by its ETag. Whatever the server answers, the last good copy holds until there is a better one. */
export class PulledList {
  readonly #options: PulledListOptions
  readonly #life = new AbortController()
  #kept: Kept | undefined
  #failures = 0
  #cancel: () => void = () => {}
  #pulling: Promise<void> | undefined
  #problem: string | null = null

  constructor (options: PulledListOptions) {
    this.#options = options
  }

  /** When the server last said what the list is, ms since the epoch; null before it ever has. */
  get checkedAt (): number | null { return this.#kept?.checkedAt ?? null }
  /** Why it could not be asked the last time. */
  get problem (): string | null { return this.#problem }

  /** Takes the copy of an earlier run of the relay. */
  async load (): Promise<void> {
    const { file, url, pulled, failed } = this.#options
    try {
      const kept: unknown = JSON.parse(await readFile(`${file}.json`, 'utf8'))
      if (!keptCheck()(kept) || kept.url !== url) return
      const bytes = await readFile(file)
      pulled(await parseList(bytes, this.#life.signal))
      // Of a copy that was written and not yet told of, the ETag is another's.
      const sha256 = digestOf(bytes)
      this.#kept = kept.sha256 === sha256 ? kept : { ...kept, sha256, etag: null }
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') failed(`its copy ${file} cannot be used: ${reasonOf(error)}`)
    }
  }

  /** Asks now, and from now on. */
  start (): void {
    void this.pull()
  }

  /** Asks now, unless that is under way. Never rejects. */
  async pull (): Promise<void> {
    this.#pulling ??= this.#pull().finally(() => { this.#pulling = undefined })
    await this.#pulling
  }

  async close (): Promise<void> {
    this.#life.abort()
    this.#cancel()
    await this.#pulling
  }

  async #pull (): Promise<void> {
    const { intervalMs, timers, failed } = this.#options
    this.#cancel()
    try {
      await this.#ask()
      this.#failures = 0
      this.#problem = null
    } catch (error) {
      if (this.#life.signal.aborted) return
      this.#failures++
      this.#problem = reasonOf(error)
      failed(this.#problem)
    }
    if (this.#life.signal.aborted) return
    const pauseMs = this.#failures === 0 ? intervalMs : Math.min(intervalMs, RETRY_FIRST_MS * 2 ** (this.#failures - 1))
    this.#cancel = timers.after(pauseMs, () => { void this.pull() })
  }

  async #ask (): Promise<void> {
    const { url, file, maxBytes, now, pulled } = this.#options
    const { signal } = this.#life
    const kept = this.#kept
    const { status, unchanged, bytes, etag } = await getIfChanged(url, { accept: 'text/plain', etag: kept?.etag ?? null, maxBytes, signal })
    if (unchanged && kept !== undefined) return await this.#note({ ...kept, checkedAt: now() })
    if (status !== 200) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `it answers ${status}`)
    if (bytes.length > maxBytes) throw new RelayError('RELAY_ERR_UPSTREAM_TOO_LARGE', `it is larger than denylist.max_bytes, ${maxBytes} bytes`)
    const list = await parseList(bytes, signal)
    await replaceFile(file, bytes)
    pulled(list)
    await this.#note({ version: 1, url, etag, sha256: digestOf(bytes), checkedAt: now() })
  }

  async #note (kept: Kept): Promise<void> {
    this.#kept = kept
    await replaceFile(`${this.#options.file}.json`, `${JSON.stringify(kept)}\n`)
  }
}

function digestOf (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function reasonOf (error: unknown): string {
  return error instanceof RelayError ? error.message : systemCode(error) ?? (error instanceof Error ? error.message : String(error))
}
