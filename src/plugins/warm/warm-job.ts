import { abortable } from '../../base/abortable.ts'
import type { Timers } from '../../base/clock.ts'
import { Changes } from '../../base/changes.ts'
import { deferred } from '../../base/deferred.ts'
import { RelayError, type ErrorCode } from '../../base/errors.ts'
import { cidOfId, keyId, type ObjectPart, type ShardKey } from '../../protocol/shard-key.ts'
import type { JobWork } from '../jobs/jobs.ts'
import { WarmList, type WarmCounts, type WarmedVideos, type WarmOutcome, type WarmVideo } from './warm-list.ts'
import { WarmRate } from './warm-rate.ts'

/** Who asked for a job. */
export type WarmSource = 'operator' | 'feed'

/** What a job waits for: less load, the end of a drain, the index of the cache after a start, or super-nodes that deliver nothing. */
export type WarmPause = 'load' | 'drain' | 'start' | 'super-nodes'

/** An object that could not be brought in. */
export interface WarmFailure {
  readonly cid: string
  readonly part: ObjectPart
  readonly code: ErrorCode
}

/** What operators see of a job. */
export interface WarmProgress {
  readonly type: 'warm'
  readonly source: WarmSource
  readonly videos: number
  readonly concurrency: number
  /** Why it stands still; null while it does not. */
  readonly waitsFor: WarmPause | null
  readonly counts: WarmCounts
  /** Fetched. */
  readonly bytes: number
  readonly bytesPerSecond: number
  /** Null while that cannot be told. */
  readonly etaSeconds: number | null
  /** The first of those that failed, at most {@link MAX_FAILURES}. */
  readonly failures: WarmFailure[]
}

/** What a job needs of the relay. */
export interface WarmRelay {
  readonly cached: (key: ShardKey) => boolean
  /**
   * Brings an object in.
   * @returns its size, whether it was fetched for the job, and whether the cache keeps it
   * @throws RelayError; the reason of the signal
   */
  readonly bring: (key: ShardKey, signal: AbortSignal) => Promise<{ readonly bytes: number, readonly fetched: boolean, readonly stored: boolean }>
  /** Why nothing may be brought in now; undefined when it may. */
  readonly holds: () => Exclude<WarmPause, 'super-nodes'> | undefined
  /** Forgets that nobody had these a moment ago. @param matches ids of keys */
  readonly forgetMissing: (matches: (id: string) => boolean) => void
  /** Adds tags to those of a CID of which there is an object. */
  readonly tag: (cid: string, tags: readonly string[]) => void
  readonly timers: Timers
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: WarmObserver
}

export interface WarmObserver {
  settled (outcome: WarmOutcome, bytes: number): void
}

/** What a job begins with; what is left of one is the same. */
export interface WarmStart {
  readonly source: WarmSource
  /** Given to the CIDs of what is brought in. */
  readonly tags?: readonly string[]
  readonly concurrency: number
  readonly videos: readonly WarmVideo[]
  readonly through?: WarmedVideos
  readonly bytes?: number
  readonly failures?: readonly WarmFailure[]
}

/** Failed objects that are named. */
export const MAX_FAILURES = 20
/** Time until load is looked at again, ms. */
export const LOOK_MS = 500
/** Pause after a failure that may pass, ms; it doubles with each in a row, and ends with the first object that comes. */
export const PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000
/** Longest pause that a super-node may ask for, ms. */
const MAX_ASKED_MS = 300_000
/** How often an object is tried whose failure may pass; between two times all others have their turn. With the pauses that is about eight minutes for a single video. */
export const TRIES = 8

/** It says nothing of the object: the relay has no room for it now. */
const NO_ROOM: ReadonlySet<ErrorCode> = new Set(['RELAY_ERR_OVERLOADED', 'RELAY_ERR_FILLS_BUSY', 'RELAY_ERR_LOCAL_LACK', 'RELAY_ERR_STOPPING'])

/** Brings objects into the cache, a few at the same time, behind everything that viewers want; it outlives the relay. */
export class WarmJob implements JobWork {
  readonly type = 'warm'
  readonly subject = undefined
  readonly source: WarmSource
  readonly tags: readonly string[]
  readonly concurrency: number
  readonly #relay: WarmRelay
  readonly #list: WarmList
  readonly #changes = new Changes()
  readonly #tries = new Map<string, number>()
  #failures: readonly WarmFailure[]
  #bytes: number
  #rate: WarmRate | undefined
  #waitsFor: WarmPause | undefined
  /** Failures in a row, and until when the next try waits, monotonic ms. */
  #inVain = 0
  #notBefore = -Infinity

  constructor ({ source, tags = [], concurrency, videos, through, bytes = 0, failures = [] }: WarmStart, relay: WarmRelay) {
    this.source = source
    this.tags = tags
    this.concurrency = concurrency
    this.#relay = relay
    this.#list = new WarmList(videos, through)
    this.#bytes = bytes
    this.#failures = failures
  }

