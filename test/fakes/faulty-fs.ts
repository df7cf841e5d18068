import * as nodeFs from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { systemFiles, type FileSystem } from '../../src/storage/disk-files.ts'

export type FsOperation = 'open' | 'create' | 'rename' | 'unlink' | 'mkdir' | 'readdir' | 'stat' | 'read' | 'write' | 'datasync' | 'fstat' | 'close'

/** What becomes of one operation: undefined lets it happen, a code fails it, a number of bytes cuts a read or write short. */
export type Fate = string | number | undefined

export interface FaultyFs {
  readonly fs: FileSystem
  /** Decides the fate of each operation; replaced at will. May wait first. */
  decide: (operation: FsOperation, path: string) => Fate | Promise<Fate>
  /** Operations begun so far. */
  readonly counts: Map<FsOperation, number>
  /** Most operations of a kind under way at the same time. */
  readonly peaks: Map<FsOperation, number>
  /** Handles open now. */
  openHandles: number
  /** What the disk says it has free; the truth without it. */
  freeBytes: (() => number) | undefined
}

function systemError (code: string, operation: string, path: string): Error {
  return Object.assign(new Error(`${code}: injected, ${operation} '${path}'`), { code, syscall: operation, path })
}

/** The real file system with errors on demand. */
export function faultyFs (): FaultyFs {
  const running = new Map<FsOperation, number>()
  const run = async <T>(operation: FsOperation, path: string, work: (fate: number | undefined) => Promise<T>): Promise<T> => {
    faulty.counts.set(operation, (faulty.counts.get(operation) ?? 0) + 1)
    const now = (running.get(operation) ?? 0) + 1
    running.set(operation, now)
    faulty.peaks.set(operation, Math.max(now, faulty.peaks.get(operation) ?? 0))
    try {
      const fate = await faulty.decide(operation, path)
      if (typeof fate === 'string') throw systemError(fate, operation, path)
      return await work(fate)
    } finally {
      running.set(operation, (running.get(operation) ?? 1) - 1)
    }
  }
  const wrap = (handle: FileHandle, path: string): FileHandle => {
    faulty.openHandles++
    const overrides: Record<string, unknown> = {
      read: async (buffer: Buffer, offset: number, length: number, position: number) =>
        await run('read', path, async most => await handle.read(buffer, offset, Math.min(length, most ?? length), position)),
      writev: async (chunks: readonly Uint8Array[], position: number) => await run('write', path, async most => {
        if (most === undefined) return await handle.writev(chunks, position)
        const all = Buffer.concat(chunks)
        return await handle.write(all, 0, Math.min(all.length, most), position)
      }),
      datasync: async () => { await run('datasync', path, async () => { await handle.datasync() }) },
      close: async () => {
        faulty.openHandles--
        // A close that reports an error has closed nevertheless.
        await handle.close()
        await run('close', path, async () => {})
      }
    }
    return new Proxy(handle, {
      get: (target, name): unknown => {
        if (typeof name === 'string' && name in overrides) return overrides[name]
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      }
    })
  }
  const fs: unknown = {
    open: async (path: string, flags: string, mode?: number) => await run(flags === 'r' ? 'open' : 'create', path, async () => wrap(await nodeFs.open(path, flags, mode), path)),
    rename: async (from: string, to: string) => { await run('rename', from, async () => { await nodeFs.rename(from, to) }) },
    unlink: async (path: string) => { await run('unlink', path, async () => { await nodeFs.unlink(path) }) },
    mkdir: async (path: string, options: { recursive: boolean }) => await run('mkdir', path, async () => await nodeFs.mkdir(path, options)),
    syncDirectory: async (path: string) => { await run('datasync', path, async () => { await systemFiles.syncDirectory(path) }) },
    readdir: async (path: string) => await run('readdir', path, async () => await nodeFs.readdir(path)),
    stat: async (path: string) => await run('stat', path, async () => await nodeFs.stat(path)),
    statfs: async (path: string) => faulty.freeBytes === undefined ? await nodeFs.statfs(path) : { bavail: faulty.freeBytes(), bsize: 1 },
    lstat: async (path: string) => await run('stat', path, async () => await nodeFs.lstat(path)),
    sizeOf: (handle: FileHandle) => {
      const fate = faulty.decide('fstat', '')
      if (typeof fate === 'string') throw systemError(fate, 'fstat', '')
      return systemFiles.sizeOf(handle)
    }
  }
  const faulty: FaultyFs = { fs: fs as FileSystem, decide: () => undefined, counts: new Map(), peaks: new Map(), openHandles: 0, freeBytes: undefined }
  return faulty
}
