import { afterArrivals, systemTimers, type Timers } from '../../base/clock.ts'
import { isLocalLack, RelayError } from '../../base/errors.ts'
import { backoff } from './circuit.ts'

export interface HealthChecksOptions {
  /** Time from one result to the next check of a healthy node, ms; ±20 %. */
  readonly intervalMs: number
  /** Longest time a check may take, ms. */
  readonly timeoutMs: number
  /** Pauses of a node whose checks fail. */
  readonly backoff: { readonly initialMs: number, readonly maxMs: number }
  /** In [0, 1). */
  readonly random: () => number
  readonly timers?: Timers
}

/** A node to check. Its callbacks must not throw; none is called after the node was removed. */
export interface HealthTarget {
  readonly id: string
  /** Asks the node; rejects when it is not healthy, or with a local lack, which says nothing. Should end when the signal aborts. */
  check (signal: AbortSignal): Promise<void>
  /** `ms` is how long the check took. */
  passed (ms: number): void
  /** RELAY_ERR_UPSTREAM_TIMEOUT, or what `check` rejected with. */
  failed (error: unknown): void
}

interface WatchedNode {
  readonly target: HealthTarget
  /** Failed checks in a row. */
  failures: number
  /** Cancels the timer of the next check, or of the timeout of the one under way. */
  cancel: () => void
  /** Ends the check under way. */
  abort: AbortController | undefined
  /** When the next check is due, monotonic ms; in the past while one is under way. */
  dueAt: number
}

/** The first checks after the start are spread over this time, ms, so that they do not leave all at the same time. */
const SPREAD_MS = 1_000

/** Share of the interval by which it varies, so that relays do not check in step. */
const JITTER = 0.2

/** Checks nodes again and again: one check of a node at a time, and none before the one before has really ended. */
export class HealthChecks {
  readonly #options: HealthChecksOptions
  readonly #timers: Timers
  readonly #watched = new Map<string, WatchedNode>()
  #closed = false

  constructor (options: HealthChecksOptions) {
    this.#options = options
    this.#timers = options.timers ?? systemTimers
  }

  /** Nodes that are watched. */
  get size (): number { return this.#watched.size }

  /** Begins to check a node; one with the same id is replaced. Does nothing once closed. */
  add (target: HealthTarget): void {
    if (this.#closed) return
    this.remove(target.id)
    const watched: WatchedNode = { target, failures: 0, cancel: () => {}, abort: undefined, dueAt: 0 }
    this.#watched.set(target.id, watched)
    this.#schedule(watched, this.#options.random() * Math.min(SPREAD_MS, this.#options.intervalMs))
  }

  /** Ends the checks of a node; one under way is aborted and its result ignored. */
  remove (id: string): void {
    const watched = this.#watched.get(id)
    if (watched === undefined) return
    this.#watched.delete(id)
    watched.cancel()
    watched.abort?.abort(new RelayError('RELAY_ERR_STOPPING', 'the super-node is not watched any more'))
  }

  /** Checks a node in `ms` at the latest: after a failed request nobody wants to wait for the interval. */
  hasten (id: string, ms: number): void {
    const watched = this.#watched.get(id)
    if (watched === undefined || watched.dueAt <= this.#timers.now() + ms) return
    watched.cancel()
    this.#schedule(watched, ms)
  }

  /** Ends all checks; no timer is left. */
  close (): void {
    this.#closed = true
    for (const id of [...this.#watched.keys()]) this.remove(id)
  }

  #schedule (watched: WatchedNode, ms: number): void {
    watched.dueAt = this.#timers.now() + ms
    watched.cancel = this.#timers.after(ms, () => { void this.#check(watched) })
  }

  async #check (watched: WatchedNode): Promise<void> {
    const { target } = watched
    const { timeoutMs } = this.#options
    const begun = this.#timers.now()
    const abort = new AbortController()
    watched.abort = abort
    watched.cancel = afterArrivals(this.#timers, timeoutMs, () => {
      abort.abort(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `super-node ${target.id} did not answer its health check in ${timeoutMs} ms`))
    })
    let failure: { readonly error: unknown } | undefined
    // The failure counts from the timeout on, even if the check goes on in spite of its signal.
    const timedOut = (): void => {
      failure = { error: abort.signal.reason }
      this.#report(watched, failure.error)
    }
    abort.signal.addEventListener('abort', timedOut, { once: true })
    try {
      await target.check(abort.signal)
    } catch (error) {
      if (failure === undefined) {
        failure = { error }
        this.#report(watched, error)
      }
    }
    abort.signal.removeEventListener('abort', timedOut)
    watched.cancel()
    watched.abort = undefined
    // Removing the node aborts its check, which is a failure nobody hears of.
    if (failure === undefined) watched.failures = 0
    const ms = this.#timers.now() - begun
    // A callback may have removed the node.
    if (this.#watches(watched)) this.#schedule(watched, this.#pause(watched.failures))
    // After that, so that the callback may hasten the next check.
    if (failure === undefined) target.passed(ms)
  }

  #report (watched: WatchedNode, error: unknown): void {
    if (!this.#watches(watched) || isLocalLack(error)) return
    watched.failures++
    watched.target.failed(error)
  }

  #watches (watched: WatchedNode): boolean {
    return this.#watched.get(watched.target.id) === watched
  }

  /** ms until the next check. */
  #pause (failures: number): number {
    const { intervalMs, backoff: policy, random } = this.#options
    return failures === 0 ? intervalMs * (1 - JITTER + 2 * JITTER * random()) : backoff(failures - 1, random(), policy)
  }
}
