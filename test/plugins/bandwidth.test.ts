import assert from 'node:assert/strict'
import { get } from 'node:http'
import test, { suite, type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

const SIZE = 400_000
const CID = `syn-${SIZE}-bandwidth`
const LIMIT = { timeout: 240_000 }

interface Row { readonly id: string, readonly transport: string, readonly shareBps: number | null, readonly rateBps: number, readonly waitedMs: number }
interface Report { readonly totalBps: number, readonly shareBps: number | null, readonly parts: { readonly http: number, readonly gateway: number }, readonly backloggedViewers: number, readonly viewers: Row[], readonly next?: string }

async function setup (t: TestContext, bandwidth: Record<string, unknown>, settings: Record<string, Record<string, unknown>> = {}): Promise<RunningRelay> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  return await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, bandwidth, admin: { requests_per_minute: 100_000 } })
}

async function report ({ adminUrl }: RunningRelay, query = ''): Promise<Report> {
  const response = await request(`${adminUrl}/admin/v1/bandwidth${query}`)
  assert.equal(response.statusCode, 200)
  return await response.body.json() as Report
}

async function put ({ adminUrl }: RunningRelay, body: unknown): Promise<AnyResponse> {
  const response = await request(`${adminUrl}/admin/v1/bandwidth`, { method: 'PUT', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

/** A body read as it comes, from an address of its own. */
function watch (url: string, localAddress: string): { readonly chunks: Buffer[], readonly whole: Promise<Buffer>, stop: () => void } {
  const chunks: Buffer[] = []
  let stop = (): void => {}
  const whole = new Promise<Buffer>((resolve, reject) => {
    const asked = get(url, { localAddress, agent: false }, response => {
      response.on('data', (chunk: Buffer) => { chunks.push(chunk) }).on('end', () => { resolve(Buffer.concat(chunks)) }).on('error', reject)
    }).on('error', reject)
    stop = () => { asked.destroy() }
  })
  whole.catch(() => {})
  return { chunks, whole, stop }
}

const bytesOf = (chunks: readonly Buffer[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

test('without a budget the share of a viewer is absent, and with one it is there', async t => {
  const { relay, adminUrl } = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }])
  const lines = async (): Promise<string[]> => (await (await request(`${adminUrl}/metrics`)).body.text()).split('\n').filter(line => line.startsWith('icn_relay_bandwidth_share_bps'))
  assert.deepEqual(await lines(), [])
  relay.admin.bandwidth.keeper.set({ totalBps: 1_000_000 })
  assert.equal((await lines()).length, 1)
  relay.admin.bandwidth.keeper.set({ totalBps: 0 })
  assert.deepEqual(await lines(), [])
})

suite('viewers over HTTP', () => {
  test('nothing is limited by default: no header, no viewer waits, and nothing is counted', LIMIT, async t => {
    const relay = await setup(t, {})
    const { headers } = await fetchHashed(`${relay.viewerUrl}/shards/${CID}/shard_0.bin`)
    assert.equal(headers['cmsd-dynamic'], undefined)
    assert.ok(String(headers['access-control-expose-headers']).includes('cmsd-dynamic'))
    const { totalBps, shareBps, viewers, backloggedViewers } = await report(relay)
    assert.deepEqual({ totalBps, shareBps, backloggedViewers }, { totalBps: 0, shareBps: null, backloggedViewers: 0 })
    assert.deepEqual(viewers.map(({ id, transport, shareBps, waitedMs }) => ({ id, transport, shareBps, waitedMs })), [{ id: 'ip 127.0.0.1', transport: 'http', shareBps: null, waitedMs: 0 }])
    assert.equal(await metric(relay.adminUrl, 'icn_relay_bandwidth_granted_bytes_total', '{transport="http"}'), 0)
  })

  test('a hit in memory goes out at the viewer\'s pace, not all in one burst; a budget that is lifted lets it go', LIMIT, async t => {
    const relay = await setup(t, {})
    const url = `${relay.viewerUrl}/shards/${CID}/shard_1.bin`
    // The copy to memory is made beside the answers, and not while a busy machine makes the relay degraded.
    await until(async () => String((await fetchHashed(url)).headers['server-timing']), timing => timing.includes('hit ram'))
    // The burst is 64 KiB, and the rest would take an hour.
    assert.equal((await put(relay, { totalBps: 800 })).status, 200)
    const one = watch(url, '127.0.0.1')
    await until(async () => (await report(relay)).viewers[0]?.waitedMs ?? 0, waited => waited > 100)
    assert.ok(bytesOf(one.chunks) <= 65_536 + 1_000, `${bytesOf(one.chunks)} bytes`)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_bandwidth_budget_bps'), 800)
    assert.ok(await metric(relay.adminUrl, 'icn_relay_bandwidth_share_bps') <= 800)
    assert.ok(await metric(relay.adminUrl, 'icn_relay_bandwidth_throttled_seconds_total', '{transport="http"}') > 0.1)
    await until(async () => await metric(relay.adminUrl, 'icn_relay_bandwidth_backlogged_viewers'), count => count === 1)
    assert.equal((await put(relay, { totalBps: 0 })).status, 200)
    assert.equal(sha256(await one.whole), sha256(syntheticShard(CID, 1)))
  })

  test('waiting for bandwidth is not an idle connection, over HTTP/1.1 either', LIMIT, async t => {
    const relay = await setup(t, { total_bps: 800 }, { viewer: { idle_timeout_ms: 1_500 } })
    const one = watch(`${relay.viewerUrl}/shards/${CID}/shard_2.bin`, '127.0.0.1')
    // Three times the idle timeout, by the relay's own account of it.
    await until(async () => (await report(relay)).viewers[0]?.waitedMs ?? 0, waited => waited > 4_500)
    await put(relay, { totalBps: 0 })
    assert.equal(sha256(await one.whole), sha256(syntheticShard(CID, 2)))
  })

  test('a viewer that leaves while it waits leaves nothing behind, and its object can be evicted', LIMIT, async t => {
    // At this pace the object would take 40 s. One who leaves by FIN may still read, so that only the next write tells.
    const relay = await setup(t, { total_bps: 80_000 })
    const one = watch(`${relay.viewerUrl}/shards/${CID}/shard_3.bin`, '127.0.0.1')
    await until(async () => (await report(relay)).viewers[0]?.waitedMs ?? 0, waited => waited > 100)
    one.stop()
    await until(async () => relay.relay.admin.shardCache.disk.openFiles, files => files === 0)
    await until(async () => relay.relay.admin.bandwidth.viewers.idle, idle => idle === 1)
  })

  test('a cap holds without any budget; addresses are viewers of their own, listed page by page, and a header tells each its rendition', LIMIT, async t => {
    const relay = await setup(t, { viewer_cap_bps: 1_200_000, ladder: [{ rendition: 'low', min_bps: 0 }, { rendition: 'mid', min_bps: 1_000_000 }, { rendition: 'high', min_bps: 2_000_000 }] })
    const url = `${relay.viewerUrl}/shards/${CID}/shard_4.bin`
    const { headers } = await fetchHashed(url)
    assert.equal(headers['cmsd-dynamic'], '"icn-relay";mb=1200;icn-rendition="mid"')
    const head = await request(url, { method: 'HEAD' })
    assert.equal(head.headers['cmsd-dynamic'], '"icn-relay";mb=1200;icn-rendition="mid"')
    await Promise.all(['127.0.0.2', '127.0.0.3', '127.0.0.4'].map(async address => await watch(url, address).whole))
    const all = (await report(relay)).viewers
    assert.deepEqual(all.map(({ id }) => id), ['ip 127.0.0.1', 'ip 127.0.0.2', 'ip 127.0.0.3', 'ip 127.0.0.4'])
    assert.ok(all.every(({ shareBps }) => shareBps === 1_200_000))
    assert.ok(all.slice(1).every(({ rateBps }) => rateBps > 100_000))
    const first = await report(relay, '?limit=3')
    assert.deepEqual([first.viewers.length, first.next], [3, 'http ip 127.0.0.3'])
    const second = await report(relay, `?limit=3&cursor=${encodeURIComponent(first.next ?? '')}`)
    assert.deepEqual([second.viewers.map(({ id }) => id), second.next], [['ip 127.0.0.4'], undefined])
  })

  test('changes that make no sense change nothing', LIMIT, async t => {
    const relay = await setup(t, { total_bps: 1_000_000, viewer_cap_bps: 1_000 })
    for (const body of [{}, { totalBps: -1 }, { totalBps: 1.5 }, { totalBps: '1' }, { total_bps: 1 }, { viewerFloorBps: 1_001 }, { weights: {} }, []]) {
      assertProblem(await put(relay, body), 'RELAY_ERR_BAD_REQUEST')
    }
    const { totalBps } = await report(relay)
    assert.equal(totalBps, 1_000_000)
    assert.equal((await put(relay, { viewerFloorBps: 1_000 })).status, 200)
  })
})

for (const transport of ['webtransport', 'websocket'] as const) {
  test(`viewers over ${transport} wait for their share, are told of it, and are listed with it`, LIMIT, async t => {
    const relay = await setup(t, { total_bps: 8_000_000 }, { transport: { engine: 'quinn', heartbeat_ms: 50 } })
    const heard: Extract<ControlMessage, { type: 'bandwidth' }>[] = []
    const kinds: string[] = []
    const client = await connect(relay.viewerUrl, {
      transports: [transport],
      connectTimeoutMs: 20_000,
      stallMs: 60_000,
      onControl: message => {
        kinds.push(message.type)
        if (message.type === 'bandwidth') heard.push(message)
      }
    })
    t.after(() => { client.close() })
    await until(async () => heard.length, count => count > 0)
    assert.equal(kinds[0], 'hello')
    assert.equal(heard[0]?.suggestedRendition, '1080p')
    assert.equal((await put(relay, { totalBps: 800 })).status, 200)
    const slow = client.fetchShard(CID, 5)
    await until(async () => heard.at(-1)?.suggestedRendition, rendition => rendition === '480p')
    const [row] = await until(async () => (await report(relay)).viewers.filter(viewer => viewer.transport === transport), rows => (rows[0]?.waitedMs ?? 0) > 100)
    assert.ok(row?.shareBps !== null && row !== undefined && row.shareBps <= 800)
    const { parts } = await report(relay)
    assert.ok(parts.gateway > parts.http, 'its viewer asks for more')
    assert.equal((await put(relay, { totalBps: 0 })).status, 200)
    assert.equal(sha256((await slow).bytes), sha256(syntheticShard(CID, 5)))
    await until(async () => heard.at(-1)?.bitsPerSecond, bps => bps === 0)
    // What was admitted: the shard at least up to the lifting, and its wait.
    await until(async () => await metric(relay.adminUrl, 'icn_relay_bandwidth_throttled_seconds_total', `{transport="${transport}"}`), seconds => seconds > 0.1)
    assert.ok(await metric(relay.adminUrl, 'icn_relay_bandwidth_granted_bytes_total', `{transport="${transport}"}`) > 0)
    await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_size', '{name="bandwidth.waiting"}'), waiting => waiting === 0)
  })
}

test('kill -9 of the gateway: HTTP has the whole budget, and the next gateway begins with its part, not with everything', LIMIT, async t => {
  const relay = await setup(t, { total_bps: 1_000_000 }, { transport: { engine: 'quinn', heartbeat_ms: 50 } })
  const { keeper } = relay.relay.admin.bandwidth
  const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 20_000, stallMs: 60_000, attempts: 50 })
  t.after(() => { client.close() })
  const viewing = Promise.all([6, 7].map(async part => await client.fetchShard(CID, part)))
  viewing.catch(() => {})
  const browsing = watch(`${relay.viewerUrl}/shards/${CID}/shard_8.bin`, '127.0.0.2')
  await until(async () => keeper.parts, ({ http, gateway }) => Math.abs(http / gateway - 1) < 0.2)
  const supervisor = relay.relay.admin.viewers.supervisor
  const pid = supervisor?.pid
  assert.ok(pid)
  process.kill(pid, 'SIGKILL')
  await until(async () => keeper.parts, ({ http }) => http === 1_000_000)
  const { share } = relay.relay.admin.viewers.live.current
  // What it had when it was killed: about a half, and less where its viewers had what they asked for by then.
  assert.ok(share.budgetBps > 0 && share.budgetBps < 700_000, `${share.budgetBps}`)
  await until(async () => supervisor, value => value?.listening !== undefined && value.pid !== pid)
  const [six, seven] = await viewing
  assert.deepEqual([six, seven].map(result => sha256(result?.bytes ?? Buffer.alloc(0))), [6, 7].map(part => sha256(syntheticShard(CID, part))))
  assert.equal(sha256(await browsing.whole), sha256(syntheticShard(CID, 8)))
})
