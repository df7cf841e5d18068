import { RelayError } from '../../base/errors.ts'
import type { ReadPublic } from '../ask-admin.ts'
import { MetricsText } from './metrics-text.ts'

/** Days before the end of a configured certificate at which it is worth a word; most issuers renew 30 days before. */
const CERTIFICATE_DAYS = 14
const DAY_SECONDS = 86_400

/** Something of a relay that wants to be looked at. */
export interface StatusAlert {
  readonly level: 'warn' | 'fail'
  readonly says: string
}

/** What `status` tells of a relay. */
export interface StatusReport {
  readonly version: string
  readonly uptimeSeconds: number
  readonly state: string
  readonly ready: boolean
  readonly checks: Readonly<Record<string, string>>
  readonly cache: { readonly bytes: number, readonly capacityBytes: number, readonly objects: number, readonly freeBytes: number | null }
  /** Since the relay started; null before anything was asked for. */
  readonly hitRatio: number | null
  /** Share of what viewers got that super-nodes did not have to send; null before anything was sent. */
  readonly offloadRatio: number | null
  readonly viewers: Readonly<Record<string, number>>
  /** Bits per second. */
  readonly bandwidth: { readonly servedBps: number, readonly upstreamBps: number, readonly budgetBps: number, readonly shareBps: number | null }
  readonly superNodes: readonly { readonly node: string, readonly region: string, readonly up: boolean }[]
  readonly alerts: readonly StatusAlert[]
}

interface Health { readonly status: string, readonly version: string, readonly uptime_seconds: number, readonly cache_size_bytes: number }
interface Readiness { readonly ready: boolean, readonly checks: Readonly<Record<string, string>> }

export interface StatusDeps {
  readonly read: ReadPublic
  /** Waits between two looks at what has been sent. */
  readonly pause: () => Promise<void>
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

/** @throws RelayError RELAY_ERR_CONFIG when it is not what a relay answers */
async function json<T> (read: ReadPublic, path: string, fields: readonly string[]): Promise<T> {
  const { text } = await read(path)
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && fields.every(field => field in value)) return value as T
  } catch {
    // Said below.
  }
  throw new RelayError('RELAY_ERR_CONFIG', 'status: what answers is no relay')
}

const ratio = (part: number, rest: number): number | null => part + rest === 0 ? null : part / (part + rest)

/** What stands out of it. @param now milliseconds since the Unix epoch */
export function statusAlerts (metrics: MetricsText, { checks }: Readiness, now: number): StatusAlert[] {
  const alerts: StatusAlert[] = []
  const when = (found: boolean, level: StatusAlert['level'], says: string): void => { if (found) alerts.push({ level, says }) }
  for (const { value, labels } of metrics.of('icn_relay_certificate_not_after_timestamp_seconds')) {
    const days = Math.floor((value - now / 1_000) / DAY_SECONDS)
    when(days < 0, 'fail', `the certificate of viewers has ended (${labels['source'] ?? ''})`)
    // A certificate that the relay makes itself lives two weeks, and is renewed before.
    when(days >= 0 && days < CERTIFICATE_DAYS && labels['source'] === 'configured', 'warn', `the certificate of viewers ends in ${days} days`)
  }
  when(metrics.first('icn_relay_gateway_up') === 0, 'fail', 'no sessions: the gateway does not listen')
  const down = metrics.of('icn_relay_upstream_node_up').filter(({ value }) => value === 0)
  when(down.length > 0, checks['upstream'] === 'down' ? 'fail' : 'warn', `super-nodes that are not up: ${down.map(({ labels }) => labels['node'] ?? '').join(', ')}`)
  for (const { value, labels } of metrics.of('icn_relay_cache_problem')) when(value === 1, 'fail', `the cache has a lasting problem: ${labels['problem'] ?? ''}`)
  when(checks['cache'] === 'reconciling', 'warn', 'the cache is being compared with its disk')
  when(checks['overload'] !== 'normal', checks['overload'] === 'shedding' ? 'fail' : 'warn', `overload: ${checks['overload'] ?? ''}`)
  when(checks['viewer'] === 'draining', 'warn', 'draining: no new sessions are taken')
  when(metrics.first('icn_relay_config_reload_success') === 0, 'warn', 'the configuration was refused the last time that it was read')
  const pending = metrics.sum('icn_relay_config_pending_keys')
  when(pending > 0, 'warn', `${pending} keys of the configuration need a restart`)
  const broken = metrics.sum('icn_relay_audit_failures_total')
  when(broken > 0, 'warn', `${broken} records of the audit could not be written`)
  const lost = metrics.sum('icn_relay_log_lines_dropped_total')
  when(lost > 0, 'warn', `${lost} lines of the log were lost since the start`)
  return alerts
}

/** Looks at a running relay, twice. @throws RelayError RELAY_ERR_CONFIG */
export async function readStatus ({ read, pause, now }: StatusDeps): Promise<StatusReport> {
  const health = await json<Health>(read, '/health', ['status', 'version', 'uptime_seconds'])
  const readiness = await json<Readiness>(read, '/ready', ['ready', 'checks'])
  const [before, from] = [new MetricsText((await read('/metrics')).text), now()]
  await pause()
  const [metrics, to] = [new MetricsText((await read('/metrics')).text), now()]
  const rate = (name: string): number => Math.max(0, Math.round((metrics.sum(name) - before.sum(name)) * 8 / Math.max(0.001, (to - from) / 1_000)))
  const [served, upstream] = [metrics.sum('icn_relay_bytes_served_total'), metrics.sum('icn_relay_upstream_bytes_total')]
  return {
    version: health.version,
    uptimeSeconds: health.uptime_seconds,
    state: health.status,
    ready: readiness.ready,
    checks: readiness.checks,
    cache: {
      bytes: metrics.sum('icn_relay_cache_size_bytes'),
      capacityBytes: metrics.sum('icn_relay_cache_capacity_bytes'),
      objects: metrics.of('icn_relay_cache_entries').find(({ labels }) => labels['tier'] === 'disk')?.value ?? 0,
      freeBytes: metrics.first('icn_relay_cache_free_bytes') ?? null
    },
    hitRatio: ratio(metrics.sum('icn_relay_cache_hits_total'), metrics.sum('icn_relay_cache_misses_total')),
    offloadRatio: served === 0 ? null : 1 - upstream / served,
    viewers: Object.fromEntries(metrics.of('icn_relay_viewer_connections').map(({ labels, value }) => [labels['transport'] ?? '', value])),
    bandwidth: {
      servedBps: rate('icn_relay_bytes_served_total'),
      upstreamBps: rate('icn_relay_upstream_bytes_total'),
      budgetBps: metrics.sum('icn_relay_bandwidth_budget_bps'),
      shareBps: metrics.first('icn_relay_bandwidth_share_bps') ?? null
    },
    superNodes: metrics.of('icn_relay_upstream_node_up').map(({ labels, value }) => ({ node: labels['node'] ?? '', region: labels['region'] ?? '', up: value === 1 })),
    alerts: statusAlerts(metrics, readiness, now())
  }
}
