/** The Grafana dashboard, as a list of what its panels show; `npm run docs` writes it, a test compares. */

export const DASHBOARD = 'deploy/grafana/icn-relay.json'

interface Query {
  /** PromQL; `$relay` is the instances that are looked at. */
  readonly expr: string
  readonly legend: string
}

interface Panel {
  readonly title: string
  /** Of Grafana. */
  readonly unit: string
  /** What it means, and where it should be. */
  readonly about: string
  readonly queries: readonly Query[]
  readonly stacked?: boolean
}

/** Panels by row, two beside each other. */
const ROWS: Readonly<Record<string, readonly Panel[]>> = {
  Viewers: [
    { title: 'Bytes to viewers', unit: 'Bps', about: 'Body bytes by transport', stacked: true, queries: [{ expr: 'sum by (transport) (rate(icn_relay_bytes_served_total{instance=~"$relay"}[$__rate_interval]))', legend: '{{transport}}' }] },
    { title: 'Viewer connections', unit: 'short', about: 'Connections and sessions now', stacked: true, queries: [{ expr: 'sum by (transport) (icn_relay_viewer_connections{instance=~"$relay"})', legend: '{{transport}}' }] },
    {
      title: 'First byte',
      unit: 's',
      about: '95th percentile from the request head to the first body byte; hits within 50 ms, misses within 500 ms',
      queries: [{ expr: 'histogram_quantile(0.95, sum by (result, le) (rate(icn_relay_shard_serve_latency_seconds_bucket{instance=~"$relay",stage="first_byte"}[$__rate_interval])))', legend: '{{result}}' }]
    },
    { title: 'Refused and failed', unit: 'reqps', about: 'Objects that could not be opened, by error code; requests over the limits', queries: [{ expr: 'sum by (code) (rate(icn_relay_open_failures_total{instance=~"$relay"}[$__rate_interval]))', legend: '{{code}}' }, { expr: 'sum(rate(icn_relay_viewer_requests_limited_total{instance=~"$relay"}[$__rate_interval]))', legend: 'limited' }] }
  ],
  Cache: [
    {
      title: 'Hit ratio',
      unit: 'percentunit',
      about: 'Requests served from the cache, and bytes that super-nodes did not have to send',
      queries: [
        { expr: 'sum(rate(icn_relay_cache_hits_total{instance=~"$relay"}[$__rate_interval])) / (sum(rate(icn_relay_cache_hits_total{instance=~"$relay"}[$__rate_interval])) + sum(rate(icn_relay_cache_misses_total{instance=~"$relay"}[$__rate_interval])))', legend: 'requests' },
        { expr: '1 - sum(rate(icn_relay_upstream_bytes_total{instance=~"$relay"}[$__rate_interval])) / sum(rate(icn_relay_bytes_served_total{instance=~"$relay"}[$__rate_interval]))', legend: 'offload, bytes' }
      ]
    },
    { title: 'What another capacity would bring', unit: 'percentunit', about: 'Estimated byte hit ratio by capacity, as a multiple of the one when the estimate began', queries: [{ expr: 'avg by (capacity) (icn_relay_cache_estimated_byte_hit_ratio{instance=~"$relay"})', legend: '{{capacity}}×' }] },
    { title: 'Room', unit: 'bytes', about: 'Bound, use and free space of the disk', queries: [{ expr: 'sum(icn_relay_cache_capacity_bytes{instance=~"$relay"})', legend: 'bound' }, { expr: 'sum(icn_relay_cache_size_bytes{instance=~"$relay"})', legend: 'objects' }, { expr: 'sum(icn_relay_cache_free_bytes{instance=~"$relay"})', legend: 'free on the disk' }] },
    { title: 'Evictions', unit: 'ops', about: 'Objects that made room', queries: [{ expr: 'sum by (tier) (rate(icn_relay_cache_evictions_total{instance=~"$relay"}[$__rate_interval]))', legend: '{{tier}}' }] }
  ],
  'Super-nodes': [
    { title: 'Answers', unit: 'reqps', about: 'Requests to super-nodes by outcome', stacked: true, queries: [{ expr: 'sum by (outcome) (rate(icn_relay_upstream_fetches_total{instance=~"$relay"}[$__rate_interval]))', legend: '{{outcome}}' }] },
    { title: 'Time to head', unit: 's', about: '95th percentile by node', queries: [{ expr: 'histogram_quantile(0.95, sum by (node, le) (rate(icn_relay_upstream_fetch_latency_seconds_bucket{instance=~"$relay"}[$__rate_interval])))', legend: '{{node}}' }] },
    { title: 'Up', unit: 'short', about: '1 while a super-node is up', queries: [{ expr: 'icn_relay_upstream_node_up{instance=~"$relay"}', legend: '{{node}} {{region}}' }] },
    { title: 'Bytes from super-nodes', unit: 'Bps', about: 'By node', stacked: true, queries: [{ expr: 'sum by (node) (rate(icn_relay_upstream_bytes_total{instance=~"$relay"}[$__rate_interval]))', legend: '{{node}}' }] }
  ],
  Machine: [
    { title: 'CPU', unit: 'none', about: 'Cores used by the relay and by its gateway', stacked: true, queries: [{ expr: 'sum(rate(process_cpu_seconds_total{instance=~"$relay"}[$__rate_interval]))', legend: 'relay' }, { expr: 'sum(rate(icn_relay_gateway_cpu_seconds_total{instance=~"$relay"}[$__rate_interval]))', legend: 'gateway' }] },
    { title: 'Memory', unit: 'bytes', about: 'Resident', stacked: true, queries: [{ expr: 'sum(process_resident_memory_bytes{instance=~"$relay"})', legend: 'relay' }, { expr: 'sum(icn_relay_gateway_rss_bytes{instance=~"$relay"})', legend: 'gateway' }] },
    { title: 'Overload', unit: 'short', about: 'Signals as a ratio of where degraded begins; the state is 0 normal, 1 degraded, 2 shedding', queries: [{ expr: 'max by (signal) (icn_relay_overload_signal{instance=~"$relay"})', legend: '{{signal}}' }, { expr: 'max(icn_relay_overload_state{instance=~"$relay"})', legend: 'state' }] },
    { title: 'Disk reads', unit: 's', about: '95th percentile of what a disk operation kept its caller waiting', queries: [{ expr: 'histogram_quantile(0.95, sum by (operation, le) (rate(icn_relay_disk_io_wait_seconds_bucket{instance=~"$relay"}[$__rate_interval])))', legend: '{{operation}}' }] }
  ]
}

