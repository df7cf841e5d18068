/** Summaries as a relay answers them, for tests of what the page makes of them. */
import type { NodeAnswer, SummaryAnswer } from '../../../dashboard/src/model/wire.ts'

export const node = (id: string, state: NodeAnswer['state'] = 'up', failures = 0): NodeAnswer => ({
  id, url: `http://${id}`, region: 'NA-WEST', state, health: state === 'draining' || state === 'disabled' ? 'up' : state, latencyMs: 40, p95Ms: 90, failures, connections: { connected: 1, free: 1, pending: 0, queued: 0 }
})

/** Of a relay in peace. @param changed members in the place of these */
export function summary (changed: Partial<SummaryAnswer> = {}): SummaryAnswer {
  return {
    version: '1.2.3',
    startedAt: 1_000,
    uptimeSeconds: 10,
    region: 'NA-WEST',
    readiness: { ready: true, checks: { viewer: 'listening', cache: 'ok', upstream: 'ok', overload: 'normal' } },
    overload: { state: 'normal', since: 0, reason: null },
    viewers: { http: 1, webtransport: 2, websocket: 3 },
    bandwidth: { totalBps: 0, shareBps: null, backloggedViewers: 0 },
    cache: { maxBytes: 1_000, usedBytes: 10, freeBytes: null, entries: 1, ramBytes: 100, ramUsedBytes: 1, fills: 0 },
    superNodes: [node('a:9002')],
    gateway: { up: true, restarts: 0, rssBytes: 1 },
    process: { rssBytes: 1, cpuSeconds: 1, gatewayCpuSeconds: 1 },
    certificate: { source: 'configured', notAfter: 365 * 86_400_000 },
    config: { hash: '0123456789ab', reload: { success: true, at: 0, problem: null }, restart: 0, overrides: 0 },
    jobs: { waiting: 0, running: 0 },
    denylist: { entries: 0, problems: [] },
    totals: { sentBytes: { http: 1_000 }, receivedBytes: { 'a:9002': 100 }, hits: { ram: 1, disk: 2 }, misses: 1, failures: {}, limited: 0, evictions: 0, logLinesDropped: 0 },
    firstByte: { bounds: [0.01, 0.1, 1], hits: [1, 2, 3, 3], misses: [0, 0, 1, 1] },
    ...changed
  }
}
