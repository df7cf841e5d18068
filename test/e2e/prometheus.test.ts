/** Rules and dashboard, as promtool and a real Prometheus judge them. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { METRICS } from '../../src/plugins/metrics/definitions.ts'
import { dashboard, DASHBOARD, dashboardQueries } from '../../scripts/dashboard.ts'
import { cacheStats, fetchHashed, until } from '../../tools/harness/http.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { freePort, PROMETHEUS, withoutPrometheus } from '../../tools/harness/ci.ts'

const RULES = resolve('deploy/prometheus/icn-relay.rules.yml')
/** What has no series before something is refused, evicted, or asked for often. */
const QUIET = ['icn_relay_open_failures_total', 'icn_relay_viewer_requests_limited_total', 'icn_relay_cache_evictions_total', 'icn_relay_cache_estimated_byte_hit_ratio']

const skip = withoutPrometheus()

suite('what watches a relay', () => {
  test('the dashboard is the one that is generated, and each alert has its section of the runbook', async () => {
    assert.equal(await readFile(DASHBOARD, 'utf8'), dashboard(), 'npm run docs')
    const rules = await readFile(RULES, 'utf8')
    const alerts = Array.from(rules.matchAll(/^ +- alert: (\w+)$/gm), ([, name]) => name)
    const sections = Array.from((await readFile('docs/runbook.md', 'utf8')).matchAll(/^## (\w+)$/gm), ([, name]) => name)
    assert.deepEqual(sections, alerts)
    assert.deepEqual(Array.from(rules.matchAll(/runbook: docs\/runbook\.md#(\w+)$/gm), ([, anchor]) => anchor), alerts.map(name => name?.toLowerCase()))
    for (const [name] of `${rules}${JSON.stringify(dashboardQueries())}`.matchAll(/\bicn_relay_\w+/g)) {
      assert.ok(name.replace(/_(?:bucket|sum|count)$/, '') in METRICS, name)
    }
  })

  test('promtool takes the rules, and their own tests pass', { skip }, async () => {
    await promisify(execFile)('promtool', ['check', 'config', resolve('deploy/prometheus/prometheus.yml')])
    await promisify(execFile)('promtool', ['test', 'rules', resolve('deploy/prometheus/icn-relay.rules.test.yml')])
  })

  test('a Prometheus that scrapes a relay evaluates every rule and answers every query of the dashboard', { skip, timeout: 120_000 }, async t => {
    const origin = await startSuperNode({ port: 0 })
    t.after(async () => { await origin.close() })
    const relay = await spawnRelay(t, [origin])
    const directory = await temporaryDirectory(t)
    await writeFile(join(directory, 'prometheus.yml'), `
global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }
rule_files: [${JSON.stringify(RULES)}]
scrape_configs: [{ job_name: icn-relay, static_configs: [{ targets: [${JSON.stringify(new URL(relay.adminUrl).host)}] }] }]
`)
    const url = `http://127.0.0.1:${await freePort()}`
    const prometheus = spawn(PROMETHEUS, [`--config.file=${join(directory, 'prometheus.yml')}`, `--storage.tsdb.path=${join(directory, 'data')}`, `--web.listen-address=${new URL(url).host}`], { stdio: 'ignore' })
    const ended = new Promise(resolve => { prometheus.once('close', resolve) })
    t.after(async () => {
      prometheus.kill('SIGKILL')
      await ended
    })
    const ask = async (path: string): Promise<{ status: string, data: { result: unknown[], groups: { rules: { name: string, health: string, lastError?: string }[] }[] } }> =>
      await (await request(`${url}/api/v1/${path}`)).body.json() as never
    const query = async (expr: string): Promise<unknown[]> => {
      const { status, data } = await ask(`query?query=${encodeURIComponent(expr)}`)
      assert.equal(status, 'success', expr)
      return data.result
    }
    const shard = async (part: number): Promise<void> => { await fetchHashed(`${relay.viewerUrl}/shards/syn-100000-watched/shard_${part}.bin`) }
    await shard(0)
    await until(async () => (await cacheStats(relay.adminUrl)).disk.entries, entries => entries === 1)
    await shard(0)
    // Rates need two scrapes, and something that happens between them.
    await until(async () => await query('count_over_time(icn_relay_bytes_served_total{transport="http"}[1m]) > 1').catch(() => []), series => series.length > 0)
    await shard(0)
    await shard(1)
    const rates = 'rate(icn_relay_cache_hits_total[1m]) > 0 and on (instance) rate(icn_relay_upstream_bytes_total[1m]) > 0'
    await until(async () => await query(rates), series => series.length > 0)
    for (const { expr } of dashboardQueries()) {
      const series = await query(expr.replaceAll('$relay', '.*').replaceAll('$__rate_interval', '1m'))
      if (!QUIET.some(name => expr.includes(name))) assert.ok(series.length > 0, `${expr} has no series`)
    }
    const { data: { groups } } = await until(async () => await ask('rules'), ({ data }) => data.groups.every(({ rules }) => rules.every(({ health }) => health !== 'unknown')))
    const rules = groups.flatMap(group => group.rules)
    assert.deepEqual(rules.filter(({ health }) => health !== 'ok'), [])
    assert.equal(rules.length, 27)
  })
})
