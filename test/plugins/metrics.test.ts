import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { startSuperNode, type Faults, type SuperNode } from '../../demo/super-node/server.ts'
import { VERSION } from '../../src/base/version.ts'
import { METRICS, type MetricDefinition } from '../../src/plugins/metrics/definitions.ts'
import { cacheStats, inParallel, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'

/** The names and types of the review of the earlier version, and those it misses. */
const REVIEW = {
  icn_relay_cache_hits_total: 'counter',
  icn_relay_cache_misses_total: 'counter',
  icn_relay_upstream_fetches_total: 'counter',
  icn_relay_cache_evictions_total: 'counter',
  icn_relay_bytes_served_total: 'counter',
  icn_relay_viewer_connections: 'gauge',
  icn_relay_cache_size_bytes: 'gauge',
  icn_relay_cache_utilization_percent: 'gauge',
  icn_relay_shard_serve_latency_seconds: 'histogram',
  icn_relay_upstream_fetch_latency_seconds: 'histogram',
  icn_relay_p2p_peers: 'gauge',
  icn_relay_health_check_failures_total: 'counter',
  icn_relay_disk_io_wait_seconds: 'histogram'
}

interface Scrape {
  /** Type by metric name. */
  readonly types: ReadonlyMap<string, string>
  /** Value by series: name and labels as they stand in the text. */
  readonly series: ReadonlyMap<string, number>
}

async function scrape (adminUrl: string): Promise<Scrape> {
  const text = await (await request(`${adminUrl}/metrics`)).body.text()
  const types = new Map<string, string>()
  const series = new Map<string, number>()
  for (const line of text.split('\n').filter(line => line !== '')) {
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? []
    if (name !== undefined && type !== undefined) {
      assert.ok(!types.has(name), `${name} twice`)
      types.set(name, type)
    }
    if (line.startsWith('#')) continue
    const [, id, value] = /^([a-z_0-9]+(?:\{.*\})?) (\S+)$/.exec(line) ?? []
    assert.ok(id !== undefined && value !== undefined, line)
    assert.ok(!series.has(id), `${id} twice`)
    series.set(id, Number(value))
  }
  return { types, series }
}

/** Sum of the series of a metric whose labels contain `labels`. */
function sum ({ series }: Scrape, name: string, ...labels: string[]): number {
  let total = 0
  for (const [id, value] of series) {
    if ((id === name || id.startsWith(`${name}{`)) && labels.every(label => id.includes(label))) total += value
  }
  return total
}

interface Setup extends RunningRelay { readonly origin: SuperNode }

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}, faults: Faults = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { requests_per_minute: 100_000 } })
  return { ...running, origin }
}

/** @returns body bytes received */
async function get (url: string, headers: Record<string, string> = {}, method: Dispatcher.HttpMethod = 'GET'): Promise<number> {
  const response = await request(url, { method, headers: { 'x-requested-with': 'test', ...headers } })
  return (await response.body.arrayBuffer()).byteLength
}

async function settled (adminUrl: string): Promise<void> {
  await until(async () => await cacheStats(adminUrl), stats => stats.fills === 0)
}

