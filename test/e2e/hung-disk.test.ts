import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { request } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'

const SIZE = 20_000
const cid = (n: number): string => `syn-${SIZE}-hung${n}`

async function isWhole (relay: SpawnedRelay, n: number): Promise<boolean> {
  const { sha256: got } = await fetchHashed(`${relay.viewerUrl}/shards/${cid(n)}/shard_0.bin`)
  return got === sha256(syntheticShard(cid(n), 0))
}

/** A relay with objects 0 to 7 on disk, of which 0 to 3 are FIFOs by now: an open() of one does not return. */
async function withHungFiles (t: TestContext): Promise<SpawnedRelay> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const relay = await spawnRelay(t, [origin], { cache: { io_timeout_ms: 300, ram_bytes: 0 }, viewer: { stop_timeout_ms: 3_000 }, transport: { engine: 'off' }, upstream: PATIENT_UPSTREAM })
  for (let n = 0; n < 8; n++) assert.ok(await isWhole(relay, n))
  await until(async () => await metric(relay.adminUrl, 'icn_relay_cache_entries', '{tier="disk"}'), entries => entries === 8)
  const root = join(relay.cachePath, 'shards')
  for (const name of await readdir(root, { recursive: true })) {
    if (!/hung[0-3][.]/.test(name)) continue
    await unlink(join(root, name))
    await promisify(execFile)('mkfifo', [join(root, name)])
  }
  return relay
}

test('four files that hang: their objects come from a super-node, other hits and misses go on, /ready says so, SIGTERM ends the process', { timeout: 240_000 }, async t => {
  const relay = await withHungFiles(t)
  const hung = Promise.all([0, 1, 2, 3].map(async n => await isWhole(relay, n)))
  const others = await Promise.all([4, 5, 6, 7, 100, 101].map(async n => await isWhole(relay, n)))
  assert.deepEqual(others, [true, true, true, true, true, true])
  assert.deepEqual(await hung, [true, true, true, true])
  assert.equal(await metric(relay.adminUrl, 'icn_relay_disk_late_operations'), 4)
  const before = await metric(relay.adminUrl, 'icn_relay_cache_hits_total', '{tier="disk"}')
  assert.deepEqual(await Promise.all([4, 5, 6, 7].map(async n => await isWhole(relay, n))), [true, true, true, true])
  assert.equal(await metric(relay.adminUrl, 'icn_relay_cache_hits_total', '{tier="disk"}') - before, 4)
  const { ready, checks } = await (await request(`${relay.adminUrl}/ready`)).body.json() as { ready: boolean, checks: { cache: string } }
  assert.deepEqual([ready, checks.cache], [true, 'hung'])
  assert.equal(relay.events.filter(({ msg }) => msg === 'cache disk does not answer, its objects come from super-nodes').length, 1)
  relay.child.kill('SIGTERM')
  // By signal: Node itself would wait for the threads that hang.
  assert.deepEqual(await relay.exit, { code: null, signal: 'SIGTERM' })
})

test('a second SIGTERM ends a process whose disk hangs immediately', { timeout: 240_000 }, async t => {
  const relay = await withHungFiles(t)
  assert.deepEqual(await Promise.all([0, 1, 2, 3].map(async n => await isWhole(relay, n))), [true, true, true, true])
  relay.child.kill('SIGTERM')
  await relay.waitFor(event => event['msg'] === 'stopping')
  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: null, signal: 'SIGTERM' })
})
