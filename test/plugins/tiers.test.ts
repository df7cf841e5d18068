import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { systemClock } from '../../src/base/clock.ts'
import { deferred } from '../../src/base/deferred.ts'
import { DEFAULT_FITNESS_POLICY } from '../../src/plugins/upstream/node-state.ts'
import { SuperNode } from '../../src/plugins/upstream/super-node.ts'
import { Upstream } from '../../src/plugins/upstream/upstream.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

interface Origin {
  readonly url: string
  readonly region: string
  /** `via` of every request. */
  readonly seen: (string | undefined)[]
  readonly paths: string[]
}

/** An origin that answers everything with one status, and tells of requests for objects or for the health of a relay. */
async function origin (t: TestContext, status: number, fields: Record<string, string> = {}): Promise<Origin> {
  const seen: (string | undefined)[] = []
  const paths: string[] = []
  const server = createServer((incoming, response) => {
    // Health checks come by the clock.
    if (incoming.url !== '/health') {
      seen.push(incoming.headers.via)
      paths.push(incoming.url ?? '')
    }
    response.writeHead(status, { 'content-length': 5, ...fields }).end('hello')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, region: 'NA-WEST', seen, paths }
}

const configured = ({ url, region }: { url: string, region: string }): { url: string, region: string } => ({ url, region })

async function ask (url: string, via?: string | string[]): Promise<AnyResponse> {
  const response = await request(url, { headers: via === undefined ? {} : { via } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

suite('via at the viewer listener', () => {
  test('a miss sends on the members of the request, and our own behind them', async t => {
    const node = await origin(t, 200)
    const { viewerUrl } = await startRelay(t, [configured(node)], { upstream: { relay_id: 'us' } })
    const cases: [via: string | string[] | undefined, sent: string][] = [
      [undefined, '1.1 icn-relay-us'],
      ['1.0 fred (Fred, of old), 2 icn-relay-them', '1.0 fred, 2 icn-relay-them, 1.1 icn-relay-us'],
      [['1.1 a', '1.1 b'], '1.1 a, 1.1 b, 1.1 icn-relay-us']
    ]
    for (const [n, [via, sent]] of cases.entries()) {
      assert.equal((await ask(`${viewerUrl}/shards/way/shard_${n}.bin`, via)).status, 200)
      assert.equal(node.seen[n], sent)
    }
  })

  test('a circle and a chain of `upstream.max_hops` are 508 immediately, cached or not', async t => {
    const node = await origin(t, 200)
    const { viewerUrl } = await startRelay(t, [configured(node)], { upstream: { relay_id: 'us', max_hops: 2 } })
    await ask(`${viewerUrl}/shards/warm/shard_0.bin`)
    for (const path of ['/shards/warm/shard_0.bin', '/shards/cold/shard_0.bin', '/shards/cold/manifest.json']) {
      assertProblem(await ask(viewerUrl + path, '1.1 kong/3.10.0, 1.1 ICN-relay-us, 1.1 (squid)'), 'RELAY_ERR_LOOP')
      assertProblem(await ask(viewerUrl + path, '1.1 x, 1.1 y'), 'RELAY_ERR_LOOP')
    }
    assert.equal(node.seen.length, 1)
    assert.equal((await ask(`${viewerUrl}/shards/cold/shard_0.bin`, '1.1 x')).status, 200)
  })

  test('our random name stays the same while the process lives', async t => {
    const node = await origin(t, 200)
    const { viewerUrl } = await startRelay(t, [configured(node)])
    for (let n = 0; n < 3; n++) await ask(`${viewerUrl}/shards/name/shard_${n}.bin`)
    assert.match(node.seen[0] ?? '', /^1\.1 icn-relay-[a-z0-9-]{8,50}$/)
    assert.equal(new Set(node.seen).size, 1)
  })
})

suite('a node that says 508', () => {
  test('the next is asked, and it is not put in back-off: anyone can forge a `via`', async t => {
    const circle = await origin(t, 508)
    const good = await startSuperNode({ region: 'APAC' })
    t.after(async () => { await good.close() })
    const { viewerUrl, relay } = await startRelay(t, [configured(circle), configured(good)], { region: { override: 'NA-WEST' } })
    assert.equal((await ask(`${viewerUrl}/shards/syn-100-a/shard_0.bin`)).status, 200)
    assert.deepEqual(relay.admin.upstream.status().map(({ state }) => state), ['up', 'up'])
  })

  test('when the others do not have it either, the viewer hears 404 where one of them is not a relay, else 508; beside a failure it proves nothing', async t => {
    const circle = await origin(t, 508)
    const without = await origin(t, 404)
    const failing = await origin(t, 500)
    const first = await startRelay(t, [configured(circle), configured(without)])
    assertProblem(await ask(`${first.viewerUrl}/shards/a/shard_0.bin`), 'RELAY_ERR_SHARD_NOT_FOUND')
    const relay = await origin(t, 404, { 'content-type': 'application/problem+json' })
    const third = await startRelay(t, [configured(circle), configured(relay)])
    assertProblem(await ask(`${third.viewerUrl}/shards/a/shard_0.bin`), 'RELAY_ERR_LOOP')
    const second = await startRelay(t, [configured(circle), configured(failing)])
    assertProblem(await ask(`${second.viewerUrl}/shards/a/shard_0.bin`), 'RELAY_ERR_UPSTREAM_STATUS')
  })
})

test('the health of a relay is asked for where its viewer listener answers', async t => {
  const node = await origin(t, 500)
  const { promise, resolve } = deferred<undefined>()
  const upstream = new Upstream({
    region: () => '',
    shardPath: '/s/{cid}/{n}',
    manifestPath: '/m/{cid}',
    connectionsPerNode: 1,
    connectTimeoutMs: 500,
    headersTimeoutMs: 500,
    bodyTimeoutMs: 500,
    leastBodyBps: 0,
    firstByteTimeoutMs: 500,
    hedge: { minMs: 20, maxMs: 100, budget: 0, burst: 1, maxParallel: 3 },
    fitness: DEFAULT_FITNESS_POLICY,
    health: { intervalMs: 60_000, timeoutMs: 500 },
    negativeTtlMs: 0,
    clock: systemClock,
    random: () => 0,
    observer: { attempt: () => {}, healthCheckFailed: () => { resolve(undefined) }, hedged: () => {}, resumed: () => {}, received: () => {}, oddAnswer: () => {}, nodeGone: () => {} },
    log: () => {}
  })
  t.after(async () => { await upstream.close() })
  upstream.nodes.set([{ ...configured(node), role: 'relay' }])
  await assert.rejects(upstream.fetch({ cid: 'a', part: 0 }, new AbortController().signal))
  await promise
  assert.deepEqual(node.paths.slice(0, 2).toSorted(), ['/s/a/0', '/v1/transport'])
})

test('whether a node may be a relay: until it has delivered as an origin does, whatever it was configured as', async t => {
  const cases: [name: string, node: Origin, role: 'origin' | 'relay', before: boolean, after: boolean][] = [
    ['an origin', await origin(t, 200), 'origin', true, false],
    ['an origin without the object', await origin(t, 404), 'origin', true, true],
    ['a relay named as one', await origin(t, 200), 'relay', true, true],
    ['a relay named as an origin', await origin(t, 200, { 'cache-status': 'icn-relay; hit' }), 'origin', true, true],
    ['a circle', await origin(t, 508), 'origin', true, true]
  ]
  for (const [name, { url, region, seen }, role, before, after] of cases) {
    const node = new SuperNode({ url, region, role, connections: 1, connectTimeoutMs: 5_000, headersTimeoutMs: 5_000, bodyTimeoutMs: 5_000, fitness: DEFAULT_FITNESS_POLICY, now: Date.now })
    t.after(async () => { await node.close() })
    assert.equal(node.mayBeRelay, before, name)
    const { signal } = new AbortController()
    await node.get('/x', signal).then(({ body }) => { body.resume() }, () => {})
    assert.equal(node.mayBeRelay, after, name)
    assert.equal(await node.leadsBack('/x', { via: '1.1 icn-relay-us' }), name === 'a circle')
    assert.deepEqual(seen, [undefined, '1.1 icn-relay-us'])
  }
  const healthy = await startSuperNode()
  t.after(async () => { await healthy.close() })
  const node = new SuperNode({ url: healthy.url, region: '', connections: 1, connectTimeoutMs: 5_000, headersTimeoutMs: 5_000, bodyTimeoutMs: 5_000, fitness: DEFAULT_FITNESS_POLICY, now: Date.now })
  t.after(async () => { await node.close() })
  await node.checkHealth(new AbortController().signal)
  assert.equal(node.mayBeRelay, false, 'a relay has no /health where viewers ask')
})

test('two relays configured as each other\'s super-node that miss the same objects at the same time: 508 for all of them, long before any time is up', { timeout: 240_000 }, async t => {
  const [portA, portB] = [await freePort(), await freePort()]
  const at = (port: number): { url: string, region: string } => ({ url: `http://127.0.0.1:${port}`, region: 'NA-WEST' })
  const settings = (port: number, id: string): Record<string, Record<string, unknown>> => ({ viewer: { port }, upstream: { relay_id: id, headers_timeout_ms: 3_600_000, first_byte_timeout_ms: 3_600_000 } })
  const a = await startRelay(t, [at(portB)], settings(portA, 'a'))
  const b = await startRelay(t, [at(portA)], settings(portB, 'b'))
  const answers = await Promise.all([0, 1, 2, 3, 4].flatMap(n => [a, b].map(async ({ viewerUrl }) => await ask(`${viewerUrl}/shards/cross/shard_${n}.bin`))))
  for (const answer of answers) assertProblem(answer, 'RELAY_ERR_LOOP')
  await until(async () => a.relay.admin.shards.fills + b.relay.admin.shards.fills, fills => fills === 0)
})

test('only-if-cached: a cached object, or 504 without a fetch', async t => {
  const node = await origin(t, 200)
  const { viewerUrl } = await startRelay(t, [configured(node)])
  const only = async (): Promise<AnyResponse> => {
    const response = await request(`${viewerUrl}/shards/only/shard_0.bin`, { headers: { 'cache-control': 'max-stale, Only-If-Cached' } })
    return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
  }
  assertProblem(await only(), 'RELAY_ERR_NOT_CACHED')
  assert.deepEqual(node.paths, [])
  await ask(`${viewerUrl}/shards/only/shard_0.bin`)
  const cached = await until(only, ({ status }) => status !== 504)
  assert.deepEqual([cached.status, cached.headers['cache-status'], String(cached.body)], [200, 'icn-relay; hit', 'hello'])
  assert.equal(node.paths.length, 1)
})
