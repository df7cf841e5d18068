import type { Timers } from '../../base/clock.ts'

/** Time before what is to be kept is written, ms: the objects whose fills asked for it come first, and a viewer may bring it in himself. */
export const KEEP_AFTER_MS = 1_000
/** Manifests that wait to be written; more are not kept, and asked for again after a restart. */
export const MAX_KEEPING = 256
/** Bytes of those. */
export const MAX_KEEPING_BYTES = 16 * 1024 * 1024

export interface ManifestKeeperOptions {
  readonly write: (cid: string, bytes: Buffer, digest: string) => Promise<void>
  readonly timers: Timers
  readonly failed: (cid: string, error: unknown) => void
}

/** Believed manifests on their way into the cache, one after the other, behind whoever waits for an object. */
export class ManifestKeeper {
  readonly #options: ManifestKeeperOptions
  readonly #waiting = new Map<string, { readonly bytes: Buffer, readonly digest: string }>()
  #bytes = 0
  #cancel: (() => void) | undefined
  #writing: Promise<void> | undefined
  #closed = false

  constructor (options: ManifestKeeperOptions) {
    this.#options = options
  }

  /** Manifests that wait. */
  get waiting (): number { return this.#waiting.size }

  /** Takes a manifest; false when too many wait. */
  keep (cid: string, bytes: Buffer, digest: string): boolean {
    if (this.#closed || this.#waiting.size === MAX_KEEPING || this.#bytes + bytes.length > MAX_KEEPING_BYTES) return false
    this.forget(one => one === cid)
    this.#waiting.set(cid, { bytes, digest })
    this.#bytes += bytes.length
    if (this.#writing === undefined) this.#cancel ??= this.#options.timers.after(KEEP_AFTER_MS, () => { this.#begin() })
    return true
  }

  /** What is purged is not kept. */
  forget (matches: (cid: string) => boolean): void {
    for (const [cid, { bytes }] of [...this.#waiting]) {
      if (!matches(cid)) continue
      this.#waiting.delete(cid)
      this.#bytes -= bytes.length
    }
  }

  /** Takes no more; resolves when all that waits is written. */
  async close (): Promise<void> {
    this.#closed = true
    this.#begin()
    await this.#writing
  }

  #begin (): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#writing ??= this.#writeAll().finally(() => { this.#writing = undefined })
  }

  async #writeAll (): Promise<void> {
    const { write, failed } = this.#options
    for (;;) {
      const [next] = this.#waiting
      if (next === undefined) return
      const [cid, { bytes, digest }] = next
      this.forget(one => one === cid)
      await write(cid, bytes, digest).catch((error: unknown) => { failed(cid, error) })
    }
  }
}