  /** Videos that are not through. */
  get listed (): number { return this.#list.listed }
  get counts (): WarmCounts { return this.#list.counts }
  get waiting (): boolean { return this.#waitsFor !== undefined }

  /** Whether a video is not through. */
  lists (cid: string): boolean {
    return this.#list.has(cid)
  }

  report (): WarmProgress {
    const { counts, videos } = this.#list
    const { bytes, objects } = this.#rate?.read(this.#relay.timers.now()) ?? { bytes: 0, objects: 0 }
    return {
      type: this.type,
      source: this.source,
      videos,
      concurrency: this.concurrency,
      waitsFor: this.#waitsFor ?? null,
      counts,
      bytes: this.#bytes,
      bytesPerSecond: Math.round(bytes),
      etaSeconds: objects > 0 ? Math.ceil(counts.pending / objects) : null,
      failures: [...this.#failures]
    }
  }

  /** What is left, and what was done, to begin a job with after a restart. */
  snapshot (): Required<WarmStart> {
    return { source: this.source, tags: this.tags, concurrency: this.concurrency, videos: this.#list.snapshot(), through: this.#list.through, bytes: this.#bytes, failures: this.#failures }
  }

  retry (): boolean {
    if (this.#list.retry() > 0) this.#forgetFailures()
    this.#changes.tell()
    return this.#list.counts.pending > 0
  }

  async run (signal: AbortSignal, changed: () => void): Promise<string | null> {
    const { timers } = this.#relay
    this.#rate = new WarmRate(timers.now())
    this.#inVain = 0
    this.#notBefore = -Infinity
    try {
      await Promise.all(Array.from({ length: this.concurrency }, async () => { await this.#work(signal, changed) }))
    } finally {
      this.#rate = undefined
      this.#waitsFor = undefined
    }
    if (signal.aborted) throw signal.reason
    const { failed, total } = this.#list.counts
    return failed === 0 ? null : `${failed} of ${total} objects could not be brought in`
  }

  /** One after the other, until nothing is pending, also what others put back. */
  async #work (signal: AbortSignal, changed: () => void): Promise<void> {
    while (!signal.aborted && this.#list.counts.pending > 0) {
      if (await this.#pause(signal, changed) || signal.aborted) continue
      const key = this.#list.take()
      if (key === undefined) {
        await this.#changes.next(signal)
        continue
      }
      await this.#warm(key, signal)
      this.#changes.tell()
      changed()
    }
  }

  /** @returns whether it has waited, so that everything has to be looked at again */
  async #pause (signal: AbortSignal, changed: () => void): Promise<boolean> {
    const { timers, holds } = this.#relay
    const hold = holds()
    const wait = hold === undefined ? this.#notBefore - timers.now() : LOOK_MS
    const waitsFor = hold ?? (wait > 0 ? 'super-nodes' : undefined)
    if (waitsFor !== this.#waitsFor) {
      this.#waitsFor = waitsFor
      changed()
    }
    if (waitsFor === undefined) return false
    await sleep(Math.min(wait, MAX_ASKED_MS), timers, signal)
    return true
  }

  async #warm (key: ShardKey, signal: AbortSignal): Promise<void> {
    const { cached, bring } = this.#relay
    if (cached(key)) {
      this.#settle(key, 'present', 0)
      return
    }
    try {
      const { bytes, fetched, stored } = await bring(key, signal)
      this.#inVain = 0
      if (!stored) this.#fail(key, 'RELAY_ERR_NOT_CACHED')
      else this.#settle(key, fetched ? 'fetched' : 'present', fetched ? bytes : 0)
    } catch (error) {
      if (signal.aborted) this.#list.putBack(key)
      else this.#failed(key, error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'unexpected error', { cause: error }))
    }
  }

  #failed (key: ShardKey, { code, retryable, retryAfterSeconds = 0 }: RelayError): void {
    if (!retryable) return this.#fail(key, code)
    const { timers, random } = this.#relay
    const now = timers.now()
    // Those that were under way together fail together: that is one time.
    if (now >= this.#notBefore) {
      const pause = Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** this.#inVain)
      this.#inVain++
      this.#notBefore = now + Math.max(pause * (0.75 + random() / 2), Math.min(retryAfterSeconds * 1_000, MAX_ASKED_MS))
    }
    const id = keyId(key)
    const tries = (this.#tries.get(id) ?? 0) + (NO_ROOM.has(code) ? 0 : 1)
    if (tries >= TRIES) return this.#fail(key, code)
    this.#tries.set(id, tries)
    this.#list.putBack(key)
  }

  #fail (key: ShardKey, code: ErrorCode): void {
    if (this.#failures.length < MAX_FAILURES) this.#failures = [...this.#failures, { ...key, code }]
    this.#settle(key, 'failed', 0)
  }

  #settle (key: ShardKey, outcome: WarmOutcome, bytes: number): void {
    const { timers, observer } = this.#relay
    this.#tries.delete(keyId(key))
    this.#bytes += bytes
    this.#rate?.add(bytes, timers.now())
    this.#list.settle(key, outcome)
    observer.settled(outcome, bytes)
  }

  #forgetFailures (): void {
    this.#failures = []
    const again = new Set(this.#list.snapshot().map(({ cid }) => cid))
    this.#relay.forgetMissing(id => again.has(cidOfId(id)))
  }
}

/** Resolves after `ms`, or when the signal aborts. */
async function sleep (ms: number, timers: Timers, signal: AbortSignal): Promise<void> {
  const over = deferred<undefined>()
  const cancel = timers.after(ms, () => { over.resolve(undefined) })
  await abortable(over.promise, signal).catch(() => {})
  cancel()
}
