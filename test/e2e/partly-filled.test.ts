import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { request } from 'undici'
import { seededRandom } from '../../demo/super-node/faults.ts'
import { DEMO_PUBLIC_KEY } from '../../demo/super-node/manifest.ts'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { cacheStats, inParallel, metric, until } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const SIZE = 600_000
const CIDS = ['a', 'b', 'c'].map(name => `syn-${SIZE}-partly-${name}`)
const PARTS = 10
/** Sixteen shards of thirty, so that they evict each other; of partly filled ones it keeps two. */
const CACHE_BYTES = 16 * SIZE
const LIVES = 4
const ROUNDS = 8
const WIDTH = 6

const BODIES = new Map(CIDS.flatMap(cid => Array.from({ length: PARTS }, (_, part) => [`${cid}/${part}`, syntheticShard(cid, part)] as const)))

/** Bytes of the files below a directory. */
async function bytesBelow (directory: string): Promise<number> {
  const sizes = await Promise.all((await readdir(directory, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile()).map(async entry => (await stat(join(entry.parentPath, entry.name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

test('ranges, purges, evictions, kills and restarts in any order on partly filled shards: no wrong byte, and the books balance', { timeout: 280_000 }, async t => {
  const seed = Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  const upTo = (most: number): number => Math.floor(random() * most)
  const nodes = [await spawnSuperNode(t, 'NA-WEST'), await spawnSuperNode(t, 'NA-WEST')]
  // What breaks off goes on from the other; one is slow enough for a shard to be given up in the middle.
  await nodes[0]?.setFaults({ match: 'shard_', bytesPerSecond: 2_000_000 })
  await nodes[1]?.setFaults({ match: 'shard_', truncateAtBytes: 300_000 })
  const cachePath = await temporaryDirectory(t)
  const start = async (): Promise<SpawnedRelay> => await spawnRelay(t, nodes, {
    cache: { integrity: 'manifest', max_bytes: CACHE_BYTES, ram_bytes: 0 },
    trust: { publishers: [DEMO_PUBLIC_KEY], manifest_timeout_ms: 60_000 },
    transport: { engine: 'off' },
    region: { override: 'NA-WEST' },
    viewer: { stop_timeout_ms: 100 },
    overload: NEVER_OVERLOADED,
    upstream: { ...PATIENT_UPSTREAM, connections_per_node: 64, max_object_bytes: SIZE }
  }, cachePath)

  const seen = { right: 0, ended: 0, given: 0, purged: 0, kept: 0 }
  const wrong: string[] = []

  const ask = async (relay: SpawnedRelay, cid: string, part: number, [first, end]: readonly [number, number], leaveAt: number): Promise<void> => {
    const whole = BODIES.get(`${cid}/${part}`) ?? Buffer.alloc(0)
    const chunks: Buffer[] = []
    try {
      const { statusCode, body } = await request(`${relay.viewerUrl}/shards/${cid}/shard_${part}.bin`, { headers: { range: `bytes=${first}-${end - 1}` } })
      for await (const chunk of body as AsyncIterable<Buffer>) {
        chunks.push(chunk)
        if (chunks.reduce((sum, { length }) => sum + length, 0) >= leaveAt) {
          seen.given++
          break
        }
      }
      if (statusCode !== 206) return
    } catch {
      // The relay was killed, or says that a body is not to be had; what came before has to be right all the same.
      seen.ended++
    }
    const got = Buffer.concat(chunks)
    if (!got.equals(whole.subarray(first, first + got.length))) wrong.push(`${cid}/${part} ${first}-${end}`)
    else if (got.length === end - first) seen.right++
  }

  const act = async (relay: SpawnedRelay): Promise<void> => {
    const cid = CIDS[upTo(CIDS.length)] ?? ''
    const part = upTo(PARTS)
    if (random() < 0.1) {
      seen.purged++
      await request(`${relay.adminUrl}/admin/v1/cache/shards/${cid}/${part}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } }).then(async ({ body }) => { await body.dump() }, () => {})
      return
    }
    const first = random() < 0.3 ? 0 : upTo(SIZE)
    const end = random() < 0.3 ? SIZE : Math.min(SIZE, first + 1 + upTo(200_000))
    await ask(relay, cid, part, [first, end], random() < 0.3 ? 1 + upTo(end - first) : Infinity)
  }

  for (let life = 0; life < LIVES; life++) {
    const relay = await start()
    seen.kept += await metric(relay.adminUrl, 'icn_relay_cache_partial_objects')
    for (let round = 0; round < ROUNDS; round++) await inParallel(Array.from({ length: WIDTH }), WIDTH, async () => { await act(relay) })
    const last = inParallel(Array.from({ length: WIDTH }), WIDTH, async () => { await act(relay) })
    await until(async () => await metric(relay.adminUrl, 'icn_relay_fills'), fills => fills > 0 || random() < 0.1)
    relay.child.kill(life % 2 === 0 ? 'SIGTERM' : 'SIGKILL')
    await last
    await relay.exit
  }

  const relay = await start()
  for (const cid of CIDS) {
    for (let part = 0; part < PARTS; part++) await ask(relay, cid, part, [0, SIZE], Infinity)
  }
  await until(async () => await metric(relay.adminUrl, 'icn_relay_fills'), fills => fills === 0)
  assert.deepEqual(wrong, [])
  const { disk } = await until(async () => await cacheStats(relay.adminUrl), stats => stats.disk.openFiles === 0)
  const partial = await metric(relay.adminUrl, 'icn_relay_cache_partial_objects')
  assert.equal(disk.reservedBytes, partial * SIZE)
  assert.equal(disk.condemnedBytes, 0)
  assert.ok(disk.usedBytes <= CACHE_BYTES)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_integrity_checks_total', '{outcome="wrong"}'), 0)
  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
  // Nothing lies there that nobody knows.
  const [all, left] = await Promise.all([bytesBelow(join(cachePath, 'shards')), bytesBelow(join(cachePath, 'shards/partial')).catch(() => 0)])
  assert.equal(all - left, disk.usedBytes - disk.reservedBytes)
  t.diagnostic(JSON.stringify(seen))
  assert.ok(seen.right > 60, `${seen.right} ranges`)
})
