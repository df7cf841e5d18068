import { isDeepStrictEqual } from 'node:util'
import { abortable } from '../../base/abortable.ts'
import { RelayError } from '../../base/errors.ts'
import { Serial } from '../../base/serial.ts'
import { checkConfig } from '../../config/config.ts'
import { crossChecks } from '../../config/cross-checks.ts'
import { mergeLayers, sourceOf, valueAt, withValues, type ConfigLayers, type ValueSource } from '../../config/layers.ts'
import { configKeys, type Config } from '../../config/schema.ts'
import { Concerns, type ConcernOptions, type Prepare } from './concerns.ts'
import { configHash, differing, nameOf, shownValue, type KeyChange, type ShownValue } from './config-view.ts'
import { fitting, overriddenValues, withOverrides } from './override-fit.ts'
import { checkIfMatch } from './if-match.ts'
import { overridesText, overridesTree, type Overrides } from './overrides.ts'

/** What is wrong with a file may be longer than the file, characters. */
const MAX_PROBLEM_CHARS = 16_384

/** Where the configuration comes from. */
export interface ConfigSource {
  /** Path of the file; undefined without one. */
  readonly file: string | undefined
  /** Reads file, environment and command line again. @throws RelayError RELAY_ERR_CONFIG */
  readonly read: () => Promise<ConfigLayers>
  /** Checks a configuration as a start does, and reads the secrets of its files. @throws RelayError */
  readonly complete: (config: Config) => Promise<Config>
}

export interface LiveConfigOptions {
  /** As the relay was started with it. */
  readonly config: Config
  /** What that was made of. */
  readonly layers: ConfigLayers
  readonly source: ConfigSource
  /** What operators set before this start. */
  readonly overrides: Overrides
  /** Writes the file of the overrides anew. */
  readonly keep: (text: string) => Promise<void>
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** Aborts when a change takes too long: a disk that does not answer must not keep others from being made. */
  readonly deadline: () => AbortSignal
  readonly reloaded: (success: boolean) => void
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void
}

/** What a change of the configuration has done. */
export interface ConfigChange {
  readonly changed: readonly KeyChange[]
  /** Keys that have another value and keep the one in force until the relay restarts. */
  readonly restart: readonly string[]
  /** Keys with another value than before, behind which the admin API's stays in force. */
  readonly overridden: readonly string[]
  /** Of what is in force now. */
  readonly hash: string
}

/** A key as operators see it. */
export interface KeyReport extends ShownValue {
  readonly live: boolean
  /** What holds without the admin API, where it was set there. */
  readonly configured?: ShownValue
  /** What holds after a restart, where that is something else. */
  readonly pending?: ShownValue
}

interface Change {
  readonly layers: ConfigLayers
  readonly overrides: Overrides
  /** What is read again besides: nothing, secrets in files, or all files that keys name. */
  readonly reads: 'nothing' | 'secrets' | 'files'
  /** Keys that are taken over even if they have the same value: what is in force may have moved by itself. */
  readonly named?: readonly string[]
}

/** The configuration in force. Changes are made one after the other, each as a whole or not at all. */
export class LiveConfig {
  readonly #options: LiveConfigOptions
  readonly #concerns = new Concerns()
  #layers: ConfigLayers
  #overrides: Overrides
  /** Without the overrides. */
  #configured: Config
  /** In force after a restart. */
  #wanted: Config
  #config: Config
  /** Of the keys in force. */
  readonly #sources = new Map<string, ValueSource>()
  #pending: ReadonlyMap<string, ShownValue> = new Map()
  #hash: string
  #reload: { readonly success: boolean, readonly at: number, readonly problem: string | null }
  #loadedAt: number
  readonly #serial = new Serial()
  readonly #listeners: ((changed: readonly KeyChange[]) => void)[] = []
  /** A reload that has not begun, which whoever asks meanwhile shares. */
  #waiting: Promise<ConfigChange> | undefined
  /** Ends what is waited for. */
  readonly #life = new AbortController()

