import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { startSuperNode, type SuperNode } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import { DETECTION_OUTCOMES } from '../../src/plugins/region/choice.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

const LIMIT = { timeout: 240_000 }

interface Setup extends RunningRelay {
  readonly nodes: readonly SuperNode[]
}

async function setup (t: TestContext, regions: readonly string[], settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const nodes = await Promise.all(regions.map(async region => await startSuperNode({ port: 0, region })))
  t.after(async () => { await Promise.all(nodes.map(async node => { await node.close() })) })
  const running = await startRelay(t, nodes.map(({ url, region }) => ({ url, region })), { ...settings, admin: { requests_per_minute: 100_000, ...settings['admin'] } })
  return { ...running, nodes }
}

async function call (url: string, method: Dispatcher.HttpMethod = 'GET', body?: unknown): Promise<AnyResponse> {
  const response = await request(url, { method, headers: { 'x-requested-with': 'test', ...body === undefined ? {} : { 'content-type': 'application/json' } }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

interface Report {
  readonly current: string
  readonly source: string
  readonly override: string | null
  readonly detected: string | null
  readonly measuredAt: number | null
  readonly tookMs: number | null
  readonly outcome: string | null
  readonly regions: readonly { region: string, latencyMs: number | null }[]
  readonly nodes: readonly { id: string, region: string, samplesMs: (number | null)[], medianMs: number | null, reachable: boolean }[]
}

async function ask ({ adminUrl }: RunningRelay, method: 'GET' | 'POST' | 'PUT' = 'GET', override?: string | null): Promise<Report> {
  const answer = await call(`${adminUrl}/admin/v1/region${method === 'POST' ? '/detect' : ''}`, method, override === undefined ? undefined : { override })
  assert.equal(answer.status, 200, answer.body.toString())
  return JSON.parse(answer.body.toString()) as Report
}

const inForce = ({ current, source, override, detected }: Report): unknown[] => [current, source, override, detected]

async function toldToViewers ({ viewerUrl }: RunningRelay): Promise<string> {
  return (JSON.parse((await call(`${viewerUrl}/v1/transport`)).body.toString()) as { region: string }).region
}

suite('admin', () => {
  test('the region is detected by itself, and the report has every node with its samples', async t => {
    const running = await setup(t, ['EU-WEST', 'EU-WEST'])
    const [, gone] = running.nodes
    const before = Date.now()
    await until(async () => await ask(running), ({ measuredAt }) => measuredAt !== null)
    await gone?.close()
    const report = await ask(running, 'POST')
    assert.deepEqual(inForce(report), ['EU-WEST', 'detected', null, 'EU-WEST'])
    assert.equal(report.outcome, 'kept')
    assert.ok(report.measuredAt !== null && report.measuredAt >= before && report.measuredAt <= Date.now())
    assert.ok(report.tookMs !== null && report.tookMs > 0)
    assert.deepEqual(report.nodes.map(({ id, region, reachable }) => [id, region, reachable]), running.nodes.map(({ url }, n) => [new URL(url).host, 'EU-WEST', n === 0]))
    const [up, down] = report.nodes
    assert.ok(up !== undefined && up.samplesMs.length === 3 && up.samplesMs.every(sample => sample !== null && sample > 0))
    assert.deepEqual(up.samplesMs.toSorted((a, b) => (a ?? 0) - (b ?? 0))[1], up.medianMs)
    assert.deepEqual(down?.samplesMs, [null, null, null])
    assert.equal(down.medianMs, null)
    assert.deepEqual(report.regions, [{ region: 'EU-WEST', latencyMs: up.medianMs }])
    assert.deepEqual(await ask(running), report)
  })

  test('an override goes into force immediately, everywhere, and null ends it', async t => {
    const running = await setup(t, ['APAC'])
    await until(async () => await ask(running), ({ measuredAt }) => measuredAt !== null)
    assert.deepEqual(inForce(await ask(running, 'PUT', 'MENA')), ['MENA', 'override', 'MENA', 'APAC'])
    assert.equal(await toldToViewers(running), 'MENA')
    assert.equal((JSON.parse((await call(`${running.adminUrl}/admin/v1/upstreams`)).body.toString()) as { region: string }).region, 'MENA')
    assert.deepEqual(inForce(await ask(running, 'POST')), ['MENA', 'override', 'MENA', 'APAC'])
    assert.deepEqual(inForce(await ask(running, 'PUT', null)), ['APAC', 'detected', null, 'APAC'])
    assert.equal(await toldToViewers(running), 'APAC')
  })

  test('an override of the configuration wins, and nothing is measured until somebody asks', async t => {
    const running = await setup(t, ['APAC'], { region: { override: 'LATAM' } })
    assert.deepEqual(await ask(running), { current: 'LATAM', source: 'override', override: 'LATAM', detected: null, measuredAt: null, tookMs: null, outcome: null, regions: [], nodes: [] })
    assert.deepEqual(inForce(await ask(running, 'POST')), ['LATAM', 'override', 'LATAM', 'APAC'])
    assert.equal(running.nodes[0]?.stats().requests, 0, 'a detection asks nothing of a super-node')
  })

  test('a region that is not in use, or a body that is not exactly right, is 400 and changes nothing', async t => {
    const running = await setup(t, ['APAC'], { region: { regions: ['APAC', 'MOON-1'] } })
    await until(async () => await ask(running), ({ measuredAt }) => measuredAt !== null)
    const url = `${running.adminUrl}/admin/v1/region`
    const unknown = await call(url, 'PUT', { override: 'EU-WEST' })
    assertProblem(unknown, 'RELAY_ERR_BAD_REQUEST')
    assert.match((JSON.parse(unknown.body.toString()) as { detail: string }).detail, /"EU-WEST" is not one of APAC, MOON-1/)
    for (const body of [{}, [], null, { override: '' }, { override: 1 }, { override: 'apac' }, { override: ['APAC'] }, { override: 'A'.repeat(33) }, { override: 'APAC', more: 1 }, { region: 'APAC' }]) {
      assertProblem(await call(url, 'PUT', body), 'RELAY_ERR_BAD_REQUEST', JSON.stringify(body))
    }
    assert.deepEqual(inForce(await ask(running)), ['APAC', 'detected', null, 'APAC'])
    assert.equal((await ask(running, 'PUT', 'MOON-1')).current, 'MOON-1')
  })

  test('requests that come together share a detection', async t => {
    const running = await setup(t, ['APAC', 'MENA'])
    await until(async () => await ask(running), ({ measuredAt }) => measuredAt !== null)
    const detections = async (): Promise<number> => {
      const counted = await Promise.all(DETECTION_OUTCOMES.map(async outcome => await metric(running.adminUrl, 'icn_relay_region_detections_total', `{outcome="${outcome}"}`)))
      return counted.reduce((sum, count) => sum + count, 0)
    }
    const before = await detections()
    const { relay } = running
    const [one, two, three] = await Promise.all([relay.admin.region.detect(), relay.admin.region.detect(), relay.admin.region.detect()])
    assert.ok(one === two && two === three)
    assert.equal(await detections(), before + 1)
  })

  test('viewers never see an address of a super-node', async t => {
    const running = await setup(t, ['APAC'])
    await ask(running, 'POST')
    const port = new URL(running.nodes[0]?.url ?? '').port
    for (const path of ['/v1/transport', '/admin/v1/region', '/region']) assert.ok(!(await call(running.viewerUrl + path)).body.includes(port), path)
  })
})

test('metrics name the region in force and those in reach, and nothing that is gone', async t => {
  const running = await setup(t, ['APAC', 'MENA'], { region: { override: 'APAC' } })
  const { adminUrl, nodes } = running
  const lines = async (): Promise<string[]> => (await call(`${adminUrl}/metrics`)).body.toString().split('\n').filter(line => line.startsWith('icn_relay_region_')).map(line => line.replace(/(latency_ms\{.*\}) .*$/, '$1'))
  assert.deepEqual(await lines(), ['icn_relay_region_info{region="APAC"} 1'])
  await ask(running, 'POST')
  assert.deepEqual(await lines(), ['icn_relay_region_info{region="APAC"} 1', 'icn_relay_region_latency_ms{region="APAC"}', 'icn_relay_region_latency_ms{region="MENA"}', 'icn_relay_region_detections_total{outcome="first"} 1'])
  await nodes[0]?.close()
  await ask(running, 'PUT', 'LATAM')
  const { outcome } = await ask(running, 'POST')
  assert.ok(outcome === 'kept' || outcome === 'changed')
  const after = await lines()
  assert.deepEqual(after.slice(0, 2), ['icn_relay_region_info{region="LATAM"} 1', 'icn_relay_region_latency_ms{region="MENA"}'])
  assert.ok(after.includes(`icn_relay_region_detections_total{outcome="${outcome}"} 1`))
})

test('a new session is told the region in force then, by a gateway that was running before', LIMIT, async t => {
  const running = await setup(t, ['APAC'], { transport: { engine: 'quinn' } })
  const hello = async (): Promise<string> => await new Promise((resolve, reject) => {
    connect(running.viewerUrl, {
      transports: ['websocket'],
      connectTimeoutMs: 20_000,
      onControl: message => { if (message.type === 'hello') resolve(message.region) }
    }).then(client => { t.after(() => { client.close() }) }, reject)
  })
  assert.equal(await hello(), 'APAC')
  await ask(running, 'PUT', 'MENA')
  assert.equal(await hello(), 'MENA')
})
