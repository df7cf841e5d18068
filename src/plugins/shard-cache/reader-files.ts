import { isLocalLack } from '../../base/errors.ts'
import type { MeasuredDisk, OpenFile } from '../../storage/disk-files.ts'
import type { CacheEntry } from './cache-entry.ts'

/** An open cached file; `release` once. */
export interface FileLease {
  readonly entry: CacheEntry
  readonly handle: OpenFile
  release (): void
}

/** An open file with all who read it: each says where, so one descriptor is enough for them. */
export interface SharedHandle {
  readonly handle: OpenFile
  readers: number
}

export interface ReaderFilesOptions {
  readonly disk: MeasuredDisk
  /** Whether there is a descriptor for another file, now or before long. Must not reject. */
  readonly mayOpen: () => boolean | Promise<boolean>
  readonly fileOf: (entry: CacheEntry) => string
  /** The file of an entry is missing or damaged. */
  readonly invalid: (entry: CacheEntry) => void
  /** The file of an entry has another size. */
  readonly mismatch: () => void
}

/** The files that readers have open, one descriptor each whatever the number of its readers. */
export class ReaderFiles {
  readonly #options: ReaderFilesOptions
  readonly #files = new Map<CacheEntry, SharedHandle>()
  /** Files being opened: nobody opens one beside that, for it may hang. */
  readonly #opening = new Map<CacheEntry, Promise<SharedHandle | undefined>>()
  #open = 0

  constructor (options: ReaderFilesOptions) {
    this.#options = options
  }

  /** Files that are open, until they are closed. */
  get open (): number { return this.#open }

  /** The file of an entry with one more reader; undefined when it cannot be had. */
  async join (entry: CacheEntry): Promise<SharedHandle | undefined> {
    for (let other = this.#opening.get(entry); other !== undefined; other = this.#opening.get(entry)) {
      // One that was purged meanwhile still has its file, for those who hold it.
      if (await other === undefined && !entry.indexed) return undefined
    }
    const shared = this.#files.get(entry)
    if (shared !== undefined) {
      shared.readers++
      return shared
    }
    const opening = this.#openFirst(entry)
    this.#opening.set(entry, opening.finally(() => { this.#opening.delete(entry) }))
    return await opening
  }

  /** One reader less; resolves, with the last one when the file is closed. */
  async leave (entry: CacheEntry, file: SharedHandle): Promise<void> {
    if (--file.readers > 0) return
    this.#files.delete(entry)
    await this.#close(file.handle)
  }

  /** Never rejects. */
  async #openFirst (entry: CacheEntry): Promise<SharedHandle | undefined> {
    const { disk, mayOpen, fileOf, invalid, mismatch } = this.#options
    const may = mayOpen()
    if (may !== true && !await may) return undefined
    try {
      const handle = await disk.run('open', () => disk.fs.open(fileOf(entry), 'r'))
      this.#open++
      if (this.#sizeOf(handle) === entry.size) {
        const file = { handle, readers: 1 }
        this.#files.set(entry, file)
        return file
      }
      mismatch()
      invalid(entry)
      void this.#close(handle)
    } catch (error) {
      // A lack of descriptors or threads says nothing about the file: the object stays and this request goes to the origin.
      if (!isLocalLack(error)) invalid(entry)
    }
    return undefined
  }

  async #close (handle: OpenFile): Promise<void> {
    await handle.close().catch(() => {})
    this.#open--
  }

  #sizeOf (handle: OpenFile): number | undefined {
    try {
      return this.#options.disk.fs.sizeOf(handle)
    } catch {
      return undefined
    }
  }
}
