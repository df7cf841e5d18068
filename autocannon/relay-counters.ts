import { request } from 'undici'

/** Samples of a relay's `/metrics` by series as it stands there, `name{label="value"}`. */
export type Counters = ReadonlyMap<string, number>

/** Reads the Prometheus text format; comments and what is not a number are left out. */
export function parseMetrics (text: string): Counters {
  const counters = new Map<string, number>()
  for (const line of text.split('\n')) {
    const space = line.lastIndexOf(' ')
    if (line.startsWith('#') || space < 0) continue
    const value = Number(line.slice(space + 1))
    if (!Number.isNaN(value)) counters.set(line.slice(0, space), value)
  }
  return counters
}

export async function relayCounters (adminUrl: string): Promise<Counters> {
  return parseMetrics(await (await request(`${adminUrl}/metrics`)).body.text())
}

/** All series of one name together. @param labels text that the labels must contain, as `outcome="ok"` */
export function total (counters: Counters, name: string, labels = ''): number {
  let sum = 0
  for (const [series, value] of counters) if ((series === name || series.startsWith(`${name}{`)) && series.includes(labels)) sum += value
  return sum
}

/** Share of opened objects that came from the cache between two readings; null when none was opened. */
export function hitRatioBetween (before: Counters, after: Counters): number | null {
  const grown = (name: string): number => total(after, name) - total(before, name)
  const hits = grown('icn_relay_cache_hits_total')
  const opened = hits + grown('icn_relay_cache_misses_total')
  return opened === 0 ? null : hits / opened
}
