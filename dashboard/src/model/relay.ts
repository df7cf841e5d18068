import { Api, type Ask } from './api.ts'
import { History } from './history.ts'
import { Poll, type PageTimers } from './poll.ts'
import type { SummaryAnswer } from './wire.ts'

/** From one summary to the next, ms. */
const SUMMARY_MS = 1_000
/** Silence after which what is shown is called old, ms. */
export const OLD_MS = 4_000

/** How the page stands to its relay. */
export type Contact = 'asking' | 'live' | 'late' | 'lost' | 'locked' | 'paused'

/** What the page knows of its relay, and asks it every second. */
export class Relay {
  readonly api: Api
  readonly history = new History()
  readonly timers: PageTimers
  readonly #poll: Poll<SummaryAnswer>
  readonly #listeners = new Set<() => void>()
  #paused = false
  #hidden = false
  #locked = false
  /** Whether there was an answer since it was asked anew. */
  #fresh = false
  #firstVersion: string | undefined

  constructor (ask: Ask, timers: PageTimers) {
    this.timers = timers
    this.api = new Api(ask)
    this.#poll = new Poll({
      ask: async signal => await this.api.get<SummaryAnswer>('/summary', signal),
      everyMs: SUMMARY_MS,
      timers,
      took: (summary, at) => {
        this.#locked = false
        this.#fresh = true
        this.#firstVersion ??= summary.version
        this.history.take(summary, at)
      },
      changed: () => {
        if (this.#poll.error?.status === 401) this.#locked = true
        this.#tell()
      }
    })
  }

  get summary (): SummaryAnswer | undefined { return this.#poll.value }
  get answeredAt (): number | undefined { return this.#poll.answeredAt }
  get error () { return this.#poll.error }
  /** Whether a token is needed, or another one. */
  get locked (): boolean { return this.#locked }
  get paused (): boolean { return this.#paused }
  /** Whether questions may be asked now. */
  get active (): boolean { return !this.#paused && !this.#hidden && !this.#locked }
  /** Whether the relay has another version than the one that this page came with. */
  get replaced (): boolean { return this.#firstVersion !== undefined && this.summary?.version !== this.#firstVersion }

  get contact (): Contact {
    if (this.#locked) return 'locked'
    if (this.#paused) return 'paused'
    if (this.#poll.error !== undefined) return 'lost'
    if (this.#poll.late) return 'late'
    return this.#fresh ? 'live' : 'asking'
  }

  /** Called after every change; returns the end of that. */
  onChange (listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  start (): void { this.#go() }

  /** Somebody wants to read in peace, or on. */
  pause (paused: boolean): void {
    this.#paused = paused
    this.#go()
  }

  /** Nobody sees the page, or somebody does again. */
  hide (hidden: boolean): void {
    this.#hidden = hidden
    this.#go()
  }

  /** @throws ApiError when it is no token */
  unlock (token: string): void {
    this.api.use(token)
    this.#locked = false
    this.#go()
  }

  /** A request was refused for want of a token. */
  lock (): void {
    this.#locked = true
    this.#go()
  }

  #go (): void {
    this.#fresh = false
    if (this.active) this.#poll.start()
    else this.#poll.stop()
    this.#tell()
  }

  #tell (): void {
    for (const listener of this.#listeners) listener()
  }
}
