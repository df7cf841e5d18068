import assert from 'node:assert/strict'
import { connect as connectTls } from 'node:tls'
import test from 'node:test'
import { Agent, request } from 'undici'
import { deferred } from '../../src/base/deferred.ts'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { holdSockets } from '../../tools/harness/held-sockets.ts'
import { until } from '../../tools/harness/http.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

/** 200 requests a second. */
const EVERY_MS = 5
const OBJECTS = 20

test('200 requests a second go through a restart on sockets of the service manager: none is refused, none is cut', { timeout: 120_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const sockets = holdSockets(t, ['viewer', 'admin', 'websocket'])
  const portOf = (name: string): number => sockets.find(socket => socket.name === name)?.port ?? 0
  const settings = { viewer: { lame_duck_ms: 500 } }
  const first = await spawnRelay(t, [origin], settings, undefined, { sockets })
  assert.deepEqual([first.viewerUrl, first.adminUrl], [portOf('viewer'), portOf('admin')].map(port => `http://127.0.0.1:${port}`))

  const agent = new Agent({ connections: 32 })
  t.after(async () => { await agent.destroy() })
  const outcomes = new Map<string, number>()
  const underWay = new Set<Promise<void>>()
  let sent = 0
  const ask = async (): Promise<void> => {
    const outcome = await request(`${first.viewerUrl}/shards/syn-1000-restart${sent++ % OBJECTS}/shard_0.bin`, { dispatcher: agent })
      .then(async ({ statusCode, body }) => `${statusCode} with ${(await body.arrayBuffer()).byteLength} bytes`, (error: unknown) => String(error))
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const load = setInterval(() => {
    const asked: Promise<void> = ask().finally(() => { underWay.delete(asked) })
    underWay.add(asked)
  }, EVERY_MS)
  t.after(() => { clearInterval(load) })
  const answered = async (more: number): Promise<void> => {
    const before = sent - underWay.size
    await until(async () => sent - underWay.size - before, count => count >= more)
  }
  await answered(50)

  first.child.kill('SIGTERM')
  const ready = async (): Promise<{ status: number, viewer: string }> => {
    const { statusCode, body } = await request(`${first.adminUrl}/ready`)
    return { status: statusCode, viewer: (await body.json() as { checks: { viewer: string } }).checks.viewer }
  }
  assert.equal((await until(ready, ({ status }) => status === 503)).viewer, 'draining')
  // Or as many as a busy machine gets through in the lame-duck time: who comes later waits for the next relay.
  await Promise.race([answered(20), first.exit])
  assert.deepEqual(await first.exit, { code: 0, signal: null })

  // Nobody listens; who comes now waits for the next relay.
  const waiting = connectTls({ host: '127.0.0.1', port: portOf('websocket'), rejectUnauthorized: false })
  t.after(() => { waiting.destroy() })
  const met = deferred<undefined>()
  waiting.once('secureConnect', () => { met.resolve(undefined) }).once('error', error => { met.reject(error) })
  await spawnRelay(t, [origin], settings, first.cachePath, { sockets })
  await answered(100)
  clearInterval(load)
  await Promise.all(underWay)
  await met.promise
  assert.deepEqual([...outcomes], [['200 with 1000 bytes', sent]])
  t.diagnostic(`${sent} requests`)
})
