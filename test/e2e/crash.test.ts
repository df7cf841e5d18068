import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import test from 'node:test'
import { Agent } from 'undici'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { cacheStats, fetchHashed, inParallel, sha256, until } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay } from '../../tools/harness/processes.ts'

const SIZE = 256 * 1024

async function filesBelow (root: string): Promise<{ name: string, size: number }[]> {
  const names = await readdir(root, { recursive: true, withFileTypes: true })
  return await Promise.all(names.filter(entry => entry.isFile()).map(async entry => {
    const name = join(entry.parentPath, entry.name)
    return { name: relative(root, name), size: (await stat(name)).size }
  }))
}

test('kill -9 during 200 fills: after the restart every shard is right, no temporary file stays, index and directory agree', { timeout: 240_000 }, async t => {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  // Two hundred fills that begin at the same time are more than a slow machine does within the deadlines of one that serves viewers.
  const first = await spawnRelay(t, [origin], { upstream: { connections_per_node: 256, ...PATIENT_UPSTREAM }, cache: { flush_interval_ms: 100 }, overload: NEVER_OVERLOADED })
  const agent = new Agent({ connections: 256 })
  t.after(async () => { await agent.destroy() })
  const urlOf = (base: string, video: number): string => `${base}/shards/syn-${SIZE}-crash${video}/shard_${video % 10}.bin`
  const videos = Array.from({ length: 240 }, (_, video) => video)
  // Forty are complete, and in the index, before the storm; two hundred are under way when the process dies.
  origin.setFaults({})
  await inParallel(videos.slice(0, 40), 20, async video => await fetchHashed(urlOf(first.viewerUrl, video), {}, agent))
  // Slow enough that none is complete before the last has begun, on any machine.
  origin.setFaults({ bytesPerSecond: 4_000 })
  const early: unknown[] = []
  const storm = videos.slice(40).map(async video => {
    early.push(await fetchHashed(urlOf(first.viewerUrl, video), {}, agent).catch((error: unknown) => error))
  })
  await until(async () => await cacheStats(first.adminUrl), stats => early.length > 0 || (stats.fills === 200 && stats.disk.reservedBytes > 0))
  await until(async () => origin.stats().bytesSent, bytes => early.length > 0 || bytes > 40 * SIZE + 200 * 4_000)
  assert.deepEqual(early, [], 'every fill was under way when the process died')
  first.child.kill('SIGKILL')
  await first.exit
  await Promise.all(storm)
  const left = await filesBelow(join(first.cachePath, 'shards', 'tmp'))
  assert.ok(left.length > 0, 'the crash left half-written files behind')

  origin.setFaults({})
  const second = await spawnRelay(t, [origin], { upstream: PATIENT_UPSTREAM }, first.cachePath)
  const stats = await until(async () => await cacheStats(second.adminUrl), value => value.reconciled)
  const files = await filesBelow(join(second.cachePath, 'shards'))
  assert.deepEqual(files.filter(file => file.name.startsWith('tmp/')), [])
  assert.equal(files.reduce((sum, file) => sum + file.size, 0), stats.disk.sizeBytes)
  assert.ok(stats.disk.entries >= 40, `${stats.disk.entries} entries survived`)
  const bodies = await inParallel(videos, 20, async video => await fetchHashed(urlOf(second.viewerUrl, video), {}, agent))
  for (const [video, body] of bodies.entries()) {
    assert.equal(body.status, 200)
    assert.equal(body.sha256, sha256(syntheticShard(`syn-${SIZE}-crash${video}`, video % 10)), `video ${video}`)
  }
  const hits = bodies.filter(body => body.headers['cache-status'] === 'icn-relay; hit').length
  assert.equal(hits, stats.disk.entries)
  t.diagnostic(`${left.length} half-written files removed, ${stats.disk.entries} entries survived`)
})
