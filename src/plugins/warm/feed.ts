import type { Clock, Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import type { RecentItem } from './recent.ts'
import type { FeedState } from './warm-state.ts'

/** What the feed says; undefined when it is what it was at the time of the `etag`. */
export type FeedAnswer = { readonly items: readonly RecentItem[], readonly etag: string | null } | undefined

export type FeedOutcome = 'changed' | 'unchanged' | 'failed'

export interface WarmFeedOptions {
  readonly url: string
  readonly intervalMs: number
  /** Videos that were published earlier are none of ours, ms. */
  readonly maxAgeMs: number
  /** @throws RelayError; the reason of the signal */
  readonly ask: (etag: string | null, signal: AbortSignal) => Promise<FeedAnswer>
  /** Whether the videos of an earlier answer still wait for their turn; until they do not, nothing is asked. */
  readonly behind: () => boolean
  /**
   * Warms these, if there are any, and keeps what the feed had.
   * @throws RelayError RELAY_ERR_JOBS_BUSY
   */
  readonly take: (cids: readonly string[], state: FeedState) => Promise<void>
  readonly clock: Pick<Clock, 'now'>
  readonly timers: Timers
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: { polled: (outcome: FeedOutcome, videos: number) => void }
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Longest time between two questions to a feed that fails, ms. */
export const MAX_BACKOFF_MS = 3_600_000
/** How far the time between two questions may be off, so that relays which started together do not ask together. */
const JITTER = 0.1

/** Asks a super-node again and again what is new, and has that warmed. What was in the answer before is not new. */
export class WarmFeed {
  readonly #options: WarmFeedOptions
  readonly #ending = new AbortController()
  #state: FeedState | undefined
  #failures = 0
  #cancel: (() => void) | undefined
  #polling: Promise<void> | undefined

  /** @param kept what an earlier run of the relay has kept; of another URL it is nothing */
  constructor (options: WarmFeedOptions, kept: FeedState | null) {
    this.#options = options
    this.#state = kept?.url === options.url ? kept : undefined
  }

  /** Asks now, and then again and again. */
  start (): void {
    this.#after(0)
  }

  async close (): Promise<void> {
    this.#cancel?.()
    this.#ending.abort(new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping'))
    await this.#polling
  }

  /** Asks once. Never rejects. @returns ms until the next time */
  async poll (): Promise<number> {
    const { ask, behind, observer, log, intervalMs, random } = this.#options
    try {
      if (!behind()) {
        const answer = await ask(this.#state?.etag ?? null, this.#ending.signal)
        const videos = answer === undefined ? 0 : await this.#take(answer)
        observer.polled(answer === undefined ? 'unchanged' : 'changed', videos)
        if (this.#failures > 0) log('info', 'feed can be read again', {})
        this.#failures = 0
      }
    } catch (error) {
      if (this.#ending.signal.aborted) return 0
      observer.polled('failed', 0)
      if (this.#failures++ === 0) log('warn', 'feed cannot be read, it is asked less often until it can', { reason: error instanceof Error ? error.message : String(error) })
    }
    const pause = Math.max(intervalMs, Math.min(MAX_BACKOFF_MS, intervalMs * 2 ** this.#failures))
    return pause * (1 - JITTER + 2 * JITTER * random())
  }

  async #take ({ items, etag }: NonNullable<FeedAnswer>): Promise<number> {
    const { url, maxAgeMs, clock, take } = this.#options
    const before = new Set(this.#state?.cids)
    const since = clock.now() - maxAgeMs
    const fresh = new Set(items.filter(({ cid, publishedAt }) => !before.has(cid) && publishedAt >= since).map(({ cid }) => cid))
    const state: FeedState = { url, etag, cids: [...new Set(items.map(({ cid }) => cid))] }
    // What could not be queued is new again the next time.
    await take([...fresh], state)
    this.#state = state
    return fresh.size
  }

  #after (ms: number): void {
    this.#cancel = this.#options.timers.after(ms, () => {
      this.#polling = this.poll().then(next => { if (!this.#ending.signal.aborted) this.#after(next) })
    })
  }
}
