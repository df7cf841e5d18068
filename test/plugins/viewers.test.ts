import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { connect, type ShardClient } from '../../client/src/node.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { openGatewaySession } from '../../tools/harness/quinn-rig.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

const SIZE = 200_000
const CID = `syn-${SIZE}-viewers`
const LIMIT = { timeout: 240_000 }
/** The engine tells that it was refused, and not with which status. */
const REFUSED = { name: 'ConnectError' }

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<RunningRelay> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  return await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, transport: { engine: 'quinn', heartbeat_ms: 50, ...settings['transport'] }, admin: { requests_per_minute: 100_000 } })
}

async function dial (t: TestContext, url: string, transport: 'webtransport' | 'websocket', onControl: (message: ControlMessage) => void = () => {}): Promise<ShardClient> {
  const client = await connect(url, { transports: [transport], connectTimeoutMs: 20_000, onControl })
  t.after(() => { client.close() })
  return client
}

interface Viewer { readonly id: string, readonly address: string, readonly transport: string, readonly since: number, readonly streams: number, readonly streamsTotal: number, readonly bytes: number, readonly rate: number, readonly rttMs?: number }

async function viewers (adminUrl: string): Promise<Viewer[]> {
  const response = await request(`${adminUrl}/admin/v1/viewers`)
  assert.equal(response.statusCode, 200)
  return (await response.body.json() as { viewers: Viewer[] }).viewers
}

