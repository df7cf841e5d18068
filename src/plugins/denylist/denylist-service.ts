import { RelayError } from '../../base/errors.ts'
import { DeniedSet } from './denied-set.ts'
import type { Denylist, SourceName } from './denylist.ts'
import { parseList, type ParsedList } from './list-text.ts'
import type { OwnEntries } from './own-entries.ts'
import type { PulledList } from './pulled-list.ts'

export interface DenylistServiceOptions {
  readonly denylist: Denylist
  readonly own: OwnEntries
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** Reads the list of the configuration; undefined where there is none. @throws RelayError RELAY_ERR_CONFIG */
  readonly read: (() => Promise<Buffer>) | undefined
  readonly pulled: PulledList | undefined
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Of one list, as operators see it. */
export interface ListReport {
  readonly source: SourceName
  readonly entries: number
  readonly prefixes: number
  /** Memory of its digests. */
  readonly bytes: number
  /** Lines that are no entries, and what is wrong with the first; null with none. */
  readonly badLines: number
  readonly problem: string | null
  /** When it was read, changed or last confirmed, ms since the epoch; null before that. */
  readonly at: number | null
}

/** The lists of a relay as operators see and change them. */
export class DenylistService {
  readonly #options: DenylistServiceOptions
  readonly #read = new Map<SourceName, Pick<ParsedList, 'badLines' | 'problem'> & { readonly at: number }>()
  #fileProblem: string | null = null
  #reloading: Promise<void> | undefined
  #readList: DenylistServiceOptions['read']

  constructor (options: DenylistServiceOptions) {
    this.#options = options
    this.#readList = options.read
  }

  get own (): OwnEntries { return this.#options.own }
  /** When the server of the pulled list last said what it is, ms since the epoch. */
  get checkedAt (): number | null { return this.#options.pulled?.checkedAt ?? null }

  /**
   * Takes what is known without asking anybody: nothing is served before.
   * @throws RelayError RELAY_ERR_CONFIG when the file of the configuration cannot be used
   */
  async open (): Promise<void> {
    this.#changed()
    try {
      await this.#readFile()
    } catch (error) {
      throw error instanceof RelayError && error.code !== 'RELAY_ERR_CONFIG' ? new RelayError('RELAY_ERR_CONFIG', `denylist.file: ${error.message}`, { cause: error }) : error
    }
    await this.#options.pulled?.load()
  }

  start (): void {
    this.#options.pulled?.start()
  }

  /** Never rejects; the lists of before hold where something is wrong. */
  async reload (): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => { this.#reloading = undefined })
    await this.#reloading
  }

  /**
   * Reads the list of another configuration, which the returned function puts in the place of this one.
   * @param read undefined where there is none any more
   * @throws RelayError RELAY_ERR_CONFIG when the file cannot be used
   */
  async prepare (read: DenylistServiceOptions['read']): Promise<() => void> {
    const list = read === undefined ? { set: new DeniedSet(0), badLines: 0, problem: undefined } : await parseList(await read())
    return () => {
      this.#readList = read
      this.#fileProblem = null
      this.take('file', list)
    }
  }

  /** A list that was read. */
  take (source: SourceName, { set, badLines, problem }: ParsedList): void {
    const { denylist, log, now } = this.#options
    this.#read.set(source, { badLines, problem, at: now() })
    denylist.replace(source, set)
    log(badLines > 0 ? 'warn' : 'info', 'denylist read', { source, entries: set.size, prefixes: set.prefixes, badLines, problem })
  }

  /**
   * @returns how many are new
   * @throws RelayError RELAY_ERR_BAD_REQUEST, with nothing changed; what writing the file throws
   */
  async add (entries: readonly string[], reason: string): Promise<number> {
    const added = await this.#options.own.add(entries, reason, this.#options.now())
    if (added > 0) this.#changed()
    return added
  }

  /** @returns whether it was there */
  async remove (entry: string): Promise<boolean> {
    const removed = await this.#options.own.remove(entry)
    if (removed) this.#changed()
    return removed
  }

  /** Which lists deny the CID. */
  sourcesOf (cid: string): SourceName[] {
    return this.#options.denylist.sourcesOf(cid)
  }

  report (): ListReport[] {
    const { denylist, pulled } = this.#options
    const sources: SourceName[] = ['own', ...this.#readList === undefined ? [] : ['file' as const], ...pulled === undefined ? [] : ['url' as const]]
    return sources.map(source => {
      const list = denylist.list(source)
      const { badLines = 0, problem, at = null } = this.#read.get(source) ?? {}
      const failure = source === 'file' ? this.#fileProblem : source === 'url' ? pulled?.problem ?? null : null
      return { source, entries: list?.size ?? 0, prefixes: list?.prefixes ?? 0, bytes: list?.bytes ?? 0, badLines, problem: failure ?? problem ?? null, at: source === 'url' ? this.checkedAt ?? at : at }
    })
  }

  async close (): Promise<void> {
    await this.#options.pulled?.close()
    await this.#reloading
  }

  #changed (): void {
    const { denylist, own, now } = this.#options
    this.#read.set('own', { badLines: 0, problem: undefined, at: now() })
    denylist.replace('own', own.set())
  }

  async #reload (): Promise<void> {
    const { log, pulled } = this.#options
    try {
      await this.#readFile()
      this.#fileProblem = null
    } catch (error) {
      this.#fileProblem = error instanceof Error ? error.message : String(error)
      log('warn', 'the denylist file cannot be used, the list of before holds', { reason: this.#fileProblem })
    }
    await pulled?.pull()
  }

  async #readFile (): Promise<void> {
    const read = this.#readList
    if (read === undefined) return
    const list = await parseList(await read())
    // Of a file that another has replaced meanwhile nothing counts.
    if (read === this.#readList) this.take('file', list)
  }
}