suite('names', () => {
  test('every metric of the review is there under its exact name and type', async t => {
    const { adminUrl } = await setup(t)
    const { types } = await scrape(adminUrl)
    for (const [name, type] of Object.entries(REVIEW)) assert.equal(types.get(name), type, name)
  })

  test('what is exported under icn_relay_ is exactly what is defined, with its labels', async t => {
    const { adminUrl, viewerUrl, origin } = await setup(t, { upstream: { backoff_initial_ms: 1, backoff_max_ms: 1 } })
    for (let n = 0; n < 4; n++) {
      await get(`${viewerUrl}/shards/syn-1000-names/shard_0.bin`)
      await settled(adminUrl)
    }
    await get(`${viewerUrl}/shards/none/shard_0.bin`)
    origin.setFaults({ status: 500 })
    await get(`${viewerUrl}/shards/syn-1000-fail/shard_0.bin`)
    await get(`${adminUrl}/admin/v1/cache/shards?confirm=all`, {}, 'DELETE')
    const { types, series } = await scrape(adminUrl)
    const exported = [...types].filter(([name]) => name.startsWith('icn_relay_')).sort()
    const definitions: Record<string, MetricDefinition> = METRICS
    assert.deepEqual(exported, Object.entries(definitions).map(([name, { type }]) => [name, type]).sort())
    for (const id of series.keys()) {
      const [, full = '', labels = ''] = /^([a-z_0-9]+)(?:\{(.*)\})?$/.exec(id) ?? []
      if (!full.startsWith('icn_relay_')) continue
      const definition = definitions[full] ?? definitions[full.replace(/_(?:bucket|sum|count)$/, '')]
      assert.ok(definition !== undefined, id)
      const used = [...labels.matchAll(/(?:^|,)([a-z_]+)="/g)].map(match => match[1] ?? '').filter(label => label !== 'le').sort()
      assert.deepEqual(used, [...definition.labels ?? []].sort(), id)
    }
  })

  test("Node's own metrics are there beside them", async t => {
    const { adminUrl } = await setup(t)
    const { types } = await scrape(adminUrl)
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds']) assert.ok(types.has(name), name)
  })

  test('they say what runs, and until when its certificate holds', async t => {
    const now = await scrape((await setup(t)).adminUrl)
    assert.equal(now.series.get(`icn_relay_build_info{version="${VERSION}",node="${process.versions.node}"}`), 1)
    const days = (sum(now, 'icn_relay_certificate_not_after_timestamp_seconds', 'source="self-signed"') - Date.now() / 1_000) / 86_400
    assert.ok(days > 1 && days < 14, `${days} days`)
  })

  test('two relays in one process count apart', async t => {
    const [one, two] = [await setup(t), await setup(t)]
    await get(`${one.viewerUrl}/shards/syn-10-apart/shard_0.bin`)
    assert.equal(sum(await scrape(one.adminUrl), 'icn_relay_cache_misses_total'), 1)
    assert.equal(sum(await scrape(two.adminUrl), 'icn_relay_cache_misses_total'), 0)
  })
})

suite('counters', () => {
  test('miss, collapsed miss, disk hit and memory hit are told apart', async t => {
    const { adminUrl, viewerUrl } = await setup(t, {}, { latencyMs: 150 })
    const url = `${viewerUrl}/shards/syn-4000-count/shard_0.bin`
    await inParallel(Array.from({ length: 5 }), 5, async () => { await get(url) })
    await settled(adminUrl)
    const first = await scrape(adminUrl)
    assert.equal(sum(first, 'icn_relay_cache_misses_total', 'collapsed="false"'), 1)
    assert.equal(sum(first, 'icn_relay_cache_misses_total', 'collapsed="true"'), 4)
    assert.equal(sum(first, 'icn_relay_cache_hits_total'), 0)
    assert.equal(sum(first, 'icn_relay_upstream_fetches_total', 'outcome="ok"'), 1)
    assert.equal(sum(first, 'icn_relay_upstream_fetch_latency_seconds_count'), 1)
    assert.equal(sum(first, 'icn_relay_upstream_bytes_total'), 4_000)
    await get(url)
    assert.equal(sum(await scrape(adminUrl), 'icn_relay_cache_hits_total', 'tier="disk"'), 1)
    await until(async () => { await get(url); return (await cacheStats(adminUrl)).ram.entries }, entries => entries === 1)
    const before = sum(await scrape(adminUrl), 'icn_relay_cache_hits_total', 'tier="ram"')
    await get(url)
    const last = await scrape(adminUrl)
    assert.equal(sum(last, 'icn_relay_cache_hits_total', 'tier="ram"'), before + 1)
    assert.equal(sum(last, 'icn_relay_cache_misses_total'), 5)
  })

  test('bytes served are body bytes, whatever the tier and the answer', async t => {
    const { adminUrl, viewerUrl } = await setup(t)
    const url = `${viewerUrl}/shards/syn-700000-bytes/shard_0.bin`
    let received = await get(url)
    await settled(adminUrl)
    for (let n = 0; n < 4; n++) {
      received += await get(url)
      received += await get(url, { range: 'bytes=100-299999' })
      await until(async () => await cacheStats(adminUrl), stats => stats.disk.openFiles === 0)
    }
    assert.equal((await cacheStats(adminUrl)).ram.entries, 1)
    assert.equal(await get(url, {}, 'HEAD'), 0)
    assert.equal(await get(url, { 'if-none-match': '*' }), 0)
    for (const headers of [{ range: 'bytes=9999999-' }, { range: 'x' }]) assert.ok(await get(url, headers) > 0)
    assert.equal(received, 5 * 700_000 + 4 * 299_900)
    await until(async () => sum(await scrape(adminUrl), 'icn_relay_bytes_served_total', 'transport="http"'), bytes => bytes === received)
  })

  test('the time to serve is observed once to the first byte and once to the last', async t => {
    const { adminUrl, viewerUrl } = await setup(t)
    const url = `${viewerUrl}/shards/syn-700000-time/shard_0.bin`
    await get(url)
    await settled(adminUrl)
    await get(url)
    await get(url)
    const count = async (result: string, stage: string) => sum(await scrape(adminUrl), 'icn_relay_shard_serve_latency_seconds_count', `result="${result}"`, `stage="${stage}"`, 'transport="http"')
    await until(async () => await count('hit', 'complete'), observed => observed === 2)
    assert.equal(await count('hit', 'first_byte'), 2)
    assert.equal(await count('miss', 'first_byte'), 1)
    assert.equal(await count('miss', 'complete'), 1)
  })

  test('evictions, removals, size and utilization follow the cache', async t => {
    const { adminUrl, viewerUrl } = await setup(t, { upstream: { max_object_bytes: 1_000 } })
    for (let n = 0; n < 5; n++) {
      await get(`${viewerUrl}/shards/syn-1000-evict${n}/shard_0.bin`)
      // Else a later one may be stored before it, and go instead.
      await settled(adminUrl)
    }
    await request(`${adminUrl}/admin/v1/cache`, { method: 'PATCH', body: '{"maxBytes":4000}', headers: { 'content-type': 'application/json' } }).then(async ({ body }) => { await body.dump() })
    await get(`${adminUrl}/admin/v1/cache/shards/syn-1000-evict4/0`, {}, 'DELETE')
    const now = await scrape(adminUrl)
    assert.equal(sum(now, 'icn_relay_cache_evictions_total', 'tier="disk"'), 1)
    assert.equal(sum(now, 'icn_relay_cache_removals_total', 'tier="disk"', 'reason="capacity"'), 1)
    assert.equal(sum(now, 'icn_relay_cache_removals_total', 'tier="disk"', 'reason="purge"'), 1)
    assert.equal(sum(now, 'icn_relay_cache_size_bytes'), 3_000)
    assert.equal(sum(now, 'icn_relay_cache_capacity_bytes'), 4_000)
    assert.equal(sum(now, 'icn_relay_cache_utilization_percent'), 75)
    assert.equal(sum(now, 'icn_relay_cache_entries', 'tier="disk"'), 3)
  })

  test('waiting for the disk is observed by operation', async t => {
    const { adminUrl, viewerUrl } = await setup(t, { cache: { ram_bytes: 0 } })
    const url = `${viewerUrl}/shards/syn-1000-disk/shard_0.bin`
    await get(url)
    await settled(adminUrl)
    await get(url)
    await get(`${adminUrl}/admin/v1/cache/shards?confirm=all`, {}, 'DELETE')
    const operations = ['open', 'read', 'write', 'fsync', 'rename', 'unlink']
    const now = await until(async () => await scrape(adminUrl), found => sum(found, 'icn_relay_disk_io_wait_seconds_count', 'operation="unlink"') > 0)
    for (const operation of operations) assert.ok(sum(now, 'icn_relay_disk_io_wait_seconds_count', `operation="${operation}"`) > 0, operation)
  })

  test('failures of super-nodes are counted by outcome, those of requests by code, failed checks by node', async t => {
    const { adminUrl, viewerUrl, origin } = await setup(t, { upstream: { backoff_initial_ms: 10, backoff_max_ms: 20 } })
    await get(`${viewerUrl}/shards/syn-10-ok/shard_0.bin`)
    await get(`${viewerUrl}/shards/none/shard_0.bin`)
    origin.setFaults({ status: 500 })
    await get(`${viewerUrl}/shards/syn-10-fail/shard_0.bin`)
    const node = `node="${new URL(origin.url).host}"`
    const now = await until(async () => await scrape(adminUrl), found => sum(found, 'icn_relay_health_check_failures_total', node) > 0)
    assert.equal(sum(now, 'icn_relay_upstream_fetches_total', node, 'outcome="ok"'), 1)
    assert.equal(sum(now, 'icn_relay_upstream_fetches_total', node, 'outcome="not_found"'), 1)
    assert.equal(sum(now, 'icn_relay_upstream_fetches_total', node, 'outcome="status"'), 1)
    assert.equal(sum(now, 'icn_relay_open_failures_total', 'code="RELAY_ERR_SHARD_NOT_FOUND"'), 1)
    assert.equal(sum(now, 'icn_relay_open_failures_total', 'code="RELAY_ERR_UPSTREAM_STATUS"'), 1)
    assert.equal(sum(now, 'icn_relay_p2p_peers'), 1)
    origin.reset()
    await until(async () => await scrape(adminUrl), found => sum(found, 'icn_relay_upstream_node_up', node, 'region="NA-WEST"') === 1)
  })

  test('viewer connections go up and down', async t => {
    const { adminUrl, viewerUrl } = await setup(t, {}, { bytesPerSecond: 100_000 })
    const open = await Promise.all(Array.from({ length: 3 }, async (_, n) => await request(`${viewerUrl}/shards/syn-1000000-open/shard_${n}.bin`)))
    const connections = async () => sum(await scrape(adminUrl), 'icn_relay_viewer_connections', 'transport="http"')
    assert.equal(await connections(), 3)
    for (const { body } of open) body.on('error', () => {}).destroy()
    await until(connections, count => count === 0)
  })
})

test('a super-node that is removed takes its series along, but not before its last body has ended', async t => {
  const { adminUrl, viewerUrl } = await setup(t, { region: { override: 'EU-WEST' }, upstream: { health_interval_ms: 10, circuit_failures: 1_000, circuit_error_ratio: 1, backoff_initial_ms: 10, backoff_max_ms: 20 } })
  const leaving = await startSuperNode({ region: 'EU-WEST' })
  t.after(async () => { await leaving.close() })
  const id = new URL(leaving.url).host
  const seriesOf = async (): Promise<string[]> => [...(await scrape(adminUrl)).series.keys()].filter(series => series.includes(`node="${id}"`))
  const names = (series: readonly string[]): string[] => [...new Set(series.map(name => name.replace(/(?:_bucket|_sum|_count)?\{.*$/, '')))].toSorted()
  const added = await request(`${adminUrl}/admin/v1/upstreams`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ url: leaving.url, region: 'EU-WEST' }) })
  await added.body.dump()
  await get(`${viewerUrl}/shards/syn-10-leaving/shard_0.bin`)
  leaving.setFaults({ match: '/health', status: 500 })
  await until(seriesOf, series => series.some(name => name.startsWith('icn_relay_health_check_failures_total')))
  // Its failure is counted at the end of the body.
  leaving.setFaults({ corrupt: true, bytesPerSecond: 50_000 })
  const body = get(`${viewerUrl}/shards/syn-200000-leaving/shard_0.bin`)
  body.catch(() => {})
  await until(async () => leaving.stats().bytesSent, sent => sent > 10)
  assert.equal(await get(`${adminUrl}/admin/v1/upstreams/${id}`, {}, 'DELETE') > 0, true)
  assert.deepEqual(names(await seriesOf()), ['icn_relay_health_check_failures_total', 'icn_relay_upstream_bytes_total', 'icn_relay_upstream_fetch_latency_seconds', 'icn_relay_upstream_fetches_total'])
  await assert.rejects(body)
  await settled(adminUrl)
  await until(seriesOf, series => series.length === 0)
  assert.deepEqual(await seriesOf(), [])
})

