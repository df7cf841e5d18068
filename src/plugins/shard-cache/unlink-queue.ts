import type { MeasuredDisk } from '../../storage/disk-files.ts'

/** Unlinks under way at the same time: a purge of a million files must not fill the thread pool's queue in front of the viewers' reads. */
const MAX_UNLINKS = 2

/** Removes files in the background, a few at a time. */
export class UnlinkQueue {
  readonly #disk: MeasuredDisk
  readonly #files: { readonly file: string, readonly bytes: number }[] = []
  #bytes = 0
  readonly #workers = new Set<Promise<void>>()

  constructor (disk: MeasuredDisk) {
    this.#disk = disk
  }

  /** Bytes of the files that are still there. */
  get bytes (): number { return this.#bytes }

  add (file: string, bytes: number): void {
    this.#files.push({ file, bytes })
    this.#bytes += bytes
    if (this.#workers.size >= MAX_UNLINKS) return
    const worker: Promise<void> = this.#work().finally(() => { this.#workers.delete(worker) })
    this.#workers.add(worker)
  }

  /** Resolves when every file added so far is gone. */
  async drained (): Promise<void> {
    while (this.#workers.size > 0) await Promise.all(this.#workers)
  }

  async #work (): Promise<void> {
    for (let next = this.#files.pop(); next !== undefined; next = this.#files.pop()) {
      const { file, bytes } = next
      await this.#disk.run('unlink', () => this.#disk.remove(file))
      this.#bytes -= bytes
    }
  }
}
