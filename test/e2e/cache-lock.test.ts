import assert from 'node:assert/strict'
import { rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { fetchHashed, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

const IN_USE = /RELAY_ERR_CACHE_PATH: cache\.path .* is in use by another relay process/
const MESSAGE = 'cache lock was removed by somebody, taken again'
const url = (relay: SpawnedRelay): string => `${relay.viewerUrl}/shards/syn-1000-lock/shard_0.bin`

interface Rig {
  readonly relay: SpawnedRelay
  readonly lock: string
  /** Starts another relay on the same directory. */
  second (this: void): Promise<SpawnedRelay>
}

async function rig (t: TestContext, flushIntervalMs: number): Promise<Rig> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  const start = async (path?: string): Promise<SpawnedRelay> => await spawnRelay(t, [origin], { transport: { engine: 'off' }, cache: { flush_interval_ms: flushIntervalMs }, upstream: PATIENT_UPSTREAM }, path)
  const relay = await start()
  assert.equal((await fetchHashed(url(relay))).status, 200)
  return { relay, lock: join(relay.cachePath, 'lock'), second: async () => await start(relay.cachePath) }
}

test('a relay whose lock somebody deletes takes it again, says so once, and a second one is refused', { timeout: 240_000 }, async t => {
  const { relay, lock, second } = await rig(t, 100)
  const { ino } = await stat(lock)
  await unlink(lock)
  await until(async () => await stat(lock).catch(() => undefined), found => found !== undefined && found.ino !== ino)
  await assert.rejects(second(), IN_USE)
  await relay.waitFor(event => event['msg'] === MESSAGE)
  assert.equal(relay.events.filter(({ msg }) => msg === MESSAGE).length, 1)
  assert.equal((await fetchHashed(url(relay))).headers['cache-status'], 'icn-relay; hit')
  relay.child.kill('SIGTERM')
  assert.equal((await relay.exit).code, 0)
  await assert.rejects(stat(lock), { code: 'ENOENT' })
  assert.equal((await fetchHashed(url(await second()))).headers['cache-status'], 'icn-relay; hit')
})

test('a second relay is refused by the index too, when the lock is gone and the first one is stopped or has not looked yet', { timeout: 240_000 }, async t => {
  const { relay, lock, second } = await rig(t, 60_000)
  await unlink(lock)
  await assert.rejects(second(), IN_USE)
  await assert.rejects(stat(lock), { code: 'ENOENT' }, 'who was refused leaves no lock')
  relay.child.kill('SIGSTOP')
  await assert.rejects(second(), IN_USE)
  relay.child.kill('SIGCONT')
  assert.equal((await fetchHashed(url(relay))).headers['cache-status'], 'icn-relay; hit')
  relay.child.kill('SIGKILL')
  await relay.exit
  assert.equal((await fetchHashed(url(await second()))).status, 200)
})

test('whose whole directory was removed and taken by a second relay stops, and leaves that one alone', { timeout: 240_000 }, async t => {
  const { relay, second } = await rig(t, 100)
  relay.child.kill('SIGSTOP')
  await rm(relay.cachePath, { recursive: true })
  const other = await second()
  relay.child.kill('SIGCONT')
  assert.equal((await relay.exit).code, 1)
  assert.ok(relay.events.some(({ level, msg, err }) => level === 'fatal' && msg === 'uncaught error, stopping' && IN_USE.test(`RELAY_ERR_CACHE_PATH: ${(err as { message: string }).message}`)))
  assert.ok(other.child.exitCode === null)
  await assert.doesNotReject(stat(join(other.cachePath, 'lock')))
  await until(async () => (await fetchHashed(url(other))).headers['cache-status'], status => status === 'icn-relay; hit')
})
