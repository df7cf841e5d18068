import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { gatewaySizes } from '../../tools/harness/gateway-process.ts'
import { cacheStats } from '../../tools/harness/http.ts'
import { relayCounters, total } from '../relay-counters.ts'

/** What a gateway holds for requests under way, by the names of `icn_relay_gateway_size`. */
const HELD = ['relay.leases', 'relay.resolving', 'relay.reading', 'source.leases', 'source.resolving', 'source.reading', 'source.openFiles']
const ASK_MS = 50

/** Everything that is held for a request, by name, as long as it is not zero. */
async function held (adminUrl: string): Promise<Record<string, number>> {
  const [counters, sizes, stats] = await Promise.all([relayCounters(adminUrl), gatewaySizes(adminUrl), cacheStats(adminUrl)])
  const response = await request(`${adminUrl}/admin/v1/cache/shards?limit=1000`)
  const { entries } = await response.body.json() as { entries: readonly { readers: number }[] }
  const all: Record<string, number> = {
    icn_relay_gateway_leases: total(counters, 'icn_relay_gateway_leases'),
    icn_relay_cache_pass_through_bytes: total(counters, 'icn_relay_cache_pass_through_bytes'),
    'open files': stats.disk.openFiles,
    'condemned bytes': stats.disk.condemnedBytes,
    'reserved bytes': stats.disk.reservedBytes,
    fills: stats.fills,
    'readers of entries': entries.reduce((sum, { readers }) => sum + readers, 0),
    ...Object.fromEntries(HELD.map(name => [name, sizes[name] ?? 0]))
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== 0))
}

/** Waits until a relay without traffic holds nothing. @returns what it still holds after `withinMs`, one line each */
export async function stuck (adminUrl: string, withinMs: number): Promise<string[]> {
  const end = performance.now() + withinMs
  for (;;) {
    const left = await held(adminUrl)
    const names = Object.entries(left)
    if (names.length === 0 || performance.now() > end) return names.map(([name, value]) => `${name}: ${value}`)
    await sleep(ASK_MS)
  }
}
