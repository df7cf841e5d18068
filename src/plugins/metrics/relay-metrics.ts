import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CacheObserver } from '../../storage/disk-files.ts'
import type { ShardObserver } from '../shards/shard-service.ts'
import { ODDITIES } from '../upstream/answer.ts'
import { ATTEMPT_OUTCOMES, type UpstreamObserver } from '../upstream/upstream-types.ts'
import { METRICS, type MetricDefinition, type MetricName } from './definitions.ts'

type NamesOf<T extends MetricDefinition['type']> = { [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never }[MetricName]

/** Metrics that fastify-metrics creates under our names. */
const BY_FASTIFY_METRICS: readonly MetricName[] = ['icn_relay_viewer_http_request_duration_seconds', 'icn_relay_admin_http_request_duration_seconds']

/** Codes of the operating system that get a label of their own; the others share one, so that the label stays bounded. */
const DISK_CODES = new Set(['ENOSPC', 'EIO', 'EACCES', 'EPERM', 'EROFS', 'ENOENT', 'EMFILE', 'ENFILE', 'EDQUOT', 'SIZE_MISMATCH', 'TIMEOUT', 'HUNG'])

export interface MetricSeries {
  readonly labels: Readonly<Partial<Record<string, string | number>>>
  readonly value: number
  /** Of a histogram: which of its three metrics it is. */
  readonly metricName?: string
}

/** Every metric of one relay in a registry of its own, and the observers through which the domain reports. */
export class RelayMetrics {
  readonly registry = new Registry()
  readonly #counters = new Map<string, Counter>()
  readonly #gauges = new Map<string, Gauge>()
  readonly #histograms = new Map<string, Histogram>()
  readonly #collectors: (() => void)[] = []

  constructor () {
    const registers = [this.registry]
    for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
      if (BY_FASTIFY_METRICS.some(other => other === name)) continue
      const options = { name, help: definition.help, labelNames: [...definition.labels ?? []], registers }
      if (definition.type === 'counter') this.#counters.set(name, new Counter(options))
      else if (definition.type === 'gauge') this.#gauges.set(name, new Gauge(options))
      else this.#histograms.set(name, new Histogram({ ...options, buckets: [...definition.buckets ?? []] }))
    }
  }

  count (name: NamesOf<'counter'>, labels: Record<string, string> = {}, by = 1): void {
    this.#counters.get(name)?.inc(labels, by)
  }

  set (name: NamesOf<'gauge'>, value: number, labels: Record<string, string> = {}): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  /** Replaces all series of a gauge: what is not named is gone. */
  replace (name: NamesOf<'gauge'>, series: Iterable<readonly [labels: Record<string, string>, value: number]>): void {
    const gauge = this.#gauges.get(name)
    gauge?.reset()
    // Reset makes a gauge without labels 0, which says something; only remove makes it absent.
    if ((METRICS[name] as MetricDefinition).labels === undefined) gauge?.remove()
    for (const [labels, value] of series) this.set(name, value, labels)
  }

  /** @param seconds duration */
  observe (name: NamesOf<'histogram'>, seconds: number, labels: Record<string, string> = {}): void {
    this.#histograms.get(name)?.observe(labels, seconds)
  }

  /** Forgets one series of a counter or histogram, for what its labels name is no more. */
  remove (name: NamesOf<'counter' | 'histogram'>, labels: Record<string, string>): void {
    this.#counters.get(name)?.remove(labels)
    this.#histograms.get(name)?.remove(labels)
  }

  /** What a counter has counted, or a histogram's buckets hold, by labels; `le` is the bound of a bucket. Nothing is collected for it. */
  async series (name: NamesOf<'counter' | 'histogram'>): Promise<MetricSeries[]> {
    const metric = this.#counters.get(name) ?? this.#histograms.get(name)
    const values: readonly MetricSeries[] = (await metric?.get())?.values ?? []
    return values.filter(({ metricName }) => metricName === undefined || metricName.endsWith('_bucket'))
  }

  /** Registers a function that sets gauges just before they are read. */
  onCollect (collect: () => void): void {
    this.#collectors.push(collect)
  }

  /** All metrics in the Prometheus text format. */
  async text (): Promise<string> {
    for (const collect of this.#collectors) collect()
    return await this.registry.metrics()
  }

  readonly cache: CacheObserver = {
    diskIo: (operation, ms) => { this.observe('icn_relay_disk_io_wait_seconds', ms / 1_000, { operation }) },
    diskError: (operation, code) => {
      this.count('icn_relay_disk_errors_total', { operation, code: DISK_CODES.has(code) ? code : 'other' })
    },
    removed: (tier, reason) => {
      this.count('icn_relay_cache_removals_total', { tier, reason })
      if (reason === 'capacity') this.count('icn_relay_cache_evictions_total', { tier })
    },
    stored: () => {},
    storeBypassed: reason => { this.count('icn_relay_cache_store_bypassed_total', { reason }) }
  }

  readonly upstream: UpstreamObserver = {
    attempt: (node, outcome, ms) => {
      this.count('icn_relay_upstream_fetches_total', { node, outcome })
      if (outcome === 'ok') this.observe('icn_relay_upstream_fetch_latency_seconds', ms / 1_000, { node })
    },
    healthCheckFailed: node => { this.count('icn_relay_health_check_failures_total', { node }) },
    hedged: outcome => { this.count('icn_relay_upstream_hedges_total', { outcome }) },
    resumed: outcome => { this.count('icn_relay_upstream_resumes_total', { outcome }) },
    received: (node, bytes) => { this.count('icn_relay_upstream_bytes_total', { node }, bytes) },
    oddAnswer: (node, oddity) => { this.count('icn_relay_upstream_odd_answers_total', { node, oddity }) },
    nodeGone: node => {
      for (const outcome of ATTEMPT_OUTCOMES) this.remove('icn_relay_upstream_fetches_total', { node, outcome })
      this.remove('icn_relay_upstream_fetch_latency_seconds', { node })
      this.remove('icn_relay_upstream_bytes_total', { node })
      this.remove('icn_relay_health_check_failures_total', { node })
      for (const oddity of ODDITIES) this.remove('icn_relay_upstream_odd_answers_total', { node, oddity })
    }
  }

  readonly shards: ShardObserver = {
    opened: origin => {
      if (origin.hit) this.count('icn_relay_cache_hits_total', { tier: origin.tier })
      else this.count('icn_relay_cache_misses_total', { collapsed: String(origin.collapsed) })
    },
    openFailed: error => { this.count('icn_relay_open_failures_total', { code: error.code }) }
  }
}
