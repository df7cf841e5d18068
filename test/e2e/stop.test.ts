import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'node:test'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { cacheStats, fetchHashed, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

const SIZE = 1_000_000

test('SIGTERM: a response in flight finishes, new connections are refused, exit code 0', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0, faults: { bytesPerSecond: 500_000 } })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM })
  const cid = `syn-${SIZE}-stop`
  const inFlight = fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`)
  await until(async () => origin.stats().bytesSent, bytes => bytes > 100_000)
  relay.child.kill('SIGTERM')
  await relay.waitFor(event => event['msg'] === 'stopping')
  const port = Number(new URL(relay.viewerUrl).port)
  await until(async () => {
    const socket = connect(port, '127.0.0.1')
    return await once(socket, 'connect').then(() => { socket.destroy(); return 'accepted' }, () => 'refused')
  }, outcome => outcome === 'refused')
  const body = await inFlight
  assert.equal(body.sha256, sha256(syntheticShard(cid, 0)))
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  // The object was stored on the way out: the next run has it.
  const next = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM }, relay.cachePath)
  assert.equal((await cacheStats(next.adminUrl)).disk.entries, 1)
})

test('a viewer that never reads cannot hold the relay beyond its stop deadline', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { viewer: { stop_timeout_ms: 300 }, upstream: PATIENT_UPSTREAM })
  const url = new URL(`${relay.viewerUrl}/shards/syn-16000000-stuck/shard_0.bin`)
  const socket = connect(Number(url.port), '127.0.0.1')
  t.after(() => { socket.destroy() })
  socket.on('error', () => {})
  socket.write(`GET ${url.pathname} HTTP/1.1\r\nhost: relay\r\n\r\n`)
  await once(socket, 'readable')
  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
})

test('a second signal ends the process immediately', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0, faults: { stallAtBytes: 1_000 } })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { viewer: { stop_timeout_ms: 60_000 }, upstream: { ...PATIENT_UPSTREAM, body_timeout_ms: 60_000 } })
  const stuck = request(`${relay.viewerUrl}/shards/syn-${SIZE}-second/shard_0.bin`).then(async response => { await response.body.dump() }).catch(() => {})
  await until(async () => origin.stats().bytesSent, bytes => bytes > 0)
  relay.child.kill('SIGTERM')
  await relay.waitFor(event => event['msg'] === 'stopping')
  relay.child.kill('SIGTERM')
  // By the signal itself where something hangs or a line is being written at this moment: nothing is waited for then.
  const { code, signal } = await relay.exit
  assert.ok(code === 1 || signal === 'SIGTERM', `${code} ${signal}`)
  await stuck
})
