import type { ClientPlatform } from './platform.ts'

const followers = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls back once when the signal aborts; the returned function takes that back. A signal gets one listener however many
 * follow it: a page aborts hundreds of requests with one signal, and Node takes more than ten listeners for a leak.
 */
export function onAbort (signal: AbortSignal, callback: () => void): () => void {
  let known = followers.get(signal)
  if (known === undefined) {
    const all = new Set<() => void>()
    followers.set(signal, all)
    signal.addEventListener('abort', () => { for (const each of [...all]) each() }, { once: true })
    known = all
  }
  const all = known
  // A function of its own, so that the same callback may follow twice.
  const entry = (): void => callback()
  all.add(entry)
  return () => { all.delete(entry) }
}

/** Settles like `promise`, or rejects with the signal's reason, whichever is first. */
export async function abortable<T> (promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let unfollow = (): void => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    if (signal.aborted) stop()
    else unfollow = onAbort(signal, stop)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    unfollow()
  }
}

/** Waits `ms`; rejects with the signal's reason when it aborts first. */
export async function delay (ms: number, signal: AbortSignal, after: ClientPlatform['after']): Promise<void> {
  let cancel = (): void => {}
  try {
    await abortable(new Promise<void>(resolve => { cancel = after(ms, resolve) }), signal)
  } finally {
    cancel()
  }
}

/** An abort signal of its own that also follows another one; `stop` lets go of that. */
export interface LinkedAbort {
  readonly signal: AbortSignal
  abort (reason: unknown): void
  stop (): void
}

/** `AbortSignal.any` is missing in browsers before 2024 and leaks in early Node 20. */
export function linkedAbort (...parents: ReadonlyArray<AbortSignal | undefined>): LinkedAbort {
  const controller = new AbortController()
  const undo: Array<() => void> = []
  for (const parent of parents) {
    if (parent === undefined) continue
    const follow = (): void => controller.abort(parent.reason)
    if (parent.aborted) follow()
    else undo.push(onAbort(parent, follow))
  }
  return {
    signal: controller.signal,
    abort: reason => controller.abort(reason),
    stop: () => { for (const step of undo) step() }
  }
}

/** First pause of a retry, milliseconds: about one round trip within a city plus the relay's work. */
const BASE_MS = 50
/** Longest pause: the gateway is back within 2 s of a crash. */
const CAP_MS = 2000

/** Pause before retry `attempt` (1, 2, …), milliseconds: doubling, capped, between half and all of it at random. */
export function backoffMs (attempt: number, random: number): number {
  const full = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt - 1, 20))
  return full / 2 + random * full / 2
}

/** Those who wait for a turn, in order. */
export class WaitingLine {
  readonly #waiting = new Set<() => void>()

  get size (): number { return this.#waiting.size }

  /**
   * Resolves with the turn; rejects with the signal's reason when it aborts first.
   * @param pass called when the signal aborts just after the turn was given, so that somebody else gets it
   */
  async wait (signal: AbortSignal, pass: () => void): Promise<void> {
    let wake = (): void => {}
    const turn = new Promise<void>(resolve => { wake = resolve })
    this.#waiting.add(wake)
    try {
      await abortable(turn, signal)
    } catch (error) {
      if (!this.#waiting.delete(wake)) pass()
      throw error
    }
  }

  /** Gives the first in line a turn. @returns whether there was one */
  next (): boolean {
    const [wake] = this.#waiting
    if (wake === undefined) return false
    this.#waiting.delete(wake)
    wake()
    return true
  }
}
