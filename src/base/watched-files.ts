import { unwatchFile, watchFile } from 'node:fs'

/** Polled, since a rename (certbot) or a symlink swap (Kubernetes) leaves inode watchers on the old file. */
const WATCH_INTERVAL_MS = 2_000

/** Files that are looked at again and again. */
export class WatchedFiles {
  readonly #intervalMs: number
  readonly #changed: () => void
  #files: ReadonlySet<string> = new Set()
  #closed = false

  /** @param intervalMs how often they are looked at, ms */
  constructor (changed: () => void, intervalMs = WATCH_INTERVAL_MS) {
    this.#intervalMs = intervalMs
    this.#changed = () => { if (!this.#closed) changed() }
  }

  /** Watches these files and no others any more. */
  watch (files: Iterable<string>): void {
    if (this.#closed) return
    const wanted = new Set(files)
    for (const file of this.#files) if (!wanted.has(file)) unwatchFile(file, this.#changed)
    for (const file of wanted) if (!this.#files.has(file)) watchFile(file, { interval: this.#intervalMs, persistent: false }, this.#changed)
    this.#files = wanted
  }

  close (): void {
    this.watch([])
    this.#closed = true
  }
}
