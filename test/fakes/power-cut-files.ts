import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { systemFiles, type FileSystem, type OpenFile } from '../../src/storage/disk-files.ts'

/** Bytes of a file: what is on the disk itself, and writes that the system still has. */
interface Inode {
  synced: Buffer
  unsynced: { readonly at: number, readonly bytes: Buffer }[]
}

/** The real file system, which remembers what a power cut would leave of it: unsynced writes may be lost, each for itself, and so may names that were given or taken away. */
export class PowerCutFiles implements Pick<FileSystem, 'open' | 'rename' | 'unlink' | 'mkdir' | 'syncDirectory'> {
  /** What a name may stand for after a cut: first what is on the disk, last what everybody sees. */
  readonly #names = new Map<string, (Inode | undefined)[]>()
  /** Directories, and whether their own name is on the disk. */
  readonly #directories = new Map<string, boolean>()

  /** As a file system for the cache. */
  get fs (): FileSystem {
    const { open, rename, unlink, mkdir, syncDirectory } = this
    return { ...systemFiles, open, rename, unlink, mkdir, syncDirectory }
  }

  /** So much time passes that the system has written everything. */
  settle (): void {
    for (const [path, states] of this.#names) this.#names.set(path, states.slice(-1))
    for (const path of this.#directories.keys()) this.#directories.set(path, true)
    for (const [inode] of this.#names.values()) if (inode !== undefined) this.#sync(inode, inode.unsynced.length)
  }

  readonly open: FileSystem['open'] = async (path, flags, mode) => {
    const handle = await systemFiles.open(path, flags, mode)
    const found = this.#names.get(path)?.at(-1)
    const inode: Inode = found !== undefined && flags !== 'w' ? found : { synced: Buffer.alloc(0), unsynced: [] }
    if (inode !== found) this.#give(path, inode)
    return this.#watched(handle, inode)
  }

  readonly rename: FileSystem['rename'] = async (from, to) => {
    await systemFiles.rename(from, to)
    const inode = this.#names.get(from)?.at(-1)
    this.#give(from, undefined)
    this.#give(to, inode)
  }

  readonly unlink: FileSystem['unlink'] = async path => {
    await systemFiles.unlink(path)
    this.#give(path, undefined)
  }

  readonly mkdir: FileSystem['mkdir'] = async (path, options) => {
    const first = await systemFiles.mkdir(path, options)
    const topmost = options?.recursive === true ? first : path
    if (typeof topmost !== 'string') return first
    for (let made = path; made.length >= topmost.length; made = dirname(made)) this.#directories.set(made, false)
    return first
  }

  readonly syncDirectory: FileSystem['syncDirectory'] = async directory => {
    await systemFiles.syncDirectory(directory)
    for (const [path, states] of this.#names) if (dirname(path) === directory) this.#names.set(path, states.slice(-1))
    for (const path of this.#directories.keys()) if (dirname(path) === directory) this.#directories.set(path, true)
  }

  /** Writes what is left of everything below `root` to `target`. @param random in [0, 1); whatever is not on the disk is lost where it gives less than a half */
  cut (root: string, target: string, random: () => number): void {
    const lost = new Set<string>()
    for (const [path, durable] of this.#directories) if (!durable && random() < 0.5) lost.add(path)
    const gone = (path: string): boolean => path !== root && (lost.has(path) || gone(dirname(path)))
    for (const path of this.#directories.keys()) if (path.startsWith(root + sep) && !gone(path)) mkdirSync(join(target, relative(root, path)), { recursive: true })
    for (const [path, states] of this.#names) {
      const inode = states[Math.floor(random() * states.length)]
      if (inode !== undefined && path.startsWith(root + sep) && !gone(dirname(path))) writeFileSync(join(target, relative(root, path)), bytesAfter(inode, random))
    }
  }

  #give (path: string, inode: Inode | undefined): void {
    this.#names.set(path, [...this.#names.get(path) ?? [undefined], inode])
  }

  #watched (handle: OpenFile, inode: Inode): OpenFile {
    return {
      fd: handle.fd,
      read: async (buffer, offset, length, position) => await handle.read(buffer, offset, length, position),
      writev: async (chunks, position) => {
        const written = await handle.writev(chunks, position)
        inode.unsynced.push({ at: position, bytes: Buffer.concat(chunks).subarray(0, written.bytesWritten) })
        return written
      },
      datasync: async () => {
        const count = inode.unsynced.length
        await handle.datasync()
        this.#sync(inode, count)
      },
      close: async () => { await handle.close() }
    }
  }

  #sync (inode: Inode, count: number): void {
    for (const write of inode.unsynced.splice(0, count)) inode.synced = patched(inode.synced, write)
  }
}

function patched (bytes: Buffer, { at, bytes: more }: { readonly at: number, readonly bytes: Buffer }): Buffer {
  const grown = Buffer.alloc(Math.max(bytes.length, at + more.length))
  bytes.copy(grown)
  more.copy(grown, at)
  return grown
}

/** The length may be on the disk without the bytes. */
function bytesAfter ({ synced, unsynced }: Inode, random: () => number): Buffer {
  const whole = unsynced.reduce((length, { at, bytes }) => Math.max(length, at + bytes.length), synced.length)
  const length = random() < 0.5 ? synced.length : whole
  const kept = unsynced.filter(() => random() >= 0.5)
  return patched(kept.reduce(patched, synced), { at: whole, bytes: Buffer.alloc(0) }).subarray(0, length)
}
