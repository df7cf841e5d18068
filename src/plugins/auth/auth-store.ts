import { OPEN, type AuthSettings } from '../../admission/auth-settings.ts'
import { WatchedFiles } from '../../base/watched-files.ts'
import type { Config } from '../../config/schema.ts'
import { authFiles, readAuth } from './auth-files.ts'

export interface AuthStoreDeps {
  readonly log: (level: 'info' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** Polling interval of the files, milliseconds. */
  readonly watchIntervalMs?: number
}

/** What viewers are judged by, kept up to date with the files it comes from. */
export class AuthStore {
  #config: Config['auth']
  readonly #deps: AuthStoreDeps
  readonly #listeners = new Set<(settings: AuthSettings) => void>()
  readonly #files: WatchedFiles
  #current: AuthSettings = OPEN
  #work: Promise<void> = Promise.resolve()
  #closed = false

  private constructor (config: Config['auth'], deps: AuthStoreDeps) {
    this.#config = config
    this.#deps = deps
    this.#files = new WatchedFiles(() => { void this.reload() }, deps.watchIntervalMs)
  }

  /** @throws RelayError RELAY_ERR_CONFIG naming the file that is missing or wrong */
  static async open (config: Config['auth'], deps: AuthStoreDeps): Promise<AuthStore> {
    const store = new AuthStore(config, deps)
    store.#current = await readAuth(config)
    store.#files.watch(authFiles(config))
    return store
  }

  current (): AuthSettings { return this.#current }

  /** Called after the settings changed; returns the way to unsubscribe. */
  onChange (listener: (settings: AuthSettings) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** Reads the files again, one reading at a time; bad ones are logged and the old settings stay. Never rejects. */
  reload (): Promise<void> {
    this.#work = this.#work.then(async () => { await this.#refresh() })
    return this.#work
  }

  /**
   * Reads the files of another configuration, which the returned function puts in the place of this one.
   * @throws RelayError RELAY_ERR_CONFIG naming the file that is missing or wrong
   */
  async prepare (config: Config['auth']): Promise<() => void> {
    const found = await readAuth(config)
    return () => {
      if (this.#closed) return
      this.#config = config
      this.#files.watch(authFiles(config))
      this.#use(found)
    }
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#files.close()
    this.#listeners.clear()
    await this.#work
  }

  async #refresh (): Promise<void> {
    if (this.#closed) return
    const config = this.#config
    let found: AuthSettings
    try {
      found = await readAuth(config)
    } catch (error) {
      this.#deps.log('error', 'keys of viewers not replaced, the old ones stay in use', { reason: error instanceof Error ? error.message : String(error) })
      return
    }
    // Of a configuration that has been replaced meanwhile nothing counts.
    if (!this.#isClosed() && config === this.#config) this.#use(found)
  }

  #use (found: AuthSettings): void {
    if (JSON.stringify(found) === JSON.stringify(this.#current)) return
    this.#current = found
    this.#deps.log('info', 'keys of viewers replaced', { jwtKeys: found.jwt?.keys.length ?? 0, signedUrlKeys: found.signedUrlKeys.length })
    for (const listener of this.#listeners) listener(found)
  }

  /** Again after a wait, which the compiler does not see. */
  #isClosed (): boolean { return this.#closed }
}
