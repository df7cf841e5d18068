import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { request } from 'undici'
import { until } from '../../tools/harness/http.ts'
import { PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { openSession, readAll } from '../../tools/harness/quinn-rig.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { bytesOf } from '../support/cache.ts'
import { rawOrigin, response } from '../support/raw-origin.ts'

const BODY = bytesOf('heads', 1_000)
const LIMIT = { timeout: 240_000 }

async function setup (t: TestContext, fields: readonly string[], cache: Record<string, unknown> = {}): Promise<RunningRelay> {
  const node = await rawOrigin(t, ({ socket }) => { socket.write(response(BODY, fields)) })
  return await startRelay(t, [{ url: node.url, region: node.region }], { cache, transport: { engine: 'quinn', ...PATIENT_SUPERVISOR }, upstream: PATIENT_UPSTREAM })
}

/** The head of an answer over WebTransport, of which the body was right. */
async function headOver (t: TestContext, { viewerUrl }: RunningRelay, fields = ''): Promise<Map<string, string>> {
  const session = await openSession(viewerUrl)
  t.after(() => { session.close() })
  const stream = await session.openBidi()
  await stream.write(Buffer.from(`GET /shards/secret/shard_0.bin HTTP/1.1\r\n${fields}\r\n`))
  const bytes = await readAll(stream)
  await stream.end()
  const end = bytes.indexOf('\r\n\r\n')
  const [status = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  if (status === 'HTTP/1.1 200 OK') assert.ok(bytes.subarray(end + 4).equals(BODY))
  return new Map([['status', status.split(' ')[1] ?? ''], ...lines.map(line => line.split(': ', 2) as [string, string])])
}

const stored = async ({ relay }: RunningRelay): Promise<void> => {
  await until(async () => relay.admin.shards.fills, fills => fills === 0)
}

test('an object that its origin does not want kept is no-store over a session as over HTTP, and without an age', LIMIT, async t => {
  const relay = await setup(t, ['cache-control: no-store'])
  for (let n = 0; n < 2; n++) {
    const head = await headOver(t, relay)
    assert.deepEqual([head.get('status'), head.get('cache-control'), head.has('age')], ['200', 'no-store', false])
    await stored(relay)
  }
  assert.equal((await request(`${relay.viewerUrl}/shards/secret/shard_0.bin`)).headers['cache-control'], 'no-store')
  assert.equal(relay.relay.admin.shardCache.disk.count, 0)
})

test('a hit over a session has the age that it has over HTTP, a miss has none, and both are immutable', LIMIT, async t => {
  const relay = await setup(t, [])
  const miss = await headOver(t, relay)
  assert.deepEqual([miss.get('cache-control'), miss.has('age')], ['public, max-age=31536000, immutable', false])
  await stored(relay)
  const entry = relay.relay.admin.shardCache.disk.find('secret/0')
  assert.ok(entry !== undefined)
  // While it is pinned, whoever looks the entry up is given this object.
  t.after(relay.relay.admin.shardCache.disk.pin(entry))
  entry.renew(Date.now() - 90_500, false)
  for (const [fields, status] of [['', '200'], ['range: bytes=0-9\r\n', '206'], [`if-none-match: ${miss.get('etag') ?? ''}\r\n`, miss.has('etag') ? '304' : '200']] as const) {
    const head = await headOver(t, relay, fields)
    assert.deepEqual([head.get('status'), head.get('cache-status'), head.get('cache-control')], [status, 'icn-relay; hit', 'public, max-age=31536000, immutable'])
    assert.ok(['90', '91', '92', '93', '94', '95'].includes(head.get('age') ?? ''), head.get('age'))
  }
  const { headers } = await request(`${relay.viewerUrl}/shards/secret/shard_0.bin`)
  assert.ok(Number(headers.age) >= 90)
})

test('how long an object is fresh is said over a session as over HTTP, of a miss, a hit, one that is stale and one that was asked for first', LIMIT, async t => {
  const relay = await setup(t, [], { ttl: [{ cid_prefix: 'sec', ttl_ms: '1min', stale_while_revalidate_ms: '1min', stale_if_error_ms: '1h' }] })
  const { disk } = relay.relay.admin.shardCache
  const control = 'public, max-age=60, stale-while-revalidate=60, stale-if-error=3600'
  const said = async (ageMs: number): Promise<[status: string, control: string | undefined][]> => {
    const heads: [string, string | undefined][] = []
    for (const over of ['session', 'http']) {
      if (ageMs > 0) (disk.peek('secret/0') ?? assert.fail()).storedAt = Date.now() - ageMs
      const head = over === 'session' ? await headOver(t, relay) : new Map(Object.entries((await request(`${relay.viewerUrl}/shards/secret/shard_0.bin`)).headers as Record<string, string>))
      heads.push([head.get('cache-status') ?? '', head.get('cache-control')])
      await stored(relay)
    }
    return heads
  }
  assert.deepEqual((await said(0)).map(([status, text]) => [status.replace(/ttl=\d+/, 'ttl=n'), text]), [['icn-relay; fwd=uri-miss', control], ['icn-relay; hit; ttl=n', control]])
  for (const [ageMs, expected] of [[1_000, /^icn-relay; hit; ttl=\d+$/], [90_000, /^icn-relay; hit; ttl=-\d+$/], [200_000, /^icn-relay; fwd=stale$/]] as const) {
    for (const [status, text] of await said(ageMs)) {
      assert.match(status, expected)
      assert.equal(text, control)
    }
  }
})
