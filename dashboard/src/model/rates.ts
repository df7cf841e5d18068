import type { SummaryAnswer } from './wire.ts'

/** What of a summary rates are made of. */
export type Counted = Pick<SummaryAnswer, 'startedAt' | 'uptimeSeconds' | 'totals' | 'firstByte' | 'process'>

/** What happened between two summaries. */
export interface Rates {
  /** Time between them, s. */
  readonly seconds: number
  /** To viewers by transport, bytes a second. */
  readonly sent: Readonly<Record<string, number>>
  /** From super-nodes by node, bytes a second. */
  readonly received: Readonly<Record<string, number>>
  /** Objects asked for in a second, those that failed too. */
  readonly requests: number
  readonly failures: number
  readonly limited: number
  /** Share of the objects that the cache had; null without any. */
  readonly hitRatio: number | null
  /** Share of the bytes that super-nodes did not have to send; below 0 while more is brought in than goes out; null without any. */
  readonly offload: number | null
  /** 95th percentile until the first byte, s; null without any. */
  readonly hitWait: number | null
  readonly missWait: number | null
  /** Cores in use. */
  readonly cpu: number
  readonly gatewayCpu: number
}

/** Whether both are of one process, the second later: a restart begins all counters anew. */
export function follows (before: Counted, after: Counted): boolean {
  return before.startedAt === after.startedAt && after.uptimeSeconds > before.uptimeSeconds
}

/** The value of that name; 0 when there is none, also when every object has something of that name. */
export const valueOf = (values: Readonly<Record<string, number>>, name: string): number => Object.hasOwn(values, name) ? values[name] ?? 0 : 0

/** A counter that is less than before was begun anew meanwhile. */
const grown = (before: number, after: number): number => after < before ? after : after - before

/** Sum of the values. */
export const sumOf = (numbers: Readonly<Record<string, number>>): number => Object.values(numbers).reduce((sum, value) => sum + value, 0)

/**
 * Where a share of what a histogram has counted lies, as `histogram_quantile` of Prometheus has it: straight between the bounds.
 * @param bounds ascending
 * @param within how many are within each bound, and in the end how many there are
 */
export function quantile (share: number, bounds: readonly number[], within: readonly number[]): number | null {
  const all = within.at(-1) ?? 0
  if (all <= 0) return null
  const wanted = share * all
  const place = within.findIndex(count => count >= wanted)
  const upper = bounds[place]
  // Beyond the last bound nothing is known but that.
  if (upper === undefined) return bounds.at(-1) ?? null
  const lower = bounds[place - 1] ?? 0
  const below = within[place - 1] ?? 0
  const here = (within[place] ?? 0) - below
  return here <= 0 ? upper : lower + (upper - lower) * (wanted - below) / here
}

/** Undefined when the second does not follow the first: then nothing can be said. */
export function ratesBetween (before: Counted, after: Counted): Rates | undefined {
  if (!follows(before, after)) return undefined
  const seconds = after.uptimeSeconds - before.uptimeSeconds
  const eachSecond = (name: 'sentBytes' | 'receivedBytes'): Record<string, number> => Object.fromEntries(
    // A node that was not there before has sent all of it since.
    Object.entries(after.totals[name]).map(([key, value]) => [key, grown(valueOf(before.totals[name], key), value) / seconds]))
  const sent = eachSecond('sentBytes')
  const received = eachSecond('receivedBytes')
  const hits = grown(sumOf(before.totals.hits), sumOf(after.totals.hits))
  const misses = grown(before.totals.misses, after.totals.misses)
  const failures = grown(sumOf(before.totals.failures), sumOf(after.totals.failures))
  const [out, inward] = [sumOf(sent), sumOf(received)]
  const waits = (name: 'hits' | 'misses'): number | null =>
    quantile(0.95, after.firstByte.bounds, after.firstByte[name].map((count, place) => grown(before.firstByte[name][place] ?? 0, count)))
  return {
    seconds,
    sent,
    received,
    requests: (hits + misses + failures) / seconds,
    failures: failures / seconds,
    limited: grown(before.totals.limited, after.totals.limited) / seconds,
    hitRatio: hits + misses === 0 ? null : hits / (hits + misses),
    offload: out === 0 ? null : 1 - inward / out,
    hitWait: waits('hits'),
    missWait: waits('misses'),
    cpu: grown(before.process.cpuSeconds, after.process.cpuSeconds) / seconds,
    gatewayCpu: grown(before.process.gatewayCpuSeconds, after.process.gatewayCpuSeconds) / seconds
  }
}