async function call (url: string, method: 'GET' | 'POST' | 'DELETE', body?: unknown): Promise<AnyResponse> {
  const response = await request(url, { method, headers: { 'x-requested-with': 'test', ...body === undefined ? {} : { 'content-type': 'application/json' } }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

const json = (response: AnyResponse): unknown => JSON.parse(response.body.toString())

test('/v1/transport names both transports, the hashes to pin, and nothing that is down', LIMIT, async t => {
  const { relay, viewerUrl } = await setup(t, { region: { override: 'EU-WEST' } })
  const got = await call(`${viewerUrl}/v1/transport`, 'GET')
  const { webtransport, websocket } = relay.admin.viewers.listening()?.open ?? {}
  const { port } = new URL(viewerUrl)
  assert.equal(webtransport?.port, Number(port), 'HTTP/3 has the number of the HTTP port')
  const answer = json(got) as { webtransport: { url: string } }
  const { searchParams } = new URL(answer.webtransport.url)
  assert.deepEqual(answer, {
    region: 'EU-WEST',
    webtransport: { url: `https://127.0.0.1:${port}/v1/viewer?ticket=${searchParams.get('ticket')}`, certificateHashes: relay.admin.certificates.hashes() },
    websocket: { url: `wss://127.0.0.1:${websocket?.port}/v1/viewer`, certificateHashes: relay.admin.certificates.hashes() },
    http: { url: viewerUrl },
    gateway: relay.admin.viewers.gatewayId()
  })
  assert.match(relay.admin.viewers.gatewayId(), /^[0-9a-f]{16}$/)
  const asking = json(await call(`${viewerUrl}/v1/transport?ticket=none`, 'GET')) as { webtransport: { url: string } }
  assert.equal(new URL(asking.webtransport.url).search, '')
  assert.ok(relay.admin.certificates.hashes().length > 0)
  assert.equal(got.headers['cache-control'], 'no-store')
  const named = await request(`${viewerUrl}/v1/transport`, { headers: { host: `relay.example:${port}` } })
  assert.deepEqual((await named.body.json() as { http: unknown }).http, { url: `http://relay.example:${port}` })
})

test('without a gateway there is plain HTTP, and admin says why', LIMIT, async t => {
  const { viewerUrl, adminUrl } = await setup(t, { transport: { engine: 'off' } })
  assert.deepEqual(json(await call(`${viewerUrl}/v1/transport`, 'GET')), { region: 'NA-WEST', http: { url: viewerUrl } })
  assertProblem(await call(`${adminUrl}/admin/v1/viewers`, 'GET'), 'RELAY_ERR_GATEWAY')
  assertProblem(await call(`${adminUrl}/admin/v1/drain`, 'POST', { deadlineMs: 0 }), 'RELAY_ERR_GATEWAY')
  assert.equal(await metric(adminUrl, 'icn_relay_gateway_up'), 0)
})

for (const transport of ['webtransport', 'websocket'] as const) {
  test(`viewers over ${transport} are listed, counted, measured, and can be disconnected`, LIMIT, async t => {
    const { viewerUrl, adminUrl } = await setup(t)
    const client = await dial(t, viewerUrl, transport)
    const began = Date.now()
    for (let part = 0; part < 5; part++) {
      const { bytes } = await client.fetchShard(CID, part)
      assert.equal(sha256(bytes), sha256(syntheticShard(CID, part)))
    }
    await client.fetchShard(CID, 0)
    await assert.rejects(client.fetchShard('nothing-here', 0))

    const [viewer, ...others] = await viewers(adminUrl)
    assert.ok(viewer !== undefined && others.length === 0)
    assert.equal(viewer.transport, transport)
    assert.match(viewer.address, transport === 'websocket' ? /^127\.0\.0\.1:\d+$/ : /^127\.0\.0\.1$/)
    assert.ok(Math.abs(viewer.since - began) < 60_000)
    assert.equal(viewer.streamsTotal, 7)
    assert.ok(viewer.bytes > 6 * SIZE && viewer.bytes < 6 * SIZE + 10_000, `${viewer.bytes}`)

    const labels = `{transport="${transport}"}`
    await until(async () => await metric(adminUrl, 'icn_relay_viewer_connections', labels), value => value === 1)
    await until(async () => await metric(adminUrl, 'icn_relay_viewer_streams_total', `{transport="${transport}",outcome="ok"}`), value => value === 6)
    await until(async () => await metric(adminUrl, 'icn_relay_viewer_streams_total', `{transport="${transport}",outcome="client-error"}`), value => value === 1)
    assert.equal(await metric(adminUrl, 'icn_relay_viewer_handshakes_total', labels), 1)
    assert.equal(await metric(adminUrl, 'icn_relay_bytes_served_total', labels), 6 * SIZE)
    for (const [result, count] of [['hit', 1], ['miss', 5]] as const) {
      for (const stage of ['first_byte', 'complete']) {
        assert.equal(await metric(adminUrl, 'icn_relay_shard_serve_latency_seconds_count', `{transport="${transport}",result="${result}",stage="${stage}"}`), count)
      }
    }
    assert.equal((json(await call(`${adminUrl}/health`, 'GET')) as { viewer_connections: number }).viewer_connections >= 1, true)
    await until(async () => await metric(adminUrl, 'icn_relay_gateway_leases'), leases => leases === 0)

    assertProblem(await call(`${adminUrl}/admin/v1/viewers/nobody`, 'DELETE'), 'RELAY_ERR_NOT_FOUND')
    assert.deepEqual(json(await call(`${adminUrl}/admin/v1/viewers/${viewer.id}`, 'DELETE')), { disconnected: true })
    // The client comes back by itself, as another viewer.
    assert.equal((await client.fetchShard(CID, 1)).transport, transport)
    assert.ok((await until(async () => await viewers(adminUrl), list => list.length === 1)).every(({ id }) => id !== viewer.id))
    client.close()
    await until(async () => await metric(adminUrl, 'icn_relay_viewer_connections', labels), value => value === 0)
    assert.deepEqual(await viewers(adminUrl), [])
  })
}

test('handshakes that fail are counted by reason', LIMIT, async t => {
  const { relay, adminUrl } = await setup(t, { transport: { handshake_timeout_ms: 300, max_sessions: 1 }, auth: { require: true, tokens: ['a-token-of-a-viewer'] } })
  const failures = async (reason: string): Promise<number> => await metric(adminUrl, 'icn_relay_viewer_handshake_failures_total', `{reason="${reason}"}`)
  const silent = connectTcp(relay.admin.viewers.listening()?.open.websocket?.port ?? 0, '127.0.0.1')
  t.after(() => { silent.destroy() })
  await once(silent, 'connect')
  await until(async () => await failures('timeout'), count => count === 1)
  await assert.rejects(openGatewaySession(relay, { path: '/v1/elsewhere' }), REFUSED)
  await until(async () => await failures('refused'), count => count === 1)
  await assert.rejects(openGatewaySession(relay, { query: 'token=a-wrong-token-of-his' }), REFUSED)
  await until(async () => await failures('refused'), count => count === 2)
  const session = await openGatewaySession(relay, { query: 'token=a-token-of-a-viewer' })
  t.after(() => { session.close() })
  await assert.rejects(openGatewaySession(relay), REFUSED)
  await until(async () => await failures('limit') + await failures('refused'), count => count === 3)
})

test('drain: viewers are told, nobody new is taken, a restart of the gateway changes nothing, and DELETE ends it', LIMIT, async t => {
  const { relay, viewerUrl, adminUrl } = await setup(t)
  const messages: ControlMessage[] = []
  const client = await dial(t, viewerUrl, 'webtransport', message => { messages.push(message) })
  await client.fetchShard(CID, 0)
  await until(async () => messages.length, count => count > 0)
  assert.deepEqual(json(await call(`${adminUrl}/admin/v1/drain`, 'POST', { deadlineMs: 60_000, alternates: ['https://other.example'] })), { draining: true })
  await until(async () => messages.find(({ type }) => type === 'drain'), message => message !== undefined)
  assert.deepEqual(messages.find(({ type }) => type === 'drain'), { type: 'drain', deadlineMs: 60_000, alternates: ['https://other.example'] })
  const ready = await call(`${adminUrl}/ready`, 'GET')
  assert.equal(ready.status, 503)
  assert.equal((json(ready) as { checks: { viewer: string } }).checks.viewer, 'draining')
  assert.deepEqual(json(await call(`${viewerUrl}/v1/transport`, 'GET')), { region: 'NA-WEST', http: { url: viewerUrl } })

  await assert.rejects(openGatewaySession(relay), REFUSED)

  const pid = relay.admin.viewers.supervisor?.pid
  assert.ok(pid)
  process.kill(pid, 'SIGKILL')
  await until(async () => relay.admin.viewers.supervisor, supervisor => supervisor?.listening !== undefined && supervisor.pid !== pid)
  await assert.rejects(openGatewaySession(relay), REFUSED)
  assert.deepEqual(await viewers(adminUrl), [])

  assert.deepEqual(json(await call(`${adminUrl}/admin/v1/drain`, 'DELETE')), { draining: false })
  assert.equal((await call(`${adminUrl}/ready`, 'GET')).status, 200)
  for (const headers of [{ 'x-requested-with': 'test' }, { 'content-type': 'application/json' }]) {
    const { statusCode, body } = await request(`${adminUrl}/admin/v1/drain`, { method: 'POST', headers })
    assert.deepEqual([statusCode, await body.json()], [202, { draining: true }])
    const { deadlineMs = 0, alternates } = relay.admin.viewers.live.current.drain ?? {}
    assert.ok(deadlineMs > 0 && deadlineMs <= 30_000, `${deadlineMs} ms`)
    assert.deepEqual(alternates, [])
    await call(`${adminUrl}/admin/v1/drain`, 'DELETE')
  }
  const session = await openGatewaySession(relay)
  session.close()
})

test('sessions are bounded in total, over both transports together, and by address', LIMIT, async t => {
  const { viewerUrl, adminUrl } = await setup(t, { transport: { max_sessions: 3, max_sessions_per_ip: 2 } })
  const one = await dial(t, viewerUrl, 'webtransport')
  await dial(t, viewerUrl, 'websocket')
  for (const transport of ['webtransport', 'websocket'] as const) {
    await assert.rejects(connect(viewerUrl, { transports: [transport], attempts: 1 }))
  }
  assert.equal((await viewers(adminUrl)).length, 2)
  one.close()
  await until(async () => await viewers(adminUrl), list => list.length === 1)
  await dial(t, viewerUrl, 'websocket')
})
