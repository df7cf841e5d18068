import { isPassing } from '../shard-cache/verified-reads.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import type { ScrubFile, ScrubSource } from './scrub.ts'

/** The files of a cache for the scrub: looked at without counting as used, through the same queue to the disk as those of viewers. */
export function scrubSource (cache: Pick<ShardCache, 'disk' | 'reads' | 'ids'>): ScrubSource {
  const { disk, reads } = cache
  const drop = (id: string): void => {
    const entry = disk.peek(id)
    if (entry !== undefined) disk.invalidate(entry)
  }
  return {
    ids: async (after, limit) => await cache.ids({ prefix: '', after, limit }),
    drop,
    open: async (id): Promise<ScrubFile | undefined> => {
      const entry = disk.peek(id)
      if (entry === undefined) return undefined
      const unpin = disk.pin(entry)
      try {
        const handle = await disk.disk.run('open', async () => await disk.disk.fs.open(disk.fileOf(entry), 'r'))
        const close = async (): Promise<void> => {
          await handle.close().catch(() => {})
          unpin()
        }
        if (disk.disk.fs.sizeOf(handle) !== entry.size) {
          await close()
          throw new Error('the file has another size')
        }
        return {
          size: entry.size,
          indexed: () => entry.indexed,
          read: async (into, length, position) => await disk.disk.readInto(handle, into, 0, length, position),
          judge: (sha256, finder) => reads.judge(entry, sha256, finder),
          drop: () => { disk.invalidate(entry) },
          close
        }
      } catch (error) {
        unpin()
        // It was purged while it was being opened.
        if (!isPassing(error) && !entry.indexed) return undefined
        throw error
      }
    }
  }
}
