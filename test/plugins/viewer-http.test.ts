import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { once } from 'node:events'
import { suite, test, type TestContext } from 'node:test'
import { Client, request, type Dispatcher } from 'undici'
import { startSuperNode, syntheticShard, type Faults, type SuperNode } from '../../demo/super-node/server.ts'
import { cacheStats, inParallel, sha256, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { exchange, head } from '../support/raw-http.ts'

interface Setup extends RunningRelay { readonly origin: SuperNode }

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}, faults: Faults = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0, faults })
  t.after(async () => { await origin.close() })
  const running = await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { requests_per_minute: 100_000, ...settings['admin'] } })
  return { ...running, origin }
}

interface Got extends AnyResponse { readonly headers: Dispatcher.ResponseData['headers'] }

async function fetchIt (url: string, headers: Record<string, string> = {}, method: 'GET' | 'HEAD' | 'OPTIONS' = 'GET'): Promise<Got> {
  const response = await request(url, { method, headers })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

/** Waits until nothing is being fetched, so that what was fetched is stored. */
async function settled (adminUrl: string): Promise<void> {
  await until(async () => await cacheStats(adminUrl), stats => stats.fills === 0)
}

const CID = 'syn-5000-viewer'
const SHARD = syntheticShard(CID, 3)
const ETAG = `"sha256-${sha256(SHARD)}"`
const DIGEST = `sha-256=:${Buffer.from(sha256(SHARD), 'hex').toString('base64')}:`
const PATH = `/shards/${CID}/shard_3.bin`

/** A relay that has shard 3 of CID stored. */
async function warm (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup & { readonly url: string }> {
  const running = await setup(t, settings)
  await fetchIt(running.viewerUrl + PATH)
  await settled(running.adminUrl)
  return { ...running, url: running.viewerUrl + PATH }
}

suite('whole objects', () => {
  test('a miss and then a hit carry the same bytes, and headers that tell which is which', async t => {
    const { viewerUrl, adminUrl, origin } = await setup(t)
    const miss = await fetchIt(viewerUrl + PATH)
    await settled(adminUrl)
    const hit = await fetchIt(viewerUrl + PATH)
    for (const response of [miss, hit]) {
      assert.equal(response.status, 200)
      assert.deepEqual(response.body, SHARD)
      assert.equal(response.headers['content-length'], '5000')
      assert.equal(response.headers['content-type'], 'application/octet-stream')
      assert.equal(response.headers['etag'], ETAG)
      assert.equal(response.headers['repr-digest'], DIGEST)
      assert.equal(response.headers['accept-ranges'], 'bytes')
      assert.equal(response.headers['cache-control'], 'public, max-age=31536000, immutable')
      assert.equal(response.headers['x-content-type-options'], 'nosniff')
    }
    assert.equal(miss.headers['cache-status'], 'icn-relay; fwd=uri-miss')
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.match(String(miss.headers['server-timing']), /^cache;desc="miss", upstream;desc="NA-WEST";dur=\d+\.\d\d, open;dur=\d+\.\d\d$/)
    assert.match(String(hit.headers['server-timing']), /^cache;desc="hit disk", open;dur=\d+\.\d\d$/)
    assert.equal(origin.stats().requests, 1)
  })

  test('padded and unpadded shard numbers are one object', async t => {
    const { url, viewerUrl, origin } = await warm(t)
    const padded = await fetchIt(`${viewerUrl}/shards/${CID}/shard_03.bin`)
    assert.equal(padded.headers['cache-status'], 'icn-relay; hit')
    assert.deepEqual(padded.body, (await fetchIt(url)).body)
    assert.equal(origin.stats().requests, 1)
  })

  test('every one of the 14 shards of a video is served with its own bytes', async t => {
    const { viewerUrl } = await setup(t)
    await inParallel(Array.from({ length: 14 }, (_, index) => index), 14, async index => {
      const response = await fetchIt(`${viewerUrl}/shards/syn-700-all/shard_${index}.bin`)
      assert.deepEqual(response.body, syntheticShard('syn-700-all', index), `shard ${index}`)
    })
  })

  test('CIDs differ by case', async t => {
    const { viewerUrl, origin } = await setup(t)
    const [upper, lower] = [await fetchIt(`${viewerUrl}/shards/syn-100-CASE/shard_0.bin`), await fetchIt(`${viewerUrl}/shards/syn-100-case/shard_0.bin`)]
    assert.notDeepEqual(upper.body, lower.body)
    assert.equal(origin.stats().requests, 2)
  })

  test('a query string is not part of the address', async t => {
    const { url } = await warm(t)
    const response = await fetchIt(`${url}?token=x&y=/../`)
    assert.equal(response.headers['cache-status'], 'icn-relay; hit')
    assert.deepEqual(response.body, SHARD)
  })

  test('a request that names scheme and host in its request line is the same request', async t => {
    const { url, viewerUrl } = await warm(t)
    const response = await exchange(viewerUrl, head('GET', url, { connection: 'close' }))
    assert.equal(response?.status, 200)
    assert.deepEqual(response.body, SHARD)
  })

  test('the manifest is served as JSON from the same cache', async t => {
    const { viewerUrl, adminUrl } = await setup(t)
    const url = `${viewerUrl}/shards/${CID}/manifest.json`
    const miss = await fetchIt(url)
    assert.equal(miss.headers['content-type'], 'application/json')
    assert.equal((JSON.parse(miss.body.toString()) as { cid: string }).cid, CID)
    await settled(adminUrl)
    const hit = await fetchIt(url)
    assert.match(String(hit.headers['cache-status']), /^icn-relay; hit; ttl=\d+$/)
    assert.deepEqual(hit.body, miss.body)
  })

  test('viewers who ask while the object is fetched share the fetch and say so', async t => {
    const { viewerUrl, origin } = await setup(t, {}, { latencyMs: 200 })
    const responses = await inParallel(Array.from({ length: 20 }), 20, async () => await fetchIt(viewerUrl + PATH))
    const statuses = responses.map(response => String(response.headers['cache-status'])).sort()
    assert.deepEqual(statuses, ['icn-relay; fwd=uri-miss', ...Array.from({ length: 19 }, () => 'icn-relay; fwd=uri-miss; collapsed')])
    for (const response of responses) assert.deepEqual(response.body, SHARD)
    assert.equal(origin.stats().requests, 1)
  })

  test('an origin that tells neither digest nor length still gives a verified hit the second time', async t => {
    const { viewerUrl, adminUrl } = await setup(t, {}, { noDigest: true, noContentLength: true })
    const miss = await fetchIt(viewerUrl + PATH)
    assert.deepEqual(miss.body, SHARD)
    assert.equal(miss.headers['content-length'], '5000')
    await settled(adminUrl)
    const hit = await fetchIt(viewerUrl + PATH)
    assert.equal(hit.headers['cache-status'], 'icn-relay; hit')
    assert.equal(hit.headers['etag'], ETAG)
    assert.equal(hit.headers['repr-digest'], DIGEST)
  })

  test('an origin without a digest: no tag is made up, and a condition on it does not match', async t => {
    const { viewerUrl } = await setup(t, {}, { noDigest: true })
    const response = await fetchIt(viewerUrl + PATH, { 'if-none-match': ETAG })
    assert.equal(response.status, 200)
    assert.equal(response.headers['etag'], undefined)
    assert.equal(response.headers['repr-digest'], undefined)
    assert.deepEqual(response.body, SHARD)
  })
})

suite('HEAD', () => {
  test('HEAD answers as GET would, without the body, and ignores Range', async t => {
    const { url } = await warm(t)
    const get = await fetchIt(url)
    for (const headers of [{}, { range: 'bytes=0-9' }, { range: 'nonsense' }]) {
      const response = await fetchIt(url, headers, 'HEAD')
      assert.equal(response.status, 200)
      assert.equal(response.body.length, 0)
      for (const name of ['content-length', 'content-type', 'etag', 'repr-digest', 'cache-control', 'accept-ranges', 'cache-status']) {
        assert.equal(response.headers[name], get.headers[name], name)
      }
    }
    assert.equal((await fetchIt(url, { 'if-none-match': ETAG }, 'HEAD')).status, 304)
  })

  test('HEAD on a miss answers with the true headers and fills the cache', async t => {
    const { viewerUrl, adminUrl } = await setup(t)
    const miss = await fetchIt(viewerUrl + PATH, {}, 'HEAD')
    assert.equal(miss.status, 200)
    assert.equal(miss.body.length, 0)
    assert.equal(miss.headers['content-length'], '5000')
    assert.equal(miss.headers['etag'], ETAG)
    assert.equal(miss.headers['cache-status'], 'icn-relay; fwd=uri-miss')
    await settled(adminUrl)
    assert.equal((await fetchIt(viewerUrl + PATH)).headers['cache-status'], 'icn-relay; hit')
  })

  test('HEAD of an error has its status and no body', async t => {
    const { viewerUrl } = await setup(t)
    const response = await fetchIt(`${viewerUrl}/shards/unknown/shard_0.bin`, {}, 'HEAD')
    assert.equal(response.status, 404)
    assert.equal(response.headers['content-type'], 'application/problem+json')
    assert.equal(response.body.length, 0)
  })
})

suite('ranges', () => {
  test('one range is answered with its bytes and content-range', async t => {
    const { url } = await warm(t)
    const cases: [range: string, start: number, end: number][] = [
      ['bytes=0-0', 0, 1], ['bytes=0-99', 0, 100], ['bytes=100-', 100, 5000], ['bytes=-100', 4900, 5000],
      ['bytes=4999-4999', 4999, 5000], ['bytes=10-999999', 10, 5000], ['bytes=-999999', 0, 5000], ['BYTES=1-2', 1, 3]
    ]
    for (const [range, start, end] of cases) {
      const response = await fetchIt(url, { range })
      assert.equal(response.status, 206, range)
      assert.deepEqual(response.body, SHARD.subarray(start, end), range)
      assert.equal(response.headers['content-range'], `bytes ${start}-${end - 1}/5000`, range)
      assert.equal(response.headers['content-length'], String(end - start), range)
      // The digest is that of the whole representation, also beside a part of it (RFC 9530 §3).
      assert.equal(response.headers['repr-digest'], DIGEST, range)
      assert.equal(response.headers['etag'], ETAG, range)
    }
  })

  test('a range beyond the object is refused with 416 and its size', async t => {
    const { url } = await warm(t)
    for (const range of ['bytes=5000-', 'bytes=5000-6000', 'bytes=-0', `bytes=${'9'.repeat(30)}-`]) {
      const response = await fetchIt(url, { range })
      assertProblem(response, 'RELAY_ERR_RANGE_UNSATISFIABLE', range)
      assert.equal(response.headers['content-range'], 'bytes */5000')
    }
  })

  test('a malformed range is refused with 400 before it costs a fetch', async t => {
    const { viewerUrl, origin } = await setup(t)
    for (const range of ['bytes', 'bytes=', 'bytes=a-b', 'bytes=5-3', 'bytes=--1', 'bytes=1e3-', 'bytes 0-1']) {
      assertProblem(await fetchIt(viewerUrl + PATH, { range }), 'RELAY_ERR_RANGE_SYNTAX', range)
    }
    assert.equal(origin.stats().requests, 0)
  })

  test('several ranges and unknown units are answered with the whole object', async t => {
    const { url } = await warm(t)
    for (const range of ['bytes=0-1,4-5', 'items=0-1', 'seconds=abc']) {
      const response = await fetchIt(url, { range })
      assert.equal(response.status, 200, range)
      assert.equal(response.headers['content-range'], undefined, range)
      assert.deepEqual(response.body, SHARD, range)
    }
  })

  test('If-Range counts only with the strong current tag', async t => {
    const { url } = await warm(t)
    const ranged = async (ifRange: string): Promise<number> => (await fetchIt(url, { range: 'bytes=0-9', 'if-range': ifRange })).status
    assert.equal(await ranged(ETAG), 206)
    assert.equal(await ranged(`W/${ETAG}`), 200)
    assert.equal(await ranged('"other"'), 200)
    assert.equal(await ranged(new Date().toUTCString()), 200)
    // A range that would be unsatisfiable does not count either, so it is not an error.
    assert.equal((await fetchIt(url, { range: 'bytes=9999-', 'if-range': '"other"' })).status, 200)
  })

  test('a range of a missing shard fetches the whole shard once and serves the range', async t => {
    const { viewerUrl, adminUrl, origin } = await setup(t)
    const response = await fetchIt(viewerUrl + PATH, { range: 'bytes=4000-4099' })
    assert.equal(response.status, 206)
    assert.deepEqual(response.body, SHARD.subarray(4000, 4100))
    assert.equal(response.headers['cache-status'], 'icn-relay; fwd=uri-miss')
    await settled(adminUrl)
    const whole = await fetchIt(viewerUrl + PATH)
    assert.equal(whole.headers['cache-status'], 'icn-relay; hit')
    assert.deepEqual(whole.body, SHARD)
    assert.deepEqual([origin.stats().requests, origin.stats().byPath[`/shards/${CID}/shard_03.bin`]], [1, 1])
  })

  test('an unsatisfiable range of a missing shard is refused with its size, and the shard is stored', async t => {
    const { viewerUrl, adminUrl } = await setup(t)
    const response = await fetchIt(viewerUrl + PATH, { range: 'bytes=5000-' })
    assertProblem(response, 'RELAY_ERR_RANGE_UNSATISFIABLE')
    assert.equal(response.headers['content-range'], 'bytes */5000')
    await settled(adminUrl)
    assert.equal((await fetchIt(viewerUrl + PATH)).headers['cache-status'], 'icn-relay; hit')
  })
})

suite('conditions', () => {
  test('If-None-Match with the current tag, in a list, weak, or * is answered with 304 and no body', async t => {
    const { url } = await warm(t)
    for (const tag of [ETAG, `"a", ${ETAG} , "b"`, `W/${ETAG}`, '*']) {
      const response = await fetchIt(url, { 'if-none-match': tag, range: 'bytes=0-9' })
      assert.equal(response.status, 304, tag)
      assert.equal(response.body.length, 0)
      assert.equal(response.headers['etag'], ETAG)
      assert.equal(response.headers['cache-control'], 'public, max-age=31536000, immutable')
      assert.equal(response.headers['cache-status'], 'icn-relay; hit')
      assert.equal(response.headers['content-type'], undefined)
      assert.equal(response.headers['content-range'], undefined)
    }
    for (const tag of ['"other"', 'sha256-unquoted', `${ETAG} garbage`]) assert.equal((await fetchIt(url, { 'if-none-match': tag })).status, 200, tag)
  })

  test('304 releases the object', async t => {
    const { url, adminUrl } = await warm(t, { cache: { ram_bytes: 0 } })
    for (let n = 0; n < 5; n++) await fetchIt(url, { 'if-none-match': '*' })
    await until(async () => (await cacheStats(adminUrl)).disk.openFiles, open => open === 0)
  })
})

suite('CORS', () => {
  test('any page may read objects and the headers that describe them', async t => {
    const { url } = await warm(t)
    const response = await fetchIt(url, { origin: 'https://player.example' })
    assert.equal(response.headers['access-control-allow-origin'], '*')
    assert.equal(response.headers['timing-allow-origin'], '*')
    assert.equal(response.headers['cross-origin-resource-policy'], 'cross-origin')
    const exposed = String(response.headers['access-control-expose-headers']).split(/, ?/)
    for (const name of ['cache-status', 'content-length', 'content-range', 'etag', 'repr-digest', 'retry-after', 'server-timing', 'x-request-id']) {
      assert.ok(exposed.includes(name), name)
    }
    // A page learns why it got nothing, too.
    assert.equal((await fetchIt(url, { range: 'bytes=9999-' })).headers['access-control-allow-origin'], '*')
  })

  test('a preflight allows GET and HEAD with ranges, conditions and a token', async t => {
    const { url } = await warm(t)
    const response = await fetchIt(url, { origin: 'https://player.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'range, authorization' }, 'OPTIONS')
    assert.equal(response.status, 204)
    assert.equal(response.headers['access-control-allow-origin'], '*')
    assert.equal(response.headers['access-control-allow-methods'], 'GET, HEAD')
    const allowed = String(response.headers['access-control-allow-headers']).split(/, ?/)
    for (const name of ['range', 'if-none-match', 'if-range', 'authorization', 'icn-prefetch']) assert.ok(allowed.includes(name), name)
    assert.equal(response.headers['access-control-max-age'], '86400')
  })

  test('OPTIONS without the headers of a preflight is not an error', async t => {
    const { url } = await warm(t)
    assert.equal((await fetchIt(url, {}, 'OPTIONS')).status, 204)
  })
})

suite('errors', () => {
  test('each failure of the origin has its own code, and no header of an object on it', async t => {
    const { viewerUrl, origin } = await setup(t, { upstream: { headers_timeout_ms: 200, max_object_bytes: 10_000, backoff_initial_ms: 1, backoff_max_ms: 1 }, cache: { max_bytes: 100_000 } })
    const cases = [
      ['RELAY_ERR_SHARD_NOT_FOUND', { notFound: true }],
      ['RELAY_ERR_UPSTREAM_STATUS', { status: 500 }],
      ['RELAY_ERR_UPSTREAM_STATUS', { status: 206 }],
      ['RELAY_ERR_UPSTREAM_TIMEOUT', { hang: true }]
    ] as const
    for (const [position, [code, faults]] of cases.entries()) {
      origin.setFaults(faults)
      const response = await fetchIt(`${viewerUrl}/shards/syn-100-error${position}/shard_0.bin`)
      assertProblem(response, code)
      assert.equal(response.headers['retry-after'], response.status === 502 ? '1' : undefined)
    }
    origin.reset()
    assertProblem(await fetchIt(`${viewerUrl}/shards/syn-10001-large/shard_0.bin`), 'RELAY_ERR_UPSTREAM_TOO_LARGE')
    await origin.close()
    assertProblem(await fetchIt(`${viewerUrl}/shards/syn-100-dead/shard_0.bin`), 'RELAY_ERR_UPSTREAM_UNREACHABLE')
  })

  test('a miss beyond the fills allowed is refused with 503 and a time to come back', async t => {
    const { viewerUrl, origin } = await setup(t, { upstream: { max_fills: 1 } }, { latencyMs: 300 })
    const first = fetchIt(viewerUrl + PATH)
    await until(async () => origin.stats().requests, requests => requests === 1)
    const refused = await fetchIt(`${viewerUrl}/shards/${CID}/shard_4.bin`)
    assertProblem(refused, 'RELAY_ERR_FILLS_BUSY')
    assert.equal(refused.headers['retry-after'], '1')
    assert.equal((await first).status, 200)
  })

  test('a body found bad before its first byte could leave is a 502 without any header of the object', async t => {
    for (const faults of [{ corrupt: true }, { wrongDigest: true }]) {
      const { viewerUrl, adminUrl } = await setup(t, {}, faults)
      const response = await fetchIt(`${viewerUrl}/shards/syn-1-bad/shard_0.bin`)
      assertProblem(response, 'RELAY_ERR_UPSTREAM_CORRUPT')
      await settled(adminUrl)
      assert.equal((await cacheStats(adminUrl)).disk.entries, 0)
    }
  })

  test('a range of a body found bad is a 502 without content-range', async t => {
    const { viewerUrl } = await setup(t, {}, { corrupt: true })
    assertProblem(await fetchIt(`${viewerUrl}/shards/syn-1-bad/shard_0.bin`, { range: 'bytes=0-0' }), 'RELAY_ERR_UPSTREAM_CORRUPT')
  })

  test('a range of a body found bad on the way never ends as a whole one', async t => {
    const { viewerUrl } = await setup(t, {}, { corrupt: true })
    for (const range of ['0-4999', '1000000-1999999', '2000000-2000000']) {
      const response = await exchange(viewerUrl, head('GET', '/shards/syn-3000000-bad/shard_0.bin', { range: `bytes=${range}` }))
      assert.ok(response !== undefined)
      if (response.status === 502) assert.equal(response.headers['content-range'], undefined)
      else assert.deepEqual({ status: response.status, complete: response.complete, closed: response.closed }, { status: 206, complete: false, closed: true }, range)
    }
  })

  test('a body found bad on the way never ends as a whole one and is not stored', async t => {
    for (const [size, faults] of [[5_000, { corrupt: true }], [3_000_000, { corrupt: true }], [3_000_000, { truncateAtBytes: 100_000 }], [3_000_000, { noContentLength: true, truncateAtBytes: 1_000_000 }]] as const) {
      const { viewerUrl, adminUrl } = await setup(t, {}, faults)
      const response = await exchange(viewerUrl, head('GET', `/shards/syn-${size}-bad/shard_0.bin`))
      assert.ok(response !== undefined)
      if (response.status === 502) assert.equal(response.headers['content-type'], 'application/problem+json')
      else assert.deepEqual({ status: response.status, complete: response.complete, closed: response.closed }, { status: 200, complete: false, closed: true })
      await settled(adminUrl)
      assert.equal((await cacheStats(adminUrl)).disk.entries, 0)
    }
  })
})

suite('connections', () => {
  test('answers of every kind leave the connection usable', async t => {
    const { viewerUrl, relay } = await warm(t)
    let connections = 0
    relay.viewer.server.on('connection', () => { connections++ })
    const client = new Client(viewerUrl)
    t.after(async () => { await client.close() })
    const statuses: number[] = []
    for (const [method, path, headers] of [
      ['GET', PATH, {}], ['HEAD', PATH, {}], ['GET', PATH, { 'if-none-match': '*' }], ['GET', PATH, { range: 'bytes=0-9' }], ['GET', PATH, { range: 'bytes=9999-' }],
      ['GET', PATH, { range: 'x' }], ['GET', '/nothing', {}], ['DELETE', PATH, {}], ['GET', '/shards/unknown/shard_0.bin', {}], ['GET', PATH, {}]
    ] as const) {
      // undici closes the connection after HEAD unless told otherwise.
      const response = await client.request({ method, path, headers, reset: false })
      await response.body.dump()
      statuses.push(response.statusCode)
    }
    assert.deepEqual(statuses, [200, 200, 304, 206, 416, 400, 404, 405, 404, 200])
    assert.equal(connections, 1)
  })

  test('every answer has a request id: that of the caller where it can be one, otherwise one of its own', async t => {
    const { url, viewerUrl } = await warm(t)
    const ids = new Set<string>()
    for (const target of [url, url, `${viewerUrl}/nothing`, `${viewerUrl}/shards/%zz`]) {
      assert.equal((await fetchIt(target, { 'x-request-id': 'Mine/1+2=3.4~_-' })).headers['x-request-id'], 'Mine/1+2=3.4~_-')
      const id = String((await fetchIt(target, { 'x-request-id': 'no id' })).headers['x-request-id'])
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f-]{27}$/)
      ids.add(id)
    }
    assert.equal(ids.size, 4)
  })

  test('viewers that leave in the middle of a miss hold nothing, and the object is stored all the same', async t => {
    const { viewerUrl, adminUrl } = await setup(t, {}, { bytesPerSecond: 4_000_000 })
    const url = `${viewerUrl}/shards/syn-2000000-leave/shard_0.bin`
    await inParallel(Array.from({ length: 10 }), 10, async () => {
      const response = await request(url)
      await once(response.body, 'readable')
      response.body.on('error', () => {}).destroy()
    })
    const stats = await until(async () => await cacheStats(adminUrl), ({ fills, disk }) => fills === 0 && disk.openFiles === 0)
    assert.deepEqual({ entries: stats.disk.entries, stored: stats.disk.sizeBytes, reserved: stats.disk.reservedBytes, condemned: stats.disk.condemnedBytes }, { entries: 1, stored: 2_000_000, reserved: 0, condemned: 0 })
    const entry = await (await request(`${adminUrl}/admin/v1/cache/shards/syn-2000000-leave/0`)).body.json() as { readers: number }
    assert.equal(entry.readers, 0)
  })

  test('viewers that leave in the middle of a hit hold neither file nor memory', async t => {
    for (const [ramBytes, tier] of [[0, 'disk'], [100_000_000, 'ram']] as const) {
      const { viewerUrl, adminUrl } = await setup(t, { cache: { ram_bytes: ramBytes } })
      const path = '/shards/syn-8000000-leave/shard_0.bin'
      for (let n = 0; n < 4; n++) {
        await fetchIt(viewerUrl + path)
        await settled(adminUrl)
      }
      const { port } = new URL(viewerUrl)
      await inParallel(Array.from({ length: 8 }), 8, async () => {
        const socket = connect(Number(port), '127.0.0.1')
        socket.write(head('GET', path))
        const [first] = await once(socket, 'data') as [Buffer]
        assert.ok(first.toString('latin1').includes(`hit ${tier}`), first.toString('latin1', 0, 600))
        socket.destroy()
      })
      await until(async () => (await cacheStats(adminUrl)).disk.openFiles, open => open === 0)
      const purged = await request(`${adminUrl}/admin/v1/cache/shards?confirm=all`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })
      await purged.body.dump()
      // Condemned bytes and buffers go only when nobody holds them.
      await until(async () => await cacheStats(adminUrl), ({ disk, ram }) => disk.condemnedBytes === 0 && ram.usedBytes === 0)
    }
  })

  test('a viewer who stops reading is cut off after the idle timeout and holds nothing', async t => {
    const { viewerUrl, adminUrl } = await setup(t, { viewer: { idle_timeout_ms: 300 }, cache: { ram_bytes: 0 } })
    const path = '/shards/syn-16000000-stuck/shard_0.bin'
    // A slow machine may bring nothing for so long, which cuts this off too.
    await until(async () => await fetchIt(viewerUrl + path).then(() => true, () => false), whole => whole)
    await settled(adminUrl)
    const socket = connect(Number(new URL(viewerUrl).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(head('GET', path))
    await once(socket, 'readable')
    assert.equal((await cacheStats(adminUrl)).disk.openFiles, 1)
    await until(async () => (await cacheStats(adminUrl)).disk.openFiles, open => open === 0)
    socket.destroy()
  })

  test('connections beyond the bound are closed, and there is room again when one leaves', async t => {
    const { viewerUrl } = await setup(t, { viewer: { max_connections: 2 } })
    const port = Number(new URL(viewerUrl).port)
    const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')]
    t.after(() => { for (const socket of held) socket.destroy() })
    await Promise.all(held.map(async socket => { await once(socket, 'connect') }))
    assert.equal(await exchange(viewerUrl, head('GET', PATH)), undefined)
    held[0]?.destroy()
    await until(async () => (await exchange(viewerUrl, head('GET', PATH)))?.status, status => status === 200)
  })

  test('a request sent on a busy connection while the relay stops is answered, and the connection then closed', async t => {
    const { viewerUrl, relay } = await setup(t, { viewer: { stop_timeout_ms: 10_000 } }, { match: 'slow', latencyMs: 300 })
    const { port } = new URL(viewerUrl)
    const socket = connect(Number(port), '127.0.0.1')
    const pieces: Buffer[] = []
    socket.on('data', piece => { pieces.push(piece) })
    socket.write(head('GET', '/shards/syn-10-slow/shard_0.bin'))
    await until(async () => relay.admin.shards.fills, fills => fills === 1)
    const closed = relay.close()
    await until(async () => relay.viewer.server.listening, listening => !listening)
    socket.write(head('GET', '/shards/syn-10-late/shard_0.bin'))
    await once(socket, 'close')
    const answers = Buffer.concat(pieces).toString('latin1').split('HTTP/1.1 ').slice(1)
    assert.deepEqual(answers.map(answer => answer.slice(0, 3)), ['200', '200'])
    assert.match(answers[1] ?? '', /connection: close/i)
    await closed
  })
})
