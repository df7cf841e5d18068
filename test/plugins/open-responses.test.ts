import assert from 'node:assert/strict'
import { connect as connectTcp } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { Client, request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { connect, type ShardClient } from '../../client/src/node.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { assertProblem } from '../support/problem.ts'
import { head } from '../support/raw-http.ts'

const LIMIT = { timeout: 240_000 }
const path = (name: string): string => `/shards/syn-1000-${name}/shard_0.bin`

/** A relay whose super-node never answers for what is called `stuck`. */
async function setup (t: TestContext, settings: Record<string, Record<string, unknown>>): Promise<RunningRelay> {
  const origin = await startSuperNode({ port: 0, faults: { match: 'stuck', hang: true } })
  t.after(async () => { await origin.close() })
  return await startRelay(t, [{ url: origin.url, region: origin.region }], { upstream: PATIENT_UPSTREAM, ...settings, admin: { requests_per_minute: 100_000 } })
}

const open = async ({ adminUrl }: RunningRelay): Promise<number> => await metric(adminUrl, 'icn_relay_viewer_open_responses')

interface Waiting { end (): void }

/** Asks for something that does not come, on a connection of its own. It ends by RST: FIN alone may come from one that waits for its answer. */
function wait (t: TestContext, { viewerUrl }: RunningRelay, name: string, localAddress: string): Waiting {
  const { hostname, port } = new URL(viewerUrl)
  const socket = connectTcp({ host: hostname, port: Number(port), localAddress })
  socket.on('error', () => {})
  socket.write(head('GET', path(name)))
  t.after(() => { socket.destroy() })
  return { end: () => { socket.resetAndDestroy() } }
}

async function ask ({ viewerUrl }: RunningRelay, localAddress: string): Promise<{ status: number, headers: Record<string, string | string[] | undefined>, body: Buffer }> {
  const client = new Client(viewerUrl, { localAddress })
  try {
    const { statusCode, headers, body } = await client.request({ method: 'GET', path: path('here') })
    return { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) }
  } finally {
    await client.destroy()
  }
}

suite('responses under way', () => {
  test('of one address over HTTP: more than the limit are 429, other addresses are served, and one that ends makes room', LIMIT, async t => {
    const relay = await setup(t, { limits: { responses_per_ip: 3 } })
    const waiting = [0, 1, 2].map(n => wait(t, relay, `stuck${n}`, '127.0.0.2'))
    await until(async () => await open(relay), count => count === 3)
    const refused = await ask(relay, '127.0.0.2')
    assertProblem(refused, 'RELAY_ERR_RATE_LIMITED')
    assert.equal(refused.headers['retry-after'], '1')
    assert.match(refused.body.toString(), /more than 3 responses are under way/)
    assert.equal((await ask(relay, '127.0.0.3')).status, 200)
    assert.equal(await metric(relay.adminUrl, 'icn_relay_viewer_requests_limited_total', '{transport="http"}'), 1)
    waiting[0]?.end()
    await until(async () => await open(relay), count => count === 2)
    assert.equal((await ask(relay, '127.0.0.2')).status, 200)
    for (const other of waiting) other.end()
    await until(async () => await open(relay), count => count === 0)
  })

  test('in total over HTTP: more than the limit are 503, whoever asks', LIMIT, async t => {
    const relay = await setup(t, { viewer: { max_responses: 4 } })
    const waiting = [0, 1, 2, 3].map(n => wait(t, relay, `stuck${n}`, `127.0.0.${2 + n}`))
    await until(async () => await open(relay), count => count === 4)
    const refused = await ask(relay, '127.0.0.9')
    assertProblem(refused, 'RELAY_ERR_OVERLOADED')
    assert.equal(refused.headers['retry-after'], '1')
    waiting[0]?.end()
    await until(async () => await open(relay), count => count === 3)
    assert.equal((await ask(relay, '127.0.0.9')).status, 200)
  })

  for (const transport of ['webtransport', 'websocket'] as const) {
    test(`over ${transport} they are counted with those over HTTP, of all sessions of an address`, LIMIT, async t => {
      const relay = await setup(t, { limits: { responses_per_ip: 6 }, viewer: { max_responses: 7 }, transport: { engine: 'quinn', heartbeat_ms: 50, ...PATIENT_SUPERVISOR } })
      const dial = async (): Promise<ShardClient> => {
        const client = await connect(relay.viewerUrl, { transports: [transport], connectTimeoutMs: 20_000, attempts: 1, stallMs: 100_000 })
        t.after(() => { client.close() })
        return client
      }
      const abort = new AbortController()
      const clients = [await dial(), await dial()]
      const stuck = clients.flatMap((client, n) => [0, 1].map(async m => await client.fetchShard(`syn-1000-stuck${n}${m}`, 0, { signal: abort.signal }).catch(() => {})))
      const http = [4, 5].map(n => wait(t, relay, `stuck${n}`, '127.0.0.1'))
      await until(async () => await open(relay), count => count === 6)
      const refused = async (status: number, code: string): Promise<void> => {
        await assert.rejects(clients[0]?.fetchShard('syn-1000-here', 0) ?? Promise.resolve(), (error: unknown) => {
          const found = error as { status?: number, code?: string }
          return found.status === status && found.code === code
        })
      }
      await refused(429, 'RELAY_ERR_RATE_LIMITED')
      assertProblem(await ask(relay, '127.0.0.1'), 'RELAY_ERR_RATE_LIMITED')
      const other = wait(t, relay, 'stuck6', '127.0.0.2')
      await until(async () => await open(relay), count => count === 7)
      await refused(503, 'RELAY_ERR_OVERLOADED')
      assert.ok(await until(async () => await metric(relay.adminUrl, 'icn_relay_viewer_requests_limited_total', `{transport="${transport}"}`), count => count >= 1))
      abort.abort()
      await Promise.all(stuck)
      await until(async () => await open(relay), count => count === 3)
      assert.equal((await clients[0]?.fetchShard('syn-1000-here', 0))?.bytes.length, 1_000)
      for (const waiting of [...http, other]) waiting.end()
      await until(async () => await open(relay), count => count === 0)
    })
  }

  test('a gateway that is killed holds none any more', LIMIT, async t => {
    const relay = await setup(t, { transport: { engine: 'quinn', heartbeat_ms: 50, ...PATIENT_SUPERVISOR } })
    const client = await connect(relay.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 20_000, attempts: 1, stallMs: 100_000 })
    t.after(() => { client.close() })
    const abort = new AbortController()
    const stuck = client.fetchShard('syn-1000-stuck', 0, { signal: abort.signal }).catch(() => {})
    await until(async () => await open(relay), count => count === 1)
    const { supervisor } = relay.relay.admin.viewers
    assert.ok(supervisor?.pid !== undefined)
    process.kill(supervisor.pid, 'SIGKILL')
    await until(async () => await open(relay), count => count === 0)
    abort.abort()
    await stuck
    assert.equal((await request(relay.viewerUrl + path('here'))).statusCode, 200)
  })
})
