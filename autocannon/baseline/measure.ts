import { median } from '../../tools/harness/median.ts'
import type { Bench } from './bench.ts'
import type { RatioTrait } from './compare.ts'
import { GROUPS, type RatioGroup } from './ratios.ts'

/** Values of each ratio, one of every round. */
export type Samples = Readonly<Record<string, readonly number[]>>

/** Ratios by their own names and by those of groups; all of them without names. @throws RangeError for a name that is none */
export function ratiosNamed (names: readonly string[]): string[] {
  const known = GROUPS.flatMap(({ name, ratios }) => [name, ...Object.keys(ratios)])
  for (const name of names) if (!known.includes(name)) throw new RangeError(`no ratio or group of ratios ${JSON.stringify(name)}; known are ${known.join(' ')}`)
  return GROUPS.flatMap(group => Object.keys(group.ratios).filter(ratio => names.length === 0 || names.includes(group.name) || names.includes(ratio)))
}

/** Groups that hold any of the ratios. */
export function groupsOf (ratios: readonly string[]): RatioGroup[] {
  return GROUPS.filter(group => Object.keys(group.ratios).some(name => ratios.includes(name)))
}

/** @throws RangeError for a name that is none */
export function traitOf (ratio: string): RatioTrait {
  const trait = GROUPS.find(({ ratios }) => ratio in ratios)?.ratios[ratio]
  if (trait === undefined) throw new RangeError(`no ratio ${JSON.stringify(ratio)}`)
  return trait
}

export interface Extent {
  readonly rounds: number
  /** Rounds before, which do not count. */
  readonly warmUp?: number
  /** A slow machine makes fewer rounds, three at least, and begins none after so many seconds. */
  readonly seconds: number
}

/** Fewer have no median that a single disturbance leaves alone. */
const MIN_ROUNDS = 3

/** Rounds of the groups that hold the ratios, each group in turn, so that what else the machine does meets all of them. */
export async function measureRatios (bench: Bench, ratios: readonly string[], { rounds, warmUp = 0, seconds }: Extent): Promise<Samples> {
  const samples: Record<string, number[]> = {}
  const groups = groupsOf(ratios)
  const enough = performance.now() + seconds * 1_000
  for (const group of groups) await group.prepare?.(bench)
  for (let round = -warmUp; round < rounds; round++) {
    if (round >= MIN_ROUNDS && performance.now() > enough) break
    for (const group of groups) {
      const measured = await group.measure(bench, round + warmUp)
      if (round < 0) continue
      for (const [name, value] of Object.entries(measured)) if (ratios.includes(name)) (samples[name] ??= []).push(value)
    }
  }
  return samples
}

/** What the gate compares: the median of the rounds, of which half may be disturbed. */
export function medians (samples: Samples): Record<string, number> {
  return Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, median(values)]))
}

/** Rounds of two measurements together. */
export function joined (one: Samples, other: Samples): Samples {
  return Object.fromEntries(Object.entries(one).map(([name, values]) => [name, [...values, ...other[name] ?? []]]))
}
