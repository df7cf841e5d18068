import type { CacheObserver } from '../../storage/disk-files.ts'

/** A trouble that lasts is told again after so long, ms. */
export const REPEAT_MS = 60_000
/** Kinds of trouble that are told apart; there are seven operations and a handful of codes that a disk fails with. */
export const MAX_KINDS = 64

export interface StoreWatchOptions {
  /** Monotonic ms. */
  readonly monotonic: () => number
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

interface Trouble {
  toldAt: number
  /** Since it was told. */
  times: number
}

/** An observer that also tells the log what goes wrong on the disk: the first time, once a minute while it lasts, and when objects are stored again. */
export function watchStore (observer: CacheObserver, { monotonic, log }: StoreWatchOptions): CacheObserver {
  const troubles = new Map<string, Trouble>()
  let notStored = false
  const tell = (kind: string, message: string, fields: Record<string, unknown>): void => {
    const now = monotonic()
    const before = troubles.get(kind)
    if (before !== undefined && now - before.toldAt < REPEAT_MS) {
      before.times++
      return
    }
    if (before === undefined && troubles.size >= MAX_KINDS) return
    log('warn', message, { ...fields, times: (before?.times ?? 0) + 1 })
    troubles.set(kind, { toldAt: now, times: 0 })
  }
  return {
    diskIo: (...args) => { observer.diskIo(...args) },
    removed: (...args) => { observer.removed(...args) },
    diskError: (operation, code) => {
      observer.diskError(operation, code)
      tell(`${operation} ${code}`, operation === 'index' ? 'cache index cannot be written' : 'cache disk fails', { operation, code })
    },
    storeBypassed: reason => {
      observer.storeBypassed(reason)
      notStored = true
      tell(reason, 'object is served without being stored', { reason })
    },
    stored: () => {
      observer.stored()
      if (!notStored) return
      notStored = false
      log('info', 'objects are stored again', {})
    }
  }
}
