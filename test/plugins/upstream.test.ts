import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { RelayError } from '../../src/base/errors.ts'
import { startSuperNode, syntheticShard, type SuperNode, type SuperNodeOptions } from '../../demo/super-node/server.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { sha256 } from '../../tools/harness/store-bytes.ts'
import { fitness, patient, setUp } from '../support/upstream-rig.ts'

const CID = 'syn-50000-upstream'
const KEY = { cid: CID, part: 2 }
const TRUTH = syntheticShard(CID, 2)
const PATH = `/shards/${CID}/shard_2.bin`

async function origin (t: TestContext, options: SuperNodeOptions = {}): Promise<SuperNode> {
  const node = await startSuperNode(options)
  t.after(async () => { await node.close() })
  return node
}

/** A server that answers every connection with the same bytes. */
async function canned (t: TestContext, answer: string): Promise<{ url: string, region: string }> {
  return await cannedBytes(t, Buffer.from(answer))
}

async function cannedBytes (t: TestContext, answer: Buffer): Promise<{ url: string, region: string }> {
  const server: Server = createServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => { socket.end(answer) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, region: 'APAC' }
}

test('the next node is asked immediately when one is refused, failing, hanging or without the object', async t => {
  const dead = { url: `http://127.0.0.1:${await freePort()}`, region: 'NA-WEST' }
  const failing = await origin(t, { faults: { status: 500 } })
  const hanging = await origin(t, { faults: { hang: true } })
  const without = await origin(t, { faults: { notFound: true } })
  const good = await origin(t)
  const { upstream, attempts } = setUp(t, [dead, failing, hanging, without, good])
  const object = await upstream.fetch(KEY, patient())
  assert.ok((await buffer(object.body)).equals(TRUTH))
  assert.equal(object.sha256, sha256(TRUTH))
  assert.equal(object.size, TRUTH.length)
  assert.ok(object.headMs >= 200, 'failed attempts count in the time to the head')
  assert.deepEqual(attempts.map(attempt => attempt.split(' ')[1]), ['unreachable', 'status', 'timeout', 'not_found', 'ok'])
  // Those that failed are in back-off, the one that answered 404 is not.
  assert.deepEqual(upstream.status().map(({ state }) => state), ['open', 'open', 'open', 'up', 'up'])
  attempts.length = 0
  await buffer((await upstream.fetch(KEY, patient())).body)
  assert.ok(attempts.length <= 2, 'nodes in back-off are not asked while others answer')
})

test('a node that never has the object is not asked first for ever', async t => {
  // Later than an answer that a busy machine delays.
  const without = await origin(t, { faults: { notFound: true, latencyMs: 1_000 } })
  const good = await origin(t)
  const { upstream } = setUp(t, [without, good], { headersTimeoutMs: 60_000, firstByteTimeoutMs: 60_000 })
  for (let n = 0; n < 3; n++) await buffer((await upstream.fetch(KEY, patient())).body)
  assert.equal(without.stats().requests, 1)
  assert.equal(good.stats().requests, 3)
})

