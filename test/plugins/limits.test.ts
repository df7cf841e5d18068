import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { suite, test, type TestContext } from 'node:test'
import { Agent, request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { makeCertificate } from '../../tools/harness/quinn-rig.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const PATH = '/shards/syn-1000-limits/shard_0.bin'
const LIMIT = { timeout: 240_000 }

/** `log` is what the access log has written. */
interface Setup extends RunningRelay { readonly log: () => string }

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const lines: string[] = []
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { requests_per_minute: 100_000 } }, { output: line => { lines.push(line) } })
  return { ...running, log: () => lines.join('') }
}

async function get (url: string, headers: Record<string, string> = {}, method: 'GET' | 'PUT' | 'OPTIONS' = 'GET', body?: unknown): Promise<AnyResponse> {
  const response = await request(url, { method, headers: { ...headers, ...body === undefined ? {} : { 'content-type': 'application/json' } }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

interface Report {
  readonly limits: Record<string, number>
  readonly tracked: Record<string, number>
  readonly refused: Record<string, number>
}

async function report (adminUrl: string, change?: unknown): Promise<Report> {
  const answer = await get(`${adminUrl}/admin/v1/limits`, {}, change === undefined ? 'GET' : 'PUT', change)
  assert.equal(answer.status, 200, answer.body.toString())
  return JSON.parse(answer.body.toString()) as Report
}

/** Asks `count` times at the same time: at a rate of 1 or 2 a second most of them are too many, however slow the machine. */
async function crowd (url: string, count: number, headers: Record<string, string> = {}): Promise<AnyResponse[]> {
  return await Promise.all(Array.from({ length: count }, async () => await get(url, headers)))
}

const withStatus = (answers: readonly AnyResponse[], status: number): AnyResponse[] => answers.filter(answer => answer.status === status)

suite('requests over HTTP', () => {
  test('too many in a second are 429 with the time to wait, readable by pages, and counted; the rest is served', LIMIT, async t => {
    const { viewerUrl, adminUrl } = await setup(t, { limits: { requests_per_second_per_viewer: 2 } })
    const answers = await crowd(viewerUrl + PATH, 40)
    const served = withStatus(answers, 200)
    const refused = withStatus(answers, 429)
    assert.equal(served.length + refused.length, 40)
    assert.ok(served.length >= 2 && refused.length >= 1, `${served.length} served, ${refused.length} refused`)
    for (const answer of refused) {
      assertProblem(answer, 'RELAY_ERR_RATE_LIMITED')
      assert.match(answer.body.toString(), /more than 2 requests in a second/)
      const { 'retry-after': wait, 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': reset } = answer.headers
      assert.deepEqual([wait, limit, remaining, reset], ['1', '2', '0', '1'])
      assert.equal(answer.headers['access-control-allow-origin'], '*')
      assert.match(String(answer.headers['access-control-expose-headers']), /ratelimit-limit.*retry-after/)
    }
    for (const answer of served) {
      assert.equal(answer.headers['ratelimit-limit'], '2')
      assert.ok(['0', '1'].includes(String(answer.headers['ratelimit-remaining'])))
    }
    assert.equal(await metric(adminUrl, 'icn_relay_viewer_requests_limited_total', '{transport="http"}'), refused.length)
    assert.equal((await report(adminUrl)).refused['requests'], refused.length)
  })

  test('what no route is there for counts too, and so does a request without a token', LIMIT, async t => {
    const { viewerUrl } = await setup(t, { limits: { requests_per_second_per_viewer: 1 }, auth: { require: true, tokens: ['a-token-of-a-viewer'] } })
    for (const [path, status] of [['/nothing/here', 404], [PATH, 401], ['/v1/transport', 200]] as const) {
      const answers = await crowd(viewerUrl + path, 20)
      assert.equal(withStatus(answers, status).length + withStatus(answers, 429).length, 20, path)
      assert.ok(withStatus(answers, 429).length > 0, path)
    }
  })

  test('quiet addresses are forgotten, and never more are remembered than the bound', LIMIT, async t => {
    const { relay, viewerUrl, adminUrl } = await setup(t, { limits: { tracked_ips: 10 }, viewer: { trusted_proxies: ['127.0.0.1'] } })
    for (let n = 0; n < 50; n++) {
      await get(`${viewerUrl}/v1/transport`, { 'x-forwarded-for': `203.0.113.${n}` })
      assert.ok(relay.admin.limits.requests.size <= 10)
    }
    assert.equal(await metric(adminUrl, 'icn_relay_limits_tracked_addresses', '{limit="requests"}'), relay.admin.limits.requests.size)
    await until(async () => (await report(adminUrl)).tracked['requests'], tracked => tracked === 0)
  })
})

suite('trusted proxies', () => {
  const forwarded = (address: string): Record<string, string> => ({ 'x-forwarded-for': address })

  test('viewers behind one are told apart, IPv6 by /64; what stands before their own address is not believed', LIMIT, async t => {
    const { viewerUrl, log } = await setup(t, { limits: { requests_per_second_per_viewer: 1 }, viewer: { trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] } })
    // Twenty viewers at the same time, each with a bucket of its own.
    const all = await Promise.all(Array.from({ length: 20 }, async (_, n) => await get(viewerUrl + PATH, forwarded(`203.0.113.${n}, 10.1.2.3`))))
    assert.equal(withStatus(all, 200).length, 20)
    for (const same of [
      (n: number) => `198.51.100.${n}, 203.0.113.200`,
      (n: number) => n % 2 === 0 ? '192.0.2.1' : '::ffff:192.0.2.1',
      (n: number) => `2001:db8:0:1::${n}`,
      (n: number) => `nonsense-${n}`
    ]) {
      const answers = await Promise.all(Array.from({ length: 20 }, async (_, n) => await get(viewerUrl + PATH, forwarded(same(n)))))
      assert.ok(withStatus(answers, 429).length > 0, same(0))
    }
    await until(async () => log(), text => text.includes('"remote":"203.0.113.19"'))
    assert.doesNotMatch(log(), /"remote":"127\.0\.0\.1"[^\n]*"url":"\/shards\//)
  })

  test('without any, nobody can be somebody else', LIMIT, async t => {
    const { viewerUrl, log } = await setup(t, { limits: { requests_per_second_per_viewer: 1 } })
    const answers = await Promise.all(Array.from({ length: 20 }, async (_, n) => await get(viewerUrl + PATH, forwarded(`203.0.113.${n}`))))
    assert.ok(withStatus(answers, 429).length > 0)
    await until(async () => log(), text => text.includes('"remote":"127.0.0.1"'))
    assert.doesNotMatch(log(), /203\.0\.113/)
  })
})

suite('connections over HTTP', () => {
  async function open (t: TestContext, url: string, localAddress = '127.0.0.1'): Promise<Socket> {
    const { hostname, port } = new URL(url)
    const socket = connectTcp({ host: hostname, port: Number(port), localAddress })
    socket.on('error', () => {})
    t.after(() => { socket.destroy() })
    // A reset may overtake the news of the connection.
    await new Promise<void>(resolve => { socket.once('connect', () => { resolve() }).once('close', () => { resolve() }) })
    return socket
  }

  const gone = async (socket: Socket): Promise<unknown> => socket.resume().closed ? undefined : await once(socket, 'close')

  test('more of one address than the limit are closed on accept and counted; one that ends makes room', LIMIT, async t => {
    const { relay, viewerUrl, adminUrl } = await setup(t, { limits: { connections_per_ip: 3 } })
    const { connections } = relay.admin.limits
    const kept = [await open(t, viewerUrl), await open(t, viewerUrl), await open(t, viewerUrl)]
    await gone(await open(t, viewerUrl))
    await gone(await open(t, viewerUrl))
    const other = await open(t, viewerUrl, '127.0.0.2')
    await until(async () => connections.size, size => size === 2)
    assert.deepEqual([connections.of('127.0.0.1'), connections.of('127.0.0.2')], [3, 1])
    assert.ok([...kept, other].every(socket => !socket.destroyed))
    assert.equal(await metric(adminUrl, 'icn_relay_viewer_connections_limited_total'), 2)
    assert.equal(await metric(adminUrl, 'icn_relay_limits_tracked_addresses', '{limit="connections"}'), 2)
    assert.deepEqual([(await report(adminUrl)).refused['connectionsPerIp'], (await report(adminUrl)).tracked['connections']], [2, 2])
    kept[0]?.destroy()
    await until(async () => connections.of('127.0.0.1'), count => count === 2)
    const agent = new Agent({ connections: 1 })
    t.after(async () => { await agent.destroy() })
    assert.equal((await request(viewerUrl + PATH, { dispatcher: agent })).statusCode, 200)
    for (const socket of [...kept, other]) socket.destroy()
    await agent.destroy()
    await until(async () => connections.size, size => size === 0)
  })

  test('a change of the limit counts for connections from then on, and trusted proxies may have any number', LIMIT, async t => {
    const { relay, viewerUrl, adminUrl } = await setup(t, { limits: { connections_per_ip: 1 }, viewer: { trusted_proxies: ['127.0.0.3'] } })
    for (let n = 0; n < 5; n++) await open(t, viewerUrl, '127.0.0.3')
    await open(t, viewerUrl)
    await gone(await open(t, viewerUrl))
    assert.equal(relay.admin.limits.connections.size, 1, 'proxies are not counted')
    assert.equal((await report(adminUrl, { connectionsPerIp: 2 })).limits['connectionsPerIp'], 2)
    await open(t, viewerUrl)
    await until(async () => relay.admin.limits.connections.of('127.0.0.1'), count => count === 2)
    await gone(await open(t, viewerUrl))
  })

  test('with a certificate the connection is closed before TLS', LIMIT, async t => {
    const directory = await temporaryDirectory(t)
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
    const made = makeCertificate()
    await Promise.all([writeFile(cert, made.cert), writeFile(key, made.key)])
    const { relay, viewerUrl } = await setup(t, { limits: { connections_per_ip: 1 }, tls: { cert, key } })
    const kept = await open(t, viewerUrl)
    const late = await open(t, viewerUrl)
    let heard = 0
    late.on('data', chunk => { heard += chunk.length })
    await gone(late)
    assert.equal(heard, 0)
    assert.equal(relay.admin.limits.refused.connectionsPerIp, 1)
    assert.ok(!kept.destroyed)
  })
})

suite('/admin/v1/limits', () => {
  test('shows the configured numbers, changes those that are named, and refuses what the configuration would refuse', LIMIT, async t => {
    const { adminUrl } = await setup(t, { limits: { handshakes_per_second: 100, handshakes_per_second_per_ip: 10, tracked_ips: 10_000, requests_per_second_per_viewer: 200, connections_per_ip: 256 } })
    const defaults = { handshakesPerSecond: 100, handshakesPerSecondPerIp: 10, trackedIps: 10_000, requestsPerSecondPerViewer: 200, connectionsPerIp: 256 }
    assert.deepEqual(await report(adminUrl), {
      limits: defaults,
      tracked: { handshakes: 0, requests: 0, connections: 0 },
      refused: { handshakesPerSecond: 0, handshakesPerSecondPerIp: 0, requests: 0, connectionsPerIp: 0 }
    })
    assert.deepEqual((await report(adminUrl, { handshakesPerSecond: 50, requestsPerSecondPerViewer: 20 })).limits, { ...defaults, handshakesPerSecond: 50, requestsPerSecondPerViewer: 20 })
    for (const body of [{}, { handshakesPerSecond: 0 }, { trackedIps: 1_000_001 }, { connectionsPerIp: '5' }, { handshakesPerSecond: 1.5 }, { max: 5 }, { handshakesPerSecond: null }]) {
      assertProblem(await get(`${adminUrl}/admin/v1/limits`, {}, 'PUT', body), 'RELAY_ERR_BAD_REQUEST', JSON.stringify(body))
    }
    assert.deepEqual((await report(adminUrl)).limits, { ...defaults, handshakesPerSecond: 50, requestsPerSecondPerViewer: 20 })
  })
})
