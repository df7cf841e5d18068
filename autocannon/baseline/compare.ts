/** Whether measured ratios are worse than a baseline beyond its noise; pure. */
import { median } from '../../tools/harness/median.ts'
import type { Machine } from '../result.ts'

/** Which way a ratio gets worse. */
export type Better = 'lower' | 'higher'

/** What a ratio is of. A neighbour on the machine adds little to the CPU of a process, but may double any time. */
export type Kind = 'cpu' | 'time'

export interface RatioTrait {
  readonly better: Better
  readonly kind: Kind
}

export interface RatioBaseline extends RatioTrait {
  readonly median: number
  /** Largest distance of a repetition from the median, as a share of it: the noise that the baseline itself showed. */
  readonly spread: number
  /** The repetitions themselves, for people. */
  readonly values: readonly number[]
}

export interface Baseline {
  readonly version: 1
  readonly measuredAt: string
  readonly machine: Machine
  readonly rounds: number
  readonly ratios: Readonly<Record<string, RatioBaseline>>
}

export interface Verdict {
  readonly name: string
  readonly ok: boolean
  /** Undefined when it was not measured, or is not in the baseline. */
  readonly value: number | undefined
  readonly baseline: RatioBaseline | undefined
  /** How much worse than the baseline, as a factor; below 1 is better. */
  readonly worse: number | undefined
  /** The factor from which the gate fails. */
  readonly limit: number | undefined
}

/**
 * Narrowest and widest band of a ratio, as shares of its median. Below the first, two machines of one kind would fail each other though nothing
 * changed: caches, clock rates, kernels; one build gave 1.98 and 2.98 for hit-cpu on two of them, and 1.8 to 2.7 for miss-cpu on days of one. Above the second, a doubled cost in CPU or a tripled time could pass: ratios that need more are too noisy
 * for a gate, and `renew` says so.
 */
export const BANDS = { cpu: { min: 0.8, max: 0.9 }, time: { min: 1, max: 1.7 } } as const satisfies Record<Kind, { min: number, max: number }>
/** A handful of repetitions shows about half of the range that the next ten runs will. */
const BAND_PER_SPREAD = 2

/** Repetitions that are kept beside new ones: those of a few machines. */
const MAX_VALUES = 36

/** The band in which a ratio may be worse, as a share of the median. */
export function bandOf ({ spread, kind }: Pick<RatioBaseline, 'spread' | 'kind'>): number {
  const { min, max } = BANDS[kind]
  return Math.min(max, Math.max(min, BAND_PER_SPREAD * spread))
}

/** Whether the noise that was measured asks for more than its {@link BANDS}. */
export function isTooNoisy ({ spread, kind }: Pick<RatioBaseline, 'spread' | 'kind'>): boolean {
  return BAND_PER_SPREAD * spread > BANDS[kind].max
}

/** Median and noise of repetitions. @throws RangeError when a value is not a ratio, or there is none */
export function summarise ({ better, kind }: RatioTrait, values: readonly number[]): RatioBaseline {
  if (values.length === 0 || values.some(value => !(value > 0) || !Number.isFinite(value))) throw new RangeError(`not ratios: ${values.join(' ')}`)
  const middle = median(values)
  return { better, kind, median: middle, spread: Math.max(...values.map(value => Math.abs(value - middle))) / middle, values }
}

/** The repetitions that a baseline has of a ratio, as many as {@link MAX_VALUES} of the newest; none without a baseline. */
export function valuesOf (baseline: Pick<Baseline, 'ratios'> | undefined, name: string): readonly number[] {
  return (baseline?.ratios[name]?.values ?? []).slice(-MAX_VALUES)
}

/** Compares what was measured with the baseline; a ratio that one of them lacks is a failure too. */
export function judge (baseline: Pick<Baseline, 'ratios'>, measured: Readonly<Record<string, number>>): Verdict[] {
  const names = new Set([...Object.keys(baseline.ratios), ...Object.keys(measured)])
  return [...names].map((name): Verdict => {
    const known = baseline.ratios[name]
    const value = measured[name]
    if (known === undefined || value === undefined) return { name, ok: false, value, baseline: known, worse: undefined, limit: undefined }
    const worse = known.better === 'lower' ? value / known.median : known.median / value
    const limit = 1 + bandOf(known)
    // What is not a number is not proof either.
    return { name, ok: worse <= limit, value, baseline: known, worse, limit }
  })
}

/** One line for people. */
export function explain ({ name, ok, value, baseline, worse, limit }: Verdict): string {
  const head = `${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(18)}`
  if (baseline === undefined) return `${head} ${value?.toFixed(3) ?? ''} is not in the baseline: renew it with npm run load:baseline`
  if (value === undefined || worse === undefined || limit === undefined) return `${head} was not measured`
  const change = worse >= 1 ? `${((worse - 1) * 100).toFixed(0)} % worse` : `${((1 - worse) * 100).toFixed(0)} % better`
  return `${head} ${value.toFixed(3)} (baseline ${baseline.median.toFixed(3)}, ${baseline.better} is better): ${change}, allowed ${((limit - 1) * 100).toFixed(0)} %`
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Reads `baseline.json`. @throws Error naming what is wrong with it */
export function parseBaseline (text: string): Baseline {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('the baseline is not JSON; renew it with npm run load:baseline')
  }
  if (!isRecord(value) || value['version'] !== 1 || !isRecord(value['ratios'])) throw new Error('the baseline is not of version 1; renew it with npm run load:baseline')
  for (const [name, ratio] of Object.entries(value['ratios'])) {
    const fits = isRecord(ratio) && (ratio['better'] === 'lower' || ratio['better'] === 'higher') && (ratio['kind'] === 'cpu' || ratio['kind'] === 'time') &&
      typeof ratio['median'] === 'number' && ratio['median'] > 0 && typeof ratio['spread'] === 'number' && ratio['spread'] >= 0 &&
      Array.isArray(ratio['values']) && ratio['values'].every(number => typeof number === 'number')
    if (!fits) throw new Error(`ratio "${name}" of the baseline has no direction, kind, median and spread; renew it with npm run load:baseline`)
  }
  return value as unknown as Baseline
}