  constructor (options: LiveConfigOptions) {
    const { config, layers, overrides, now, log } = options
    this.#options = options
    this.#configured = config
    this.#overrides = fitting(layers, overrides)
    const left = [...overrides.keys()].filter(key => !this.#overrides.has(key))
    if (left.length > 0) log('error', 'what was set over the admin API does not fit the configuration any more, and is forgotten', { keys: left })
    this.#layers = { ...layers, api: overridesTree(this.#overrides) }
    const values = overriddenValues(checkConfig(mergeLayers(this.#layers)), this.#overrides)
    this.#config = this.#wanted = withValues(config, values)
    for (const key of configKeys()) this.#sources.set(nameOf(key), sourceOf(this.#layers, key.path))
    this.#hash = configHash(this.#config)
    this.#loadedAt = now()
    this.#reload = { success: true, at: this.#loadedAt, problem: null }
    for (const key of differing(config, this.#config)) log('warn', 'set over the admin API', { key: nameOf(key), value: shownValue(this.#config, key), configured: shownValue(config, key) })
  }

  /** In force now. */
  get config (): Config { return this.#config }
  get hash (): string { return this.#hash }
  get file (): string | undefined { return this.#options.source.file }
  /** When what is in force was read, ms since the epoch. */
  get loadedAt (): number { return this.#loadedAt }
  get layers (): ConfigLayers { return this.#layers }
  /** How the latest reload went; a start counts as one. */
  get lastReload (): { readonly success: boolean, readonly at: number, readonly problem: string | null } { return this.#reload }
  /** Keys that need a restart. */
  get restart (): string[] { return [...this.#pending.keys()] }
  /** Keys set over the admin API. */
  get overridden (): string[] { return [...this.#overrides.keys()] }
  /** Every key that changes while the relay runs. */
  get keys (): ReadonlySet<string> { return this.#concerns.keys() }

  /** `prepare` is asked whenever one of the keys is to change. */
  on (keys: readonly string[], prepare: Prepare, options?: ConcernOptions): void {
    this.#concerns.on(keys, prepare, options)
  }

  /** `listener` is called after every change with what is in force since then; it must not throw. */
  onChange (listener: (changed: readonly KeyChange[]) => void): void { this.#listeners.push(listener) }

  /**
   * Reads everything again and puts it in force. Of those who ask while a reload is under way, all share the next one.
   * @throws RelayError RELAY_ERR_CONFIG_REFUSED with a line for every problem; nothing has changed then
   */
  async reload (): Promise<ConfigChange> {
    this.#waiting ??= this.#queue(async () => {
      this.#waiting = undefined
      return await this.#reloadNow()
    })
    return await this.#waiting
  }

  /**
   * Reads the secrets of the files again that keys name.
   * @throws RelayError RELAY_ERR_CONFIG_REFUSED; nothing has changed then
   */
  async refresh (): Promise<void> {
    await this.#queue(async () => { await this.#change({ layers: this.#layers, overrides: this.#overrides, reads: 'secrets' }) }).catch((error: unknown) => { throw refusal(error) })
  }

  /**
   * Sets keys over the admin API, until they are dropped.
   * @param ifMatch entity tags of the settings that are meant
   * @throws RelayError RELAY_ERR_PRECONDITION and RELAY_ERR_BAD_REQUEST with nothing changed, RELAY_ERR_INTERNAL when it is in force and could not be written
   */
  async set (values: Readonly<Record<string, unknown>>, ifMatch?: string): Promise<ConfigChange> {
    const since = this.#options.now()
    return await this.#override(overrides => new Map([...overrides, ...Object.entries(values).map(([key, value]) => [key, { value, since }] as const)]), ifMatch, Object.keys(values))
  }

  /**
   * Drops what was set over the admin API: a key, or everything.
   * @throws RelayError RELAY_ERR_NOT_FOUND when the key was not, the others as {@link set}
   */
  async drop (key?: string, ifMatch?: string): Promise<ConfigChange> {
    return await this.#override(overrides => {
      if (key !== undefined && !overrides.has(key)) throw new RelayError('RELAY_ERR_NOT_FOUND', `${key} was not set over the admin API`)
      return new Map([...overrides].filter(([name]) => key !== undefined && name !== key))
    }, ifMatch)
  }

  /** Every key, by name. */
  report (): Record<string, KeyReport> {
    return Object.fromEntries(configKeys().map(key => {
      const name = nameOf(key)
      const pending = this.#pending.get(name)
      const source = this.#sources.get(name) ?? 'default'
      const configured = { value: shownValue(this.#configured, key), source: sourceOf({ ...this.#layers, api: {} }, key.path) }
      return [name, {
        value: shownValue(this.#config, key),
        source,
        live: key.live,
        ...this.#overrides.has(name) ? { configured } : {},
        ...pending === undefined ? {} : { pending }
      }]
    }))
  }

  /** Resolves when no change is under way; there are none afterwards. What waits for a file is given up. */
  async close (): Promise<void> {
    this.#life.abort(new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping'))
    await this.#serial.ended()
  }

  #deadline (): AbortSignal { return AbortSignal.any([this.#options.deadline(), this.#life.signal]) }

  /** One after the other: one reload waits at most, and one other change for each connection of the admin listener. */
  async #queue<T> (work: () => Promise<T>): Promise<T> {
    return await this.#serial.run(async () => {
      this.#life.signal.throwIfAborted()
      return await work()
    })
  }

  async #reloadNow (): Promise<ConfigChange> {
    const { source, now, log, reloaded } = this.#options
    try {
      const signal = this.#deadline()
      const layers = await abortable(source.read(), signal)
      const change = await this.#change({ layers: { ...layers, api: this.#layers.api }, overrides: this.#overrides, reads: 'files' }, { signal })
      this.#loadedAt = now()
      this.#reload = { success: true, at: this.#loadedAt, problem: null }
      reloaded(true)
      log('info', 'configuration reloaded', { file: source.file, changed: change.changed.length, restart: change.restart, hash: change.hash })
      return change
    } catch (error) {
      const refused = refusal(error)
      this.#reload = { success: false, at: now(), problem: refused.message }
      reloaded(false)
      log('error', 'configuration not reloaded, the one of before stays in force', { file: source.file, reason: refused.message })
      throw refused
    }
  }

  async #override (change: (overrides: Overrides) => Overrides, ifMatch: string | undefined, named: readonly string[] = []): Promise<ConfigChange> {
    const { keep } = this.#options
    return await this.#queue(async () => {
      checkIfMatch(ifMatch, this.#hash)
      const overrides = change(this.#overrides)
      let failure: unknown
      const done = await this.#change({ layers: { ...this.#layers, api: overridesTree(overrides) }, overrides, reads: 'nothing', named }, {
        last: async () => { await keep(overridesText(overrides)).catch((error: unknown) => { failure = error }) }
      }).catch((error: unknown) => { throw error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG' ? new RelayError('RELAY_ERR_BAD_REQUEST', error.message, { cause: error }) : error })
      if (failure !== undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'the change is in force, and could not be written: it will not outlive this process', { cause: failure })
      return done
    })
  }

  /** @param last is waited for before anything is in force. @throws RelayError RELAY_ERR_CONFIG; nothing has changed then */
  async #change ({ layers, overrides, reads, named = [] }: Change, { signal = this.#deadline(), last }: { signal?: AbortSignal, last?: () => Promise<void> } = {}): Promise<ConfigChange> {
    const { source, log } = this.#options
    const configured = checkConfig(mergeLayers({ ...layers, api: {} }))
    const checked = withOverrides(layers, overrides)
    // What an operator sets waits for no file.
    const wanted = reads === 'nothing' ? withValues(this.#wanted, overriddenValues(checked, new Map([...this.#overrides, ...overrides]))) : await abortable(source.complete(checked), signal)
    const differ = differing(this.#config, wanted)
    const taken = differ.filter(key => this.#concerns.takes(nameOf(key), this.#config, wanted))
    const waiting = differ.filter(key => !taken.includes(key))
    const next = withValues(this.#config, new Map(taken.map(key => [nameOf(key), valueAt(wanted, key.path)])))
    const problems = waiting.length === 0 ? [] : crossChecks(next)
    if (problems.length > 0) throw new RelayError('RELAY_ERR_CONFIG', `${problems.join('\n')}\nthat is so until a restart, which is needed for ${waiting.map(nameOf).join(', ')}`)
    const applies = await abortable(this.#concerns.prepare(next, new Set([...taken.map(nameOf), ...named]), reads === 'files'), signal)
    await last?.()
    // From here on nothing waits, and nothing fails.
    const changed = taken.map(key => ({ key: nameOf(key), before: shownValue(this.#config, key), after: shownValue(next, key), source: sourceOf(layers, key.path) }))
    const overridden = differing(this.#configured, configured).map(nameOf).filter(key => overrides.has(key))
    const news = waiting.filter(key => !isDeepStrictEqual(this.#pending.get(nameOf(key))?.value, shownValue(wanted, key)))
    this.#config = next
    this.#wanted = wanted
    this.#configured = configured
    this.#layers = layers
    this.#overrides = overrides
    this.#pending = new Map(waiting.map(key => [nameOf(key), { value: shownValue(wanted, key), source: sourceOf(layers, key.path) }]))
    for (const key of configKeys()) if (!this.#pending.has(nameOf(key))) this.#sources.set(nameOf(key), sourceOf(layers, key.path))
    this.#hash = configHash(next)
    for (const apply of applies) {
      try {
        apply()
      } catch (error) {
        log('error', 'a change of the configuration is not in force everywhere', { err: error })
      }
    }
    for (const change of changed) log('info', 'configuration changed', { ...change })
    for (const key of news) log('warn', 'configuration changed, which needs a restart', { key: nameOf(key), inForce: shownValue(next, key), after: shownValue(wanted, key) })
    for (const key of overridden) log('warn', 'configuration changed, and what was set over the admin API stays in force', { key })
    for (const listener of this.#listeners) listener(changed)
    return { changed, restart: this.restart, overridden, hash: this.#hash }
  }
}

function refusal (error: unknown): RelayError {
  if (error instanceof RelayError && error.code !== 'RELAY_ERR_CONFIG') return error
  const late = error instanceof Error && error.name === 'TimeoutError'
  const problem = late ? 'its files cannot be read in time' : error instanceof Error ? error.message : String(error)
  return new RelayError('RELAY_ERR_CONFIG_REFUSED', problem.length > MAX_PROBLEM_CHARS ? `${problem.slice(0, MAX_PROBLEM_CHARS)}…` : problem, { cause: error })
}
