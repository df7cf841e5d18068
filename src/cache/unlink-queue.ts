import type { MeasuredDisk } from './disk-files.ts'

/** Unlinks under way at once: a purge of a million files must not fill the thread pool's queue in front of the viewers' reads. */
const MAX_UNLINKS = 2

/** Removes files in the background, a few at a time. */
export class UnlinkQueue {
  readonly #disk: MeasuredDisk
  readonly #files: string[] = []
  readonly #workers = new Set<Promise<void>>()

  constructor (disk: MeasuredDisk) {
    this.#disk = disk
  }

  add (file: string): void {
    this.#files.push(file)
    if (this.#workers.size >= MAX_UNLINKS) return
    const worker: Promise<void> = this.#work().finally(() => { this.#workers.delete(worker) })
    this.#workers.add(worker)
  }

  /** Resolves when every file added so far is gone. */
  async drained (): Promise<void> {
    while (this.#workers.size > 0) await Promise.all(this.#workers)
  }

  async #work (): Promise<void> {
    for (let file = this.#files.pop(); file !== undefined; file = this.#files.pop()) {
      const path = file
      await this.#disk.run('unlink', () => this.#disk.remove(path))
    }
  }
}