test('404 everywhere is SHARD_NOT_FOUND; beside any other failure it proves nothing', async t => {
  const without = await origin(t, { faults: { notFound: true } })
  const gone = await origin(t, { faults: { status: 410 } })
  const failing = await origin(t, { faults: { status: 500 } })
  await assert.rejects(setUp(t, [without, gone]).upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
  await assert.rejects(setUp(t, [without, failing]).upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_STATUS' })
  await assert.rejects(setUp(t, [failing, without]).upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_STATUS' })
})

test('nodes in back-off are asked when nothing else is left', async t => {
  const node = await origin(t, { faults: { status: 500 } })
  const { upstream } = setUp(t, [node])
  await assert.rejects(upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_STATUS' })
  assert.equal(upstream.status()[0]?.state, 'open')
  node.setFaults({})
  await buffer((await upstream.fetch(KEY, patient())).body)
  assert.equal(upstream.status()[0]?.state, 'up')
})

test('the own region is asked first, then the fastest', async t => {
  const slow = await origin(t, { region: 'EU-WEST', faults: { latencyMs: 60 } })
  const fast = await origin(t, { region: 'APAC' })
  const near = await origin(t, { region: 'NA-WEST', faults: { latencyMs: 30 } })
  const { upstream } = setUp(t, [slow, fast, near], { region: () => 'NA-WEST' })
  for (let n = 0; n < 3; n++) assert.equal((await upstream.fetch(KEY, patient())).region, 'NA-WEST')
  near.setFaults({ status: 500 })
  const order: string[] = []
  for (let n = 0; n < 4; n++) order.push((await upstream.fetch(KEY, patient())).region)
  assert.deepEqual(order, ['EU-WEST', 'APAC', 'APAC', 'APAC'], 'each without a sample is tried once')
})

test('a dead node is probed after its back-off and comes back without a viewer paying', async t => {
  const node = await origin(t)
  const port = node.port
  const other = await origin(t, { region: 'APAC' })
  const { upstream, logged, healthFailures } = setUp(t, [node, other], { region: () => 'NA-WEST', fitness: fitness(20, 60) })
  await buffer((await upstream.fetch(KEY, patient())).body)
  await node.close()
  const failedCheck = logged('health check failed')
  assert.equal((await upstream.fetch(KEY, patient())).region, 'APAC')
  await failedCheck
  assert.ok(healthFailures.includes(`127.0.0.1:${port}`))
  const back = logged('healthy again')
  const revived = await origin(t, { port })
  await back
  assert.equal(upstream.status()[0]?.state, 'up')
  assert.equal(upstream.status()[0]?.failures, 0)
  const requests = revived.stats().byPath
  assert.ok((requests['/health'] ?? 0) >= 1)
  assert.equal(requests[PATH.replace('shard_2', 'shard_02')] ?? 0, 0)
  assert.equal((await upstream.fetch(KEY, patient())).region, 'NA-WEST')
})

test('health checks that fail are counted each time, with growing pauses, and end with close', async t => {
  const node = await origin(t, { faults: { status: 500 } })
  const { upstream, logged, healthFailures } = setUp(t, [node], { fitness: fitness(5, 40) })
  await assert.rejects(upstream.fetch(KEY, patient()))
  for (let n = 1; n <= 4; n++) {
    const failedCheck = logged('health check failed')
    if (healthFailures.length < n) await failedCheck
  }
  assert.ok(healthFailures.length >= 4)
  assert.ok(Number(upstream.status()[0]?.failures) >= 4)
  await upstream.close()
  const after = healthFailures.length
  await upstream.close()
  assert.equal(healthFailures.length, after)
})

test('a body that ends early, stalls or is not what its head said is a failure of its node', async t => {
  for (const [faults, code] of [[{ truncateAtBytes: 1_000 }, 'RELAY_ERR_UPSTREAM_BODY'], [{ stallAtBytes: 1_000 }, 'RELAY_ERR_UPSTREAM_TIMEOUT']] as const) {
    const node = await origin(t, { faults })
    const { upstream, attempts } = setUp(t, [node])
    const object = await upstream.fetch(KEY, patient())
    const error: unknown = await buffer(object.body).then(() => undefined, (cause: unknown) => cause)
    const known = object.failed(error)
    assert.equal(known.code, code)
    assert.equal(upstream.status()[0]?.state, 'open')
    // The only node there is was asked for the rest, four times and no more.
    const once = ['ok', code === 'RELAY_ERR_UPSTREAM_BODY' ? 'body' : 'timeout']
    assert.deepEqual(attempts.map(attempt => attempt.split(' ')[1]), [...once, ...Array.from({ length: 4 }, () => ['ok', 'ok', once[1]]).flat()])
    assert.equal(node.stats().requests, 5)
  }
})

const HEDGED = { minMs: 20, maxMs: 100, budget: 0.1, burst: 20, maxParallel: 3 }

test('a late node has another asked beside it; the loser is let go, and is asked later from then on', async t => {
  const hanging = await origin(t, { faults: { hang: true } })
  const alsoHanging = await origin(t, { faults: { hang: true } })
  const good = await origin(t, { faults: { latencyMs: 120 } })
  const { upstream, attempts } = setUp(t, [hanging, alsoHanging, good], { headersTimeoutMs: 5_000, hedge: HEDGED })
  assert.ok((await buffer((await upstream.fetch(KEY, patient())).body)).equals(TRUTH))
  const port = ({ url }: SuperNode): string => new URL(url).port
  assert.deepEqual(attempts, ['hedge won', `${port(good)} ok`, `${port(hanging)} timeout`, 'hedge lost', `${port(alsoHanging)} timeout`])
  assert.deepEqual(upstream.status().map(({ connections }) => connections.pending), [0, 0, 0])
})

test('a relay has half the time to the first byte before another is asked beside it: its own miss takes longer than an answer of an origin', async t => {
  const asked: string[] = []
  const relay = await origin(t, { faults: { latencyMs: 150 } })
  const other = await origin(t)
  const { upstream } = setUp(t, [], { headersTimeoutMs: 60_000, firstByteTimeoutMs: 60_000, hedge: HEDGED, observer: { attempt: node => { asked.push(node) }, healthCheckFailed: () => {}, hedged: () => { asked.push('hedge') }, resumed: () => {}, received: () => {}, oddAnswer: () => {}, nodeGone: () => {} } })
  upstream.nodes.set([{ ...configured(relay), role: 'relay' }, configured(other)])
  await buffer((await upstream.fetch(KEY, patient())).body)
  assert.deepEqual(asked, [new URL(relay.url).host])
  assert.equal(other.stats().requests, 0)
})

test('without a budget nobody is asked beside a late node; a failure is made up for all the same', async t => {
  const slow = await origin(t, { faults: { latencyMs: 200 } })
  const other = await origin(t)
  const { upstream } = setUp(t, [slow, other], { headersTimeoutMs: 5_000, hedge: { ...HEDGED, budget: 0 } })
  await buffer((await upstream.fetch(KEY, patient())).body)
  assert.deepEqual([slow.stats().requests, other.stats().requests], [1, 0])
})

test('the budget caps what hedging adds: 100 requests to a slow node cost its burst and a tenth', async t => {
  const slow = await origin(t, { region: 'NA-WEST', faults: { latencyMs: 30 } })
  const other = await origin(t, { faults: { latencyMs: 30 } })
  const { upstream } = setUp(t, [slow, other], { region: () => 'NA-WEST', hedge: { ...HEDGED, minMs: 5, maxMs: 5, burst: 5 } })
  for (let n = 0; n < 100; n++) await buffer((await upstream.fetch({ cid: `syn-100-hedge${n}`, part: 0 }, patient())).body)
  const extra = slow.stats().requests + other.stats().requests - 100
  assert.ok(extra >= 5 && extra <= 5 + 10, `${extra} further requests`)
})

test('nobody answers: an error with a code when the time to the first byte is over', async t => {
  const hanging = await origin(t, { faults: { hang: true } })
  const { upstream } = setUp(t, [hanging], { headersTimeoutMs: 5_000, firstByteTimeoutMs: 100 })
  await assert.rejects(upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
  assert.equal(upstream.status()[0]?.connections.pending, 0)
})

test('a body that breaks off goes on from the next node, by range or by skipping; other bytes are not taken', async t => {
  const breaking = await origin(t, { region: 'APAC', faults: { truncateAtBytes: 20_000 } })
  const digest = `repr-digest: sha-256=:${Buffer.from(sha256(TRUTH), 'hex').toString('base64')}:\r\n`
  const other = await canned(t, 'HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/10\r\ncontent-length: 10\r\n\r\n0123456789')
  const shorter = await canned(t, 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789')
  const rangeless = await cannedBytes(t, Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${digest}content-length: ${TRUTH.length}\r\n\r\n`), TRUTH]))
  const { upstream, attempts } = setUp(t, [breaking, other, shorter, rangeless], { region: () => 'APAC' })
  const object = await upstream.fetch(KEY, patient())
  assert.ok((await buffer(object.body)).equals(TRUTH))
  assert.deepEqual(attempts.map(attempt => attempt.split(' ')[1]), ['ok', 'body', 'version', 'version', 'ok', 'ok'])
})

test('an abort ends the fetch with its reason, blames no node and asks no other', async t => {
  const hanging = await origin(t, { faults: { hang: true } })
  const other = await origin(t)
  const { upstream, attempts } = setUp(t, [hanging, other], { headersTimeoutMs: 10_000 })
  const abort = new AbortController()
  const fetching = upstream.fetch(KEY, abort.signal)
  while (hanging.stats().requests === 0) await new Promise(resolve => setImmediate(resolve))
  abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping'))
  await assert.rejects(fetching, { code: 'RELAY_ERR_STOPPING' })
  assert.deepEqual(attempts.map(attempt => attempt.split(' ')[1]), ['aborted'])
  assert.equal(other.stats().requests, 0)
  assert.equal(upstream.status()[0]?.state, 'up')
})

test('an abort in the middle of a body ends the body with its reason', async t => {
  const node = await origin(t, { faults: { stallAtBytes: 1_000 } })
  const { upstream } = setUp(t, [node], { bodyTimeoutMs: 10_000 })
  const abort = new AbortController()
  const object = await upstream.fetch(KEY, abort.signal)
  const reading = buffer(object.body).then(() => undefined, (cause: unknown) => cause)
  abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping'))
  assert.equal(object.failed(await reading).code, 'RELAY_ERR_STOPPING')
  assert.equal(upstream.status()[0]?.state, 'up')
})

test('answers that are not HTTP, too large in the head, coded or cut off are failures with a code, never a crash', async t => {
  const cases: [answer: string, code: string][] = [
    ['', 'RELAY_ERR_UPSTREAM_UNREACHABLE'],
    ['SSH-2.0-OpenSSH\r\n', 'RELAY_ERR_UPSTREAM_PROTOCOL'],
    [`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`, 'RELAY_ERR_UPSTREAM_PROTOCOL'],
    ['HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello', 'RELAY_ERR_UPSTREAM_STATUS'],
    ['HTTP/1.1 204 No Content\r\n\r\n', 'RELAY_ERR_UPSTREAM_STATUS'],
    ['HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 5\r\n\r\nhello', 'RELAY_ERR_UPSTREAM_STATUS'],
    ['HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n', 'RELAY_ERR_UPSTREAM_STATUS'],
    [`HTTP/1.1 500 Oops\r\ncontent-length: 1000000\r\n\r\n${'x'.repeat(500_000)}`, 'RELAY_ERR_UPSTREAM_STATUS']
  ]
  for (const [answer, code] of cases) {
    const { upstream } = setUp(t, [await canned(t, answer)])
    await assert.rejects(upstream.fetch(KEY, patient()), (error: unknown) => error instanceof RelayError && error.code === code, answer.slice(0, 40))
  }
})

test('paths are made from the templates of the configuration', async t => {
  const node = await origin(t)
  const { upstream } = setUp(t, [node], { shardPath: '/v/{cid}/{n}/{nn}?c={cid}', manifestPath: '/m/{cid}' })
  await assert.rejects(upstream.fetch({ cid: 'abc', part: 7 }, patient()))
  await assert.rejects(upstream.fetch({ cid: 'abc', part: 'manifest' }, patient()))
  assert.deepEqual(Object.keys(node.stats().byPath).filter(path => path !== '/health'), ['/v/abc/7/07', '/m/abc'])
})

function configured ({ url, region }: SuperNode): { url: string, region: string } {
  return { url, region }
}

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly body: Buffer | undefined
}

/** Asks the relay; `body` is undefined when the response broke off. */
async function ask (url: string): Promise<Answer> {
  const response = await fetch(url)
  const body = await response.arrayBuffer().then(bytes => Buffer.from(bytes), () => undefined)
  const code = response.ok || body === undefined ? undefined : (JSON.parse(body.toString()) as { code: string }).code
  return { status: response.status, code, body }
}

test('through a relay: a body that breaks off goes on from another node, and is cached', async t => {
  const bad = await origin(t, { region: 'NA-WEST', faults: { truncateAtBytes: 40_000 } })
  const good = await origin(t, { region: 'APAC' })
  const { viewerUrl } = await startRelay(t, [configured(bad), configured(good)], { region: { override: 'NA-WEST' } })
  for (let n = 0; n < 2; n++) assert.ok((await ask(viewerUrl + PATH)).body?.equals(TRUTH))
  assert.deepEqual([bad.stats().requests, good.stats().requests], [1, 1])
})

test('through a relay: bytes that do not match their digest never end well and are not cached; the retry goes elsewhere', async t => {
  for (const faults of [{ corrupt: true }, { wrongDigest: true }]) {
    const bad = await origin(t, { region: 'NA-WEST', faults })
    const good = await origin(t, { region: 'APAC' })
    const { viewerUrl } = await startRelay(t, [configured(bad), configured(good)], { region: { override: 'NA-WEST' }, upstream: { hedge_min_ms: 60_000, hedge_max_ms: 60_000 } })
    const first = await ask(viewerUrl + PATH)
    assert.ok(first.body === undefined || first.status >= 500, JSON.stringify(faults))
    const second = await ask(viewerUrl + PATH)
    assert.ok(second.body?.equals(TRUTH))
    assert.equal(bad.stats().byPath[PATH.replace('shard_2', 'shard_02')], 1)
    assert.equal(good.stats().byPath[PATH.replace('shard_2', 'shard_02')], 1)
  }
})

test('through a relay: an object announced above the cap, or with a body above it, is 502 and the relay lives on', async t => {
  const node = await origin(t)
  const { viewerUrl } = await startRelay(t, [configured(node)], { upstream: { max_object_bytes: 49_999 } })
  for (let n = 0; n < 3; n++) {
    const { status, code } = await ask(viewerUrl + PATH)
    assert.equal(status, 502)
    assert.equal(code, 'RELAY_ERR_UPSTREAM_TOO_LARGE')
  }
  node.setFaults({ noContentLength: true })
  assert.equal((await ask(viewerUrl + PATH)).code, 'RELAY_ERR_UPSTREAM_TOO_LARGE')
  node.setFaults({})
  const small = await ask(`${viewerUrl}/shards/syn-100-small/shard_0.bin`)
  assert.ok(small.body?.equals(syntheticShard('syn-100-small', 0)))
})

test('through a relay: every super-node down is an error with a code until one is back', async t => {
  const node = await origin(t, { faults: { hang: true } })
  const { viewerUrl } = await startRelay(t, [configured(node), { url: `http://127.0.0.1:${await freePort()}`, region: 'APAC' }], { upstream: { headers_timeout_ms: 200 } })
  const down = await ask(viewerUrl + PATH)
  assert.ok(down.status === 502 || down.status === 504)
  node.setFaults({ notFound: true })
  assert.equal((await ask(viewerUrl + PATH)).status, 502, 'a node that cannot be asked may have it')
  node.setFaults({ noDigest: true, noContentLength: true })
  const up = await ask(viewerUrl + PATH)
  assert.equal(up.status, 200)
  assert.ok(up.body?.equals(TRUTH))
})
