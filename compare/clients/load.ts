import { performance } from 'node:perf_hooks'
import { quantile } from '../statistics.ts'
import type { Timing } from './http1-connection.ts'

/** How requests are made. */
export type Pace =
  /** Every connection asks again as soon as it has its answer, until the time is over. */
  | { readonly kind: 'closed', readonly milliseconds: number }
  /** Every path once, by whichever connection is free. */
  | { readonly kind: 'once' }
  /** Requests are due at even distances; one that has to wait for a busy connection counts from when it was due. */
  | { readonly kind: 'open', readonly milliseconds: number, readonly perSecond: number }

export interface Load {
  readonly paths: readonly string[]
  readonly connections: number
  readonly pace: Pace
}

export interface Percentiles { readonly p50: number, readonly p99: number }

export interface LoadOutcome {
  readonly bytes: number
  readonly seconds: number
  readonly requests: number
  readonly firstByteMs: Percentiles
  readonly wholeMs: Percentiles
  readonly errors: readonly string[]
}

/** One connection, or whatever makes one request at a time. */
export interface Fetcher { get: (path: string) => Promise<Timing> }

export interface LoadClock {
  /** Monotonic, ms. */
  now (): number
  until (time: number): Promise<void>
}

const MAX_ERRORS = 20

const systemLoadClock: LoadClock = {
  now: () => performance.now(),
  until: async time => {
    const wait = time - performance.now()
    if (wait > 0) await new Promise(resolve => { setTimeout(resolve, wait) })
  }
}

function percentiles (values: number[]): Percentiles {
  values.sort((a, b) => a - b)
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) }
}

/** When request `number` of connection `index` is due, ms after the start; connections take turns, so the whole is even. */
export function dueMs (index: number, number: number, connections: number, perSecond: number): number {
  return (number * connections + index) * 1_000 / perSecond
}

/** Makes requests over open connections; a connection that fails makes no more. */
export async function runLoad (fetchers: readonly Fetcher[], { paths, pace }: Load, clock: LoadClock = systemLoadClock): Promise<LoadOutcome> {
  const firstByte: number[] = []
  const whole: number[] = []
  const errors: string[] = []
  let bytes = 0
  let turn = 0
  const start = clock.now()
  const record = ({ firstByteMs, wholeMs, bytes: received }: Timing, late: number): void => {
    firstByte.push(firstByteMs + late)
    whole.push(wholeMs + late)
    bytes += received
  }
  const drive = async (fetcher: Fetcher, index: number): Promise<void> => {
    for (let number = 0; ; number++) {
      let late = 0
      if (pace.kind === 'open') {
        const due = dueMs(index, number, fetchers.length, pace.perSecond)
        if (due >= pace.milliseconds) return
        await clock.until(start + due)
        late = Math.max(0, clock.now() - start - due)
      } else if (pace.kind === 'closed' ? clock.now() - start >= pace.milliseconds : turn >= paths.length) return
      const path = paths[turn++ % paths.length] ?? '/'
      try {
        record(await fetcher.get(path), late)
      } catch (error) {
        if (errors.length < MAX_ERRORS) errors.push(`${path}: ${error instanceof Error ? error.message : String(error)}`)
        return
      }
    }
  }
  await Promise.all(fetchers.map(drive))
  const seconds = (clock.now() - start) / 1_000
  return { bytes, seconds, requests: whole.length, firstByteMs: percentiles(firstByte), wholeMs: percentiles(whole), errors }
}