test('a thousand CIDs, paths and tokens add no series', { timeout: 240_000 }, async t => {
  // No time is up on a busy machine: an outcome seen for the first time would be a series.
  const { adminUrl, viewerUrl } = await setup(t, { upstream: { connect_timeout_ms: 60_000, headers_timeout_ms: 60_000, first_byte_timeout_ms: 60_000, health_timeout_ms: 60_000 } })
  const visit = async (n: number): Promise<void> => {
    const name = `${n}-${'abcdefghij'[n % 10] ?? ''}`
    await get(`${viewerUrl}/shards/syn-10-${name}/shard_0.bin?token=${name}`)
    const others = [`${viewerUrl}/shards/missing-${name}/shard_1.bin`, `${viewerUrl}/shards/bad.${name}/x`, `${viewerUrl}/unknown/${name}`, `${adminUrl}/admin/v1/cache/shards/missing-${name}/0`, `${adminUrl}/unknown/${name}`]
    await get(others[n % others.length] ?? '')
  }
  for (let n = 0; n < 5; n++) await visit(n)
  await settled(adminUrl)
  const names = async (): Promise<string[]> => [...(await scrape(adminUrl)).series.keys()].filter(id => id.startsWith('icn_relay_')).sort()
  // Whether a second viewer of one CID comes as a hit or a collapsed miss is chance; both exist from here on.
  await inParallel(Array.from({ length: 20 }, () => 0), 20, async () => await get(`${viewerUrl}/shards/syn-10-collapse/shard_0.bin`))
  await settled(adminUrl)
  await get(`${viewerUrl}/shards/syn-10-collapse/shard_0.bin`)
  // The scrape is a request of its own, and in the metrics from the second one on.
  await names()
  const before = await names()
  await inParallel(Array.from({ length: 1_000 }, (_, n) => n + 10), 16, async n => { await visit(n) })
  await settled(adminUrl)
  assert.deepEqual(await names(), before)
  assert.ok(before.length < 600, String(before.length))
})