const WIDTH = 24
const HEIGHT = 8
// Grafana fills it in.
// eslint-disable-next-line no-template-curly-in-string
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' }

/** Every query of the dashboard. */
export function dashboardQueries (): Query[] {
  return Object.values(ROWS).flat().flatMap(({ queries }) => queries)
}

function panels (): unknown[] {
  const made: unknown[] = []
  let y = 0
  for (const [title, row] of Object.entries(ROWS)) {
    made.push({ id: made.length + 1, type: 'row', title, collapsed: false, gridPos: { x: 0, y: y++, w: WIDTH, h: 1 }, panels: [] })
    row.forEach(({ title, unit, about, queries, stacked = false }, position) => {
      made.push({
        id: made.length + 1,
        type: 'timeseries',
        title,
        description: about,
        datasource: DATASOURCE,
        gridPos: { x: position % 2 * WIDTH / 2, y: y + Math.floor(position / 2) * HEIGHT, w: WIDTH / 2, h: HEIGHT },
        fieldConfig: { defaults: { unit, min: 0, custom: { fillOpacity: stacked ? 20 : 0, stacking: { mode: stacked ? 'normal' : 'none' } } }, overrides: [] },
        options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
        targets: queries.map(({ expr, legend }, number) => ({ refId: String.fromCharCode(65 + number), expr, legendFormat: legend, datasource: DATASOURCE }))
      })
    })
    y += Math.ceil(row.length / 2) * HEIGHT
  }
  return made
}

/** The dashboard as Grafana imports it. */
export function dashboard (): string {
  return `${JSON.stringify({
    uid: 'icn-relay',
    title: 'icn-relay',
    tags: ['icn-relay'],
    schemaVersion: 38,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' },
        { name: 'relay', type: 'query', label: 'Relay', datasource: DATASOURCE, query: 'label_values(icn_relay_build_info, instance)', refresh: 2, multi: true, includeAll: true, allValue: '.*', current: { text: 'All', value: '$__all' } }
      ]
    },
    panels: panels()
  }, undefined, 2)}\n`
}
