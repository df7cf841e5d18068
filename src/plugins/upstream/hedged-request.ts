import type { Clock } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import { Race, type HedgeBudget, type RacePolicy } from './race.ts'

/** How one attempt ended: it won, failed, was given up when another won, or had its time. */
export type AttemptEnd =
  | { readonly how: 'won' | 'lost' | 'deadline', readonly ms: number, readonly hedge: boolean }
  | { readonly how: 'failed', readonly ms: number, readonly hedge: boolean, readonly error: unknown }

export interface HedgedRequest<T> {
  /** For each candidate, best first: how long it may take before the next one is asked beside it, ms. */
  readonly delays: readonly number[]
  readonly ask: (index: number, signal: AbortSignal) => Promise<T>
  /** An answer that came when another had won already. */
  readonly discard: (late: T) => void
  readonly policy: RacePolicy
  readonly budget: HedgeBudget
  readonly clock: Clock
  /** Ends everything, the winner's body included; its reason is thrown. */
  readonly signal: AbortSignal
  /** Asked before each candidate that is asked in the place of one that failed. */
  readonly mayGoOn: () => boolean
  /** Told once for each attempt; must not throw. */
  readonly ended: (index: number, end: AttemptEnd) => void
}

export interface Winner<T> {
  readonly index: number
  readonly answer: T
  /** The answer has been used up: the signal no longer concerns it. */
  readonly release: () => void
}

/** No candidate answered well. */
export class RaceLostError extends Error {
  override readonly name = 'RaceLostError'
  readonly why: 'failed' | 'deadline'

  constructor (why: 'failed' | 'deadline') {
    super(why === 'failed' ? 'every candidate failed' : 'no candidate answered in time')
    this.why = why
  }
}

interface HedgedAttempt {
  readonly abort: AbortController
  readonly askedAt: number
  readonly hedge: boolean
}

/**
 * Runs a {@link Race}: the first good answer wins, the requests of the others are aborted.
 * @throws RaceLostError when nobody answers well in time; the signal's reason when it is aborted
 */
export async function hedgedRequest<T> (request: HedgedRequest<T>): Promise<Winner<T>> {
  const { clock, budget, signal, ended } = request
  const race = new Race(request.delays, clock.monotonic(), request.policy)
  const running = new Map<number, HedgedAttempt>()
  const settled: { index: number, result: { answer: T } | { error: unknown } }[] = []
  let over = false
  let wake = deferred<undefined>()
  const aborted = (): void => { wake.resolve(undefined) }

  const ask = (index: number, hedge: boolean): void => {
    const abort = new AbortController()
    running.set(index, { abort, askedAt: clock.monotonic(), hedge })
    request.ask(index, abort.signal).then(
      answer => {
        if (over) {
          request.discard(answer)
          return
        }
        settled.push({ index, result: { answer } })
        wake.resolve(undefined)
      },
      (error: unknown) => {
        settled.push({ index, result: { error } })
        wake.resolve(undefined)
      })
  }

  /** The first good answer that has come; failures are told to the race. */
  const take = (): { index: number, answer: T, attempt: HedgedAttempt } | undefined => {
    for (let next = settled.shift(); next !== undefined; next = settled.shift()) {
      const { index, result } = next
      const attempt = running.get(index)
      if (attempt === undefined) continue
      running.delete(index)
      const took = { ms: clock.monotonic() - attempt.askedAt, hedge: attempt.hedge }
      if ('answer' in result) {
        ended(index, { how: 'won', ...took })
        return { index, answer: result.answer, attempt }
      }
      ended(index, { how: 'failed', ...took, error: result.error })
      race.failed(index)
    }
    return undefined
  }

  const giveUp = (how: 'lost' | 'deadline', reason: () => unknown): void => {
    over = true
    const now = clock.monotonic()
    for (const { result } of settled) if ('answer' in result) request.discard(result.answer)
    for (const [index, { abort, askedAt, hedge }] of running) {
      abort.abort(reason())
      ended(index, { how, ms: now - askedAt, hedge })
    }
    running.clear()
  }

  budget.earn()
  signal.addEventListener('abort', aborted)
  let kept = false
  try {
    for (;;) {
      if (signal.aborted) {
        giveUp('lost', () => signal.reason)
        throw signal.reason
      }
      const won = take()
      if (won !== undefined) {
        giveUp('lost', () => new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'another super-node was faster'))
        kept = true
        return keep(signal, aborted, won)
      }
      const step = race.step(clock.monotonic(), () => budget.spend())
      if (step.do === 'ask' && step.why === 'failover' && !request.mayGoOn()) {
        giveUp('lost', () => new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'what others said is enough'))
        throw new RaceLostError('failed')
      } else if (step.do === 'ask') {
        ask(step.index, step.why === 'hedge')
      } else if (step.do === 'drop') {
        const attempt = running.get(step.index)
        running.delete(step.index)
        attempt?.abort.abort(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the super-node did not answer in time'))
        if (attempt !== undefined) ended(step.index, { how: 'deadline', ms: clock.monotonic() - attempt.askedAt, hedge: attempt.hedge })
      } else if (step.do === 'give up') {
        giveUp('deadline', () => new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'no super-node answered in time'))
        throw new RaceLostError(step.why)
      } else {
        wake = deferred<undefined>()
        if (settled.length > 0) continue
        // An answer that has arrived is read first; after a loop that stood still its deadline would come before it.
        const timer = setTimeout(() => { setImmediate(aborted) }, Math.max(0, step.until - clock.monotonic()))
        await wake.promise
        clearTimeout(timer)
      }
    }
  } finally {
    if (!kept) signal.removeEventListener('abort', aborted)
  }
}

/** From now on an abort of the whole ends the winner's body. */
function keep<T> (signal: AbortSignal, aborted: () => void, { index, answer, attempt }: { index: number, answer: T, attempt: HedgedAttempt }): Winner<T> {
  signal.removeEventListener('abort', aborted)
  const abort = (): void => { attempt.abort.abort(signal.reason) }
  signal.addEventListener('abort', abort)
  return { index, answer, release: () => { signal.removeEventListener('abort', abort) } }
}
