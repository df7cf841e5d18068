import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { JobHead } from '../../src/plugins/jobs/jobs.ts'
import type { WarmProgress } from '../../src/plugins/warm/warm-job.ts'
import { fetchHashed, until } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { runToEnd, SERVER, spawnProgram, spawnRelay, spawnSuperNode } from '../../tools/harness/processes.ts'

const SIZE = 100_000
const ALL = Array.from({ length: 14 }, (_, part) => part)

type WarmReport = JobHead & WarmProgress

async function ask (adminUrl: string, path: string, body?: Record<string, unknown>): Promise<WarmReport> {
  const response = await fetch(`${adminUrl}/admin/v1${path}`, body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  assert.equal(response.status, 200)
  return await response.json() as WarmReport
}

/** Shards by number, how often each was asked for. */
async function asked (node: { stats: () => Promise<{ byPath: Readonly<Record<string, number>> }> }, cid: string): Promise<number[]> {
  const { byPath } = await node.stats()
  return ALL.map(part => byPath[`/shards/${cid}/shard_${String(part).padStart(2, '0')}.bin`] ?? 0)
}

suite('warming', { concurrency: false }, () => {
  test('the origin is killed half way and comes back: by the command and by the API all 14 shards come, and none is fetched twice', { timeout: 240_000 }, async t => {
    // When the origin dies, seven shards are there and the eighth is under way.
    const first = await spawnSuperNode(t, 'NA-WEST', { match: 'shard_07.bin', hang: true })
    const port = Number(new URL(first.url).port)
    const relay = await spawnRelay(t, [first], {
      transport: { engine: 'off' },
      overload: NEVER_OVERLOADED,
      // What hangs is under way until the origin dies, on any machine.
      upstream: { ...PATIENT_UPSTREAM, backoff_initial_ms: 50, backoff_max_ms: 100, health_interval_ms: 100 }
    })
    const [byApi, byCommand] = [`syn-${SIZE}-api`, `syn-${SIZE}-command`]
    const job = await ask(relay.adminUrl, '/jobs', { type: 'warm', cids: [byApi], parity: true, concurrency: 1 })
    const command = runToEnd(SERVER, ['warm', byCommand, '--parity', '--admin', relay.adminUrl, '--config', relay.configFile])
    await until(async () => await asked(first, byApi), counts => counts[7] === 1)
    const before = await asked(first, byApi)
    first.child.kill('SIGKILL')
    await first.exit
    await until(async () => await ask(relay.adminUrl, `/jobs/${job.id}`), ({ waitsFor }) => waitsFor === 'super-nodes')
    const second = await spawnSuperNode(t, 'NA-WEST', {}, { port })
    const done = await until(async () => await ask(relay.adminUrl, `/jobs/${job.id}`), ({ state }) => state !== 'running')
    assert.deepEqual([done.state, done.counts], ['done', { total: 15, pending: 0, fetched: 15, present: 0, failed: 0 }])
    const { code, stdout, stderr } = await command
    assert.deepEqual([code, stderr], [0, ''], stdout)
    assert.match(stdout, /^job [0-9a-f-]{36}\n/)
    assert.match(stdout, /\n15 of 15: 15 fetched, 0 present, [\d.]+ [kM]B\ndone\n$/)
    assert.deepEqual(before, ALL.map(part => part < 8 ? 1 : 0))
    assert.deepEqual(await asked(second, byApi), ALL.map(part => part < 7 ? 0 : 1))
    assert.deepEqual(await asked(second, byCommand), ALL.map(() => 1))
    const hits = await Promise.all([byApi, byCommand].flatMap(cid => ALL.map(async part => (await fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_${part}.bin`)).headers['cache-status'])))
    assert.deepEqual(new Set(hits), new Set(['icn-relay; hit']))
  })

  test('the relay is killed half way: after its restart the job goes on, and nothing is fetched twice but what was under way', { timeout: 240_000 }, async t => {
    const node = await spawnSuperNode(t, 'NA-WEST', { match: 'shard_09.bin', hang: true })
    const settings = { transport: { engine: 'off' }, overload: NEVER_OVERLOADED, upstream: PATIENT_UPSTREAM }
    const relay = await spawnRelay(t, [node], settings)
    const cid = `syn-${SIZE}-killed`
    const { id } = await ask(relay.adminUrl, '/jobs', { type: 'warm', cids: [cid], parity: true, concurrency: 1 })
    // What the state has as fetched is in the index: until then it is under way.
    await until(async () => await readFile(join(relay.cachePath, 'warm-jobs.json'), 'utf8'), text => text.includes('+++++++++.....+'))
    assert.deepEqual(await asked(node, cid), ALL.map(part => part < 10 ? 1 : 0))
    // A command that is ended leaves its job behind, and does not say that it is done.
    const command = spawnProgram(t, SERVER, ['warm', `syn-${SIZE}-left`, '--admin', relay.adminUrl, '--config', relay.configFile])
    await until(async () => await readFile(join(relay.cachePath, 'warm-jobs.json'), 'utf8'), text => text.includes(`syn-${SIZE}-left`))
    command.child.kill('SIGINT')
    assert.deepEqual(await command.exit, { code: null, signal: 'SIGINT' })
    relay.child.kill('SIGKILL')
    await relay.exit
    await node.setFaults({})
    const again = await spawnRelay(t, [node], settings, relay.cachePath)
    const done = await until(async () => await ask(again.adminUrl, `/jobs/${id}`), ({ state }) => state === 'done')
    assert.deepEqual(done.counts, { total: 15, pending: 0, fetched: 15, present: 0, failed: 0 })
    assert.deepEqual(await asked(node, cid), ALL.map(part => part === 9 ? 2 : 1))
    const hits = await Promise.all(ALL.map(async part => (await fetchHashed(`${again.viewerUrl}/shards/${cid}/shard_${part}.bin`)).headers['cache-status']))
    assert.deepEqual(new Set(hits), new Set(['icn-relay; hit']))
  })
})
