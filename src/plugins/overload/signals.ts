import type { Threshold } from './latch.ts'

/** What tells overload; the label of a metric, so the list is closed. Delays are in milliseconds, everything else is a share of its bound, descriptors of those that viewers may have. */
export const OVERLOAD_SIGNALS = ['event_loop_delay', 'heap', 'rss', 'gateway_event_loop_delay', 'gateway_rss', 'sessions', 'fills', 'descriptors'] as const
export type OverloadSignal = typeof OVERLOAD_SIGNALS[number]

/** One sample; a signal without a value (no gateway) is calm. */
export type OverloadSample = Readonly<Partial<Record<OverloadSignal, number>>>

export interface SignalThresholds {
  readonly degraded: Threshold
  readonly shedding: Threshold
}

export interface ThresholdSettings {
  /** Event-loop delays, ms. */
  readonly degraded_delay_ms: number
  readonly shedding_delay_ms: number
  /** Heap and resident memory, percent of their bounds. */
  readonly degraded_memory_percent: number
  readonly shedding_memory_percent: number
  /** Sessions, fills and descriptors, percent of their bounds. */
  readonly degraded_load_percent: number
  readonly shedding_load_percent: number
  /** Where a level is over, percent of where it begins. */
  readonly leave_percent: number
}

/** Where each signal enters and leaves both levels. */
export function signalThresholds (settings: ThresholdSettings): Record<OverloadSignal, SignalThresholds> {
  const band = (enter: number): Threshold => ({ enter, leave: enter * settings.leave_percent / 100 })
  const delay = { degraded: band(settings.degraded_delay_ms), shedding: band(settings.shedding_delay_ms) }
  const memory = { degraded: band(settings.degraded_memory_percent / 100), shedding: band(settings.shedding_memory_percent / 100) }
  const load = { degraded: band(settings.degraded_load_percent / 100), shedding: band(settings.shedding_load_percent / 100) }
  // Beyond its bound the gateway is replaced, which helps immediately. Shedding would not: a process seldom gives memory back, so it would never end.
  const replaced = { degraded: memory.degraded, shedding: band(1) }
  return { event_loop_delay: delay, heap: memory, rss: memory, gateway_event_loop_delay: delay, gateway_rss: replaced, sessions: load, fills: load, descriptors: load }
}
