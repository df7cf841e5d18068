import { EVICTION_POLICIES, type EvictionPolicy } from '../../src/storage/orders/orders.ts'
import { nextUses, optimum } from './belady.ts'
import { replay, type Outcome } from './replay.ts'
import { footprintOf, type Trace } from './trace.ts'

export interface Row {
  /** Bytes. */
  readonly capacity: number
  /** Of the footprint. */
  readonly share: number
  readonly outcomes: ReadonlyMap<EvictionPolicy, Outcome>
  readonly optimum: Outcome | undefined
}

export interface Simulation {
  readonly trace: Trace
  readonly footprint: number
  /** What no cache can have: first requests. */
  readonly objects: number
  readonly rows: readonly Row[]
}

export interface SimulateOptions {
  readonly policies: readonly EvictionPolicy[]
  /** Shares of the footprint. */
  readonly shares: readonly number[]
  readonly optimum: boolean
}

export const STANDARD: SimulateOptions = { policies: EVICTION_POLICIES, shares: [0.001, 0.01, 0.05, 0.1], optimum: true }

export function simulate (trace: Trace, { policies, shares, optimum: best }: SimulateOptions): Simulation {
  const footprint = footprintOf(trace)
  const next = best ? nextUses(trace) : undefined
  const rows = shares.map((share): Row => {
    const capacity = Math.round(footprint * share)
    return {
      capacity,
      share,
      outcomes: new Map(policies.map(policy => [policy, replay(trace, policy, capacity)])),
      optimum: next === undefined ? undefined : optimum(trace, capacity, next)
    }
  })
  return { trace, footprint, objects: trace.sizes.length, rows }
}

export const requestRatio = ({ hits, requests }: Outcome): number => hits / requests
export const byteRatio = ({ hitBytes, bytes }: Outcome): number => hitBytes / bytes

export const percent = (ratio: number): string => (ratio * 100).toFixed(1)

export function size (bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${(bytes / 1000 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit] ?? ''}`
}

/** Markdown: request hit ratio / byte hit ratio, percent, and by how much the misses are fewer than those of LRU. */
export function tableOf ({ trace, footprint, objects, rows }: Simulation): string {
  const policies = Array.from(rows[0]?.outcomes.keys() ?? [])
  const lines = [
    `**${trace.name}**: ${trace.requests.length} requests, ${objects} objects, ${size(footprint)}.`,
    '',
    `| capacity | ${policies.join(' | ')} | optimum |`,
    `| --- |${' --- |'.repeat(policies.length + 1)}`
  ]
  for (const { share, capacity, outcomes, optimum: best } of rows) {
    const lru = outcomes.get('lru')
    const cell = (outcome: Outcome | undefined): string => {
      if (outcome === undefined) return ''
      const both = `${percent(requestRatio(outcome))} / ${percent(byteRatio(outcome))}`
      return lru === undefined || outcome === lru ? both : `${both} (${signed((1 - requestRatio(outcome)) / (1 - requestRatio(lru)) - 1)})`
    }
    lines.push(`| ${(share * 100).toPrecision(2).replace(/\.0$/, '')} %, ${size(capacity)} | ${policies.map(policy => cell(outcomes.get(policy))).join(' | ')} | ${cell(best)} |`)
  }
  if (trace.empty > 0) lines.push('', `${trace.empty} requests of no bytes are left out.`)
  if (trace.resized > 0) lines.push('', `${trace.resized} requests give their object another size than its first; that one counts.`)
  return lines.join('\n')
}

function signed (change: number): string {
  return `${change <= 0 ? '−' : '+'}${Math.abs(change * 100).toFixed(1)} %`
}
