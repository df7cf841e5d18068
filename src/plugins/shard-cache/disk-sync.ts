import { dirname, relative } from 'node:path'
import type { MeasuredDisk, OpenFile } from '../../storage/disk-files.ts'

/** What is on the disk itself, and not only with the system, before an object counts as stored: nothing, its bytes, its bytes and its name. */
export type SyncPolicy = 'none' | 'data' | 'full'

/** First character of generations whose bytes nobody waited for: base 36 of no time begins with it. */
const UNSYNCED = '0'

/** The id of a run as part of file names. */
export function bootIdOf (run: string, policy: SyncPolicy): string {
  return policy === 'none' ? UNSYNCED + run : run
}

/** Whether a power cut may have left a file of this generation with other bytes than were stored, of the same size. */
export function mayBeTorn (generation: string): boolean {
  return generation.startsWith(UNSYNCED)
}

export interface DiskSyncOptions {
  readonly policy: SyncPolicy
  /** Directory of the shard files. */
  readonly root: string
  readonly disk: MeasuredDisk
}

/** Waits for the disk as far as `cache.sync` says. */
export class DiskSync {
  readonly #options: DiskSyncOptions
  /** Second-level directories, at most 65,536, whose own names last. */
  readonly #lasting = new Set<string>()

  constructor (options: DiskSyncOptions) {
    this.#options = options
  }

  /** The bytes of a file; before it gets its name. @throws what the disk says */
  async bytes (handle: OpenFile): Promise<void> {
    const { policy, disk } = this.#options
    if (policy !== 'none') await disk.run('fsync', () => handle.datasync())
  }

  /** The name of an object's file. @throws what the disk says */
  async name (file: string): Promise<void> {
    const { policy, root } = this.#options
    if (policy !== 'full') return
    const directory = dirname(file)
    await this.directory(directory)
    const short = relative(root, directory)
    if (this.#lasting.has(short)) return
    await this.directory(dirname(directory))
    await this.directory(root)
    this.#lasting.add(short)
  }

  /** The directory of an object's file is not there, or not any more. */
  forget (file: string): void {
    this.#lasting.delete(relative(this.#options.root, dirname(file)))
  }

  /** The names in a directory: of what was put into it, and of what was taken out. @throws what the disk says */
  async directory (path: string): Promise<void> {
    const { policy, disk } = this.#options
    if (policy === 'full') await disk.run('fsync', () => disk.fs.syncDirectory(path))
  }
}
