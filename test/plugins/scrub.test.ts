import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { cacheStats, fetchHashed, metric, until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { cachedFile, flipBit } from '../support/rot.ts'

const SIZE = 400_000
const OPEN = { requests_per_minute: 100_000, loopback_without_token: true }

async function scrub (adminUrl: string, body?: unknown): Promise<{ status: number, body: Record<string, unknown> }> {
  const response = await request(`${adminUrl}/admin/v1/scrub`, body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json', 'x-requested-with': 'test' }, body: JSON.stringify(body) })
  return { status: response.statusCode, body: await response.body.json() as Record<string, unknown> }
}

suite('scrub', () => {
  test('nothing is read under overload and in a drain; afterwards the pass goes on, and what rotted is evicted and counted', async t => {
    const origin = await startSuperNode({ port: 0 })
    t.after(async () => { await origin.close() })
    const { relay, viewerUrl, adminUrl } = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: OPEN, scrub: { bytes_per_second: 1e9 } })
    await until(async () => (await scrub(adminUrl)).body, ({ last }) => last !== null)
    relay.admin.overload.setOverride('degraded', 0)
    for (let n = 0; n < 3; n++) await fetchHashed(`${viewerUrl}/shards/syn-${SIZE}-p${n}/shard_0.bin`)
    await until(async () => (await cacheStats(adminUrl)).disk.entries, entries => entries === 3)
    await flipBit(await cachedFile(String(relay.admin.shardCache.disk.root).replace(/shards$/, ''), `syn-${SIZE}-p1`), 0)
    const { live } = relay.admin.viewers
    for (const stop of [() => {}, () => {
      live.update({ drain: { deadlineMs: 1_000, alternates: [] } })
      relay.admin.overload.setOverride(undefined, 0)
    }]) {
      stop()
      // Its next step comes now, before the answer to the question after it.
      const started = await scrub(adminUrl, { action: 'start' })
      assert.deepEqual([started.status, (started.body['pass'] as { verified: number }).verified], [200, 0])
      assert.deepEqual([await metric(adminUrl, 'icn_relay_scrub_running'), await metric(adminUrl, 'icn_relay_scrub_bytes_total'), relay.admin.scrub.status], [0, 0, 'waiting'])
    }
    live.update({ drain: undefined })
    const { body } = await until(async () => await scrub(adminUrl), answer => answer.body['pass'] === null)
    const last = body['last'] as Record<string, number>
    assert.deepEqual([last['verified'], last['rotted'], last['bytes']], [2, 1, 2 * SIZE])
    assert.deepEqual([await metric(adminUrl, 'icn_relay_scrub_bytes_total'), await metric(adminUrl, 'icn_relay_scrub_objects_total', '{outcome="rotted"}'), await metric(adminUrl, 'icn_relay_cache_entries', '{tier="disk"}')], [3 * SIZE, 1, 2])
    assert.equal(await metric(adminUrl, 'icn_relay_scrub_coverage_ratio'), 1)
    assert.ok(await metric(adminUrl, 'icn_relay_scrub_age_seconds') < 3_600)
  })

  test('paused is kept across a restart, and a rate of 0 is told to whoever starts it', async t => {
    const path = join(await temporaryDirectory(t), 'cache')
    const before = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: OPEN, cache: { path } })
    assert.equal((await scrub(before.adminUrl, { action: 'pause' })).body['status'], 'paused')
    assert.equal((JSON.parse(await readFile(join(path, 'scrub-state.json'), 'utf8')) as { paused: boolean }).paused, true)
    await before.relay.close()
    const after = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: OPEN, cache: { path } })
    assert.equal((await scrub(after.adminUrl)).body['status'], 'paused')
    await after.relay.close()
    const off = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: OPEN, cache: { path }, scrub: { bytes_per_second: 0 } })
    assert.equal((await scrub(off.adminUrl)).body['status'], 'off')
    const refused = await scrub(off.adminUrl, { action: 'start' })
    assert.deepEqual([refused.status, refused.body['code']], [400, 'RELAY_ERR_BAD_REQUEST'])
    for (const body of [{ action: 'stop' }, {}, { action: 'start', more: 1 }]) assert.equal((await scrub(off.adminUrl, body)).status, 400)
  })
})
