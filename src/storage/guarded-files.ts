import type { FileSystem, OpenFile } from './disk-files.ts'
import { DiskHangsError, type DiskQueue } from './disk-queue.ts'

/** Memory that an operation may still write to although nobody waits for it. */
const lost = new WeakSet<Buffer>()

/** Whether a buffer must not be used again: a read into it was given up and may end any time. */
export function isLost (buffer: Buffer): boolean {
  return lost.has(buffer)
}

/** An open file behind the queue. */
class GuardedFile implements OpenFile {
  readonly #file: OpenFile
  readonly #queue: DiskQueue
  /** Something of this file was given up and may be under way still. */
  #hangs = false

  constructor (file: OpenFile, queue: DiskQueue) {
    this.#file = file
    this.#queue = queue
  }

  get fd (): number { return this.#file.fd }

  async read (buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return await this.#watched(this.#queue.run('read', () => this.#file.read(buffer, offset, length, position)), buffer)
  }

  async writev (chunks: Uint8Array[], position: number): Promise<{ bytesWritten: number }> {
    return await this.#watched(this.#queue.run('write', () => this.#file.writev(chunks, position)))
  }

  async datasync (): Promise<void> {
    await this.#watched(this.#queue.run('write', () => this.#file.datasync()))
  }

  async close (): Promise<void> {
    // Node closes a file when the last operation on it has ended, which may be never.
    if (this.#hangs) void this.#file.close().catch(() => {})
    else await this.#queue.run('read', () => this.#file.close())
  }

  async #watched<T> (work: Promise<T>, buffer?: Buffer): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (error instanceof DiskHangsError && error.code === 'TIMEOUT') {
        this.#hangs = true
        if (buffer !== undefined) lost.add(buffer)
      }
      throw error
    }
  }
}

/** The file system with nobody waiting for it for ever; what an operation leaves behind that ends late is removed. */
export function guardedFiles (fs: FileSystem, queue: DiskQueue): FileSystem {
  const ignore = (): void => {}
  const unlink = async (path: string): Promise<void> => { await queue.run('write', () => fs.unlink(path)) }
  return {
    open: async (path, flags, mode) => {
      const file = await queue.run(flags === 'r' ? 'read' : 'write', () => fs.open(path, flags, mode), late => {
        void late.close().catch(ignore)
        if (flags !== 'r') unlink(path).catch(ignore)
      })
      return new GuardedFile(file, queue)
    },
    rename: async (from, to) => { await queue.run('write', () => fs.rename(from, to), () => { unlink(to).catch(ignore) }) },
    unlink,
    mkdir: async (path, options) => await queue.run('write', () => fs.mkdir(path, options)),
    readdir: async path => await queue.run('read', () => fs.readdir(path)),
    syncDirectory: async path => { await queue.run('write', () => fs.syncDirectory(path)) },
    stat: async path => await queue.run('read', () => fs.stat(path)),
    lstat: async path => await queue.run('read', () => fs.lstat(path)),
    statfs: async path => await queue.run('read', () => fs.statfs(path)),
    sizeOf: file => fs.sizeOf(file)
  }
}
