import { dirname, relative, sep } from 'node:path'
import type { FileSystem, OpenFile } from '../../storage/disk-files.ts'

/** Every kind of change that a cache makes on its disk while it is open: a kill before or after any of them must leave a cache that is right. */
export const WRITE_POINTS = [
  'spool-open', 'spool-write', 'spool-sync', 'spool-unlink',
  'body-rename', 'body-unlink',
  'partial-open', 'partial-write', 'partial-sync', 'partial-rename', 'partial-unlink',
  'record-open', 'record-write', 'record-sync', 'record-rename', 'record-unlink',
  'directory-make', 'directory-sync',
  'index-write'
] as const

export type WritePoint = typeof WRITE_POINTS[number]

/** Told synchronously when a point is about to be passed, and when it has been; also where what was tried has failed. */
export type WriteObserver = (point: WritePoint, when: 'before' | 'after') => void

const RECORD = /\.json(?:\.new)?$/

/** What a file below the shard directory is. */
function kindOf (root: string, path: string): 'spool' | 'body' | 'partial' | 'record' {
  const [first = ''] = relative(root, dirname(path)).split(sep)
  if (first === 'tmp') return 'spool'
  if (first === 'partial') return RECORD.test(path) ? 'record' : 'partial'
  return 'body'
}

/** The change that `operation` makes. @throws Error when it has no name yet, so that none stays unwatched */
function pointOf (kind: string, operation: string): WritePoint {
  const point = WRITE_POINTS.find(one => one === `${kind}-${operation}`)
  if (point === undefined) throw new Error(`${kind}-${operation} is not among the write points`)
  return point
}

/** A file system that tells of every change. @param root directory of the shard files */
export function watchedFiles (fs: FileSystem, root: string, observe: WriteObserver): FileSystem {
  const pass = async <T>(kind: string, operation: string, change: () => Promise<T>): Promise<T> => {
    const point = pointOf(kind, operation)
    observe(point, 'before')
    try {
      return await change()
    } finally {
      observe(point, 'after')
    }
  }
  const watchedFile = (file: OpenFile, kind: string): OpenFile => ({
    fd: file.fd,
    read: async (buffer, offset, length, position) => await file.read(buffer, offset, length, position),
    writev: async (chunks, position) => await pass(kind, 'write', () => file.writev(chunks, position)),
    datasync: async () => { await pass(kind, 'sync', () => file.datasync()) },
    close: async () => { await file.close() }
  })
  return {
    ...fs,
    open: async (path, flags, mode) => {
      if (flags === 'r') return await fs.open(path, flags, mode)
      const kind = kindOf(root, path)
      return watchedFile(await pass(kind, 'open', () => fs.open(path, flags, mode)), kind)
    },
    rename: async (from, to) => { await pass(kindOf(root, to), 'rename', () => fs.rename(from, to)) },
    unlink: async path => { await pass(kindOf(root, path), 'unlink', () => fs.unlink(path)) },
    mkdir: async (path, options) => await pass('directory', 'make', () => fs.mkdir(path, options)),
    syncDirectory: async path => { await pass('directory', 'sync', () => fs.syncDirectory(path)) }
  }
}
