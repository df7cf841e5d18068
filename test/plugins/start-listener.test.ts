/** The admin listener while the relay starts, and how it becomes that of the relay. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { createLogger } from '../../src/base/log.ts'
import { checkConfig } from '../../src/config/config.ts'
import { StartListener } from '../../src/plugins/http/start-listener.ts'
import { until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../tools/harness/store-bytes.ts'
import { openTestCache } from '../support/cache.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

async function open (t: TestContext, host = '127.0.0.1'): Promise<StartListener> {
  const listener = await StartListener.open(checkConfig({ admin: { host, port: 0 } }), createLogger('silent'))
  assert.ok(listener)
  t.after(async () => { await listener.close() })
  return listener
}

async function get (port: number, path: string, headers: Record<string, string> = {}): Promise<AnyResponse> {
  const { statusCode: status, headers: fields, body } = await request(`http://127.0.0.1:${port}${path}`, { headers })
  return { status, headers: fields, body: Buffer.from(await body.arrayBuffer()) }
}

suite('while the relay starts', () => {
  test('the process lives and is not ready, and says how far it is', async t => {
    const listener = await open(t)
    const health = await get(listener.port, '/health')
    assert.equal(health.status, 200)
    assert.equal((JSON.parse(health.body.toString()) as { status: string }).status, 'starting')
    assert.equal(health.headers['connection'], 'close')
    for (const share of [0, 0.25, 1]) {
      listener.loaded(share)
      const ready = await get(listener.port, '/ready')
      assert.equal(ready.status, 503)
      assert.deepEqual(JSON.parse(ready.body.toString()), { ready: false, loaded: share, checks: { viewer: 'closed', cache: 'loading', upstream: 'unknown', overload: 'normal' } })
    }
  })

  test('everything else comes later, and a foreign name is refused as it will be', async t => {
    const { port } = await open(t)
    for (const path of ['/metrics', '/admin/v1/cache/stats', '/']) assertProblem(await get(port, path), 'RELAY_ERR_STARTING')
    assertProblem(await get(port, '/health', { host: 'rebound.example' }), 'RELAY_ERR_ADMIN_LOOPBACK')
  })

  test('a socket handed over answers without a gap, at the same port', async t => {
    const listener = await open(t)
    const server = createServer((_request, response) => { response.end('the relay') })
    let refused = 0
    const answers = new Set<number>()
    let asking = true
    t.after(() => { asking = false })
    const asked = (async () => {
      while (asking) await get(listener.port, '/ready').then(({ status }) => { answers.add(status) }, () => { refused++ })
    })()
    while (answers.size === 0) await new Promise(resolve => { setImmediate(resolve) })
    await listener.handOver(server)
    await listener.close()
    while (answers.size < 2) await new Promise(resolve => { setImmediate(resolve) })
    asking = false
    await asked
    assert.deepEqual([[...answers], refused], [[503, 200], 0])
    assert.deepEqual(server.address(), { address: '127.0.0.1', family: 'IPv4', port: listener.port })
    await new Promise(resolve => { server.close(resolve) })
    await assert.rejects(get(listener.port, '/health'), { code: 'ECONNREFUSED' })
  })

  test('a name for several sockets has no such listener', async () => {
    assert.equal(await StartListener.open(checkConfig({ admin: { host: 'localhost', port: 0 } }), createLogger('silent')), undefined)
  })

  test('a relay has its admin socket from it, is told how much is loaded, and closes it', async t => {
    const path = await temporaryDirectory(t)
    const before = await openTestCache(t, path)
    for (let n = 0; n < 3; n++) await storeBytes(before.cache, { cid: `c${n}`, part: 0 }, Buffer.from('body'))
    await before.close()
    const startListener = await open(t)
    const { relay, adminUrl } = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { cache: { path } }, { startListener })
    assert.equal(new URL(adminUrl).port, String(startListener.port))
    assert.equal((await get(startListener.port, '/metrics')).status, 200)
    assert.equal(relay.admin.shardCache.disk.count, 3)
    // What begins with listening does, though Fastify's own hook does not run: the region is looked for, and load is measured.
    await until(async () => relay.admin.region.last, last => last !== undefined)
    await until(async () => (await (await request(`http://127.0.0.1:${startListener.port}/metrics`)).body.text()), text => /^icn_relay_overload_signal\{signal="event_loop_delay"\} \S/m.test(text))
    await relay.close()
    // A connection that is kept may end first, of which its user hears in another word.
    await until(async () => await get(startListener.port, '/health').then(() => '', (error: NodeJS.ErrnoException) => error.code), code => code === 'ECONNREFUSED')
  })

  test('a start that is called off ends, and leaves the cache as it was', async t => {
    const path = await temporaryDirectory(t)
    const before = await openTestCache(t, path)
    await storeBytes(before.cache, { cid: 'c', part: 0 }, Buffer.from('body'))
    await before.close()
    await assert.rejects(startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { cache: { path } }, { signal: AbortSignal.abort() }), { code: 'RELAY_ERR_STOPPING' })
    assert.equal((await openTestCache(t, path)).restored, 1)
  })
})
