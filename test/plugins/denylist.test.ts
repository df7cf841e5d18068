import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { connect } from '../../client/src/node.ts'
import { startSuperNode, type SuperNode } from '../../demo/super-node/server.ts'
import { askRunning } from '../../src/cli/ask-admin.ts'
import { allowEntries, denyEntries } from '../../src/cli/commands/block.ts'
import { checkConfig } from '../../src/config/config.ts'
import { cidDigest } from '../../src/plugins/denylist/entry.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { assertProblem } from '../support/problem.ts'

const SIZE = 400_000
const STALL = 150_000
const LIMIT = { timeout: 240_000 }
const cid = (label: string): string => `syn-${SIZE}-${label}`
const path = (label: string, part: number | 'manifest' = 0): string => `/shards/${cid(label)}/${part === 'manifest' ? 'manifest.json' : `shard_${part}.bin`}`

interface Lab extends RunningRelay {
  readonly node: SuperNode
  ask (path: string, method?: Dispatcher.HttpMethod, headers?: Record<string, string>): Promise<{ status: number, headers: Dispatcher.ResponseData['headers'], body: Buffer }>
  admin (path: string, method?: Dispatcher.HttpMethod, body?: unknown): Promise<{ status: number, headers: Dispatcher.ResponseData['headers'], body: Buffer, json: unknown }>
  deny (...entries: string[]): Promise<void>
}

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Lab> {
  const node = await startSuperNode({ port: 0 })
  t.after(async () => { await node.close() })
  const running = await startRelay(t, [{ url: node.url, region: node.region }], { region: { override: 'NA-WEST' }, admin: { loopback_without_token: true, requests_per_minute: 100_000 }, ...settings })
  const ask: Lab['ask'] = async (url, method = 'GET', headers = {}) => {
    const { statusCode, headers: fields, body } = await request(running.viewerUrl + url, { method, headers })
    return { status: statusCode, headers: fields, body: Buffer.from(await body.arrayBuffer()) }
  }
  const admin: Lab['admin'] = async (url, method = 'GET', body = undefined) => {
    const { statusCode, headers, body: answer } = await request(`${running.adminUrl}/admin/v1/denylist${url}`, { method, headers: { 'content-type': 'application/json' }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
    const bytes = Buffer.from(await answer.arrayBuffer())
    return { status: statusCode, headers, body: bytes, json: JSON.parse(bytes.toString()) }
  }
  const deny: Lab['deny'] = async (...entries) => { assert.equal((await admin('/entries', 'POST', { entries, reason: 'test' })).status, 200) }
  return { ...running, node, ask, admin, deny }
}

suite('what is denied', { concurrency: false }, () => {
  test('is 451 over HTTP, whatever is asked of it; it leaves the cache, no super-node hears of it, and it comes back when it may', LIMIT, async t => {
    const lab = await setup(t)
    for (const part of [0, 1, 13] as const) assert.equal((await lab.ask(path('a', part))).status, 200)
    await lab.ask(path('b'))
    await until(async () => lab.relay.admin.shards.fills, fills => fills === 0)
    assert.equal(lab.relay.admin.shardCache.disk.count, 4)
    await lab.deny(`//${cidDigest(cid('a')).toString('hex')}`, `syn-${SIZE}-c*`)
    const asked = lab.node.stats().requests
    assertProblem(await lab.ask(path('a')), 'RELAY_ERR_DENIED')
    assertProblem(await lab.ask(path('a', 'manifest')), 'RELAY_ERR_DENIED')
    assertProblem(await lab.ask(path('a'), 'GET', { range: 'bytes=0-9' }), 'RELAY_ERR_DENIED')
    assertProblem(await lab.ask(path('a'), 'GET', { 'cache-control': 'only-if-cached' }), 'RELAY_ERR_DENIED')
    assertProblem(await lab.ask(path('cc')), 'RELAY_ERR_DENIED')
    assert.equal((await lab.ask(path('a'), 'HEAD')).status, 451)
    assert.equal(lab.node.stats().requests, asked)
    assert.equal((await lab.ask(path('b'))).headers['cache-status'], 'icn-relay; hit')
    await until(async () => lab.relay.admin.shardCache.disk.count, count => count === 1)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_denylist_purged_objects_total'), 3)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_open_failures_total', '{code="RELAY_ERR_DENIED"}'), 6)
    assert.equal(await metric(lab.adminUrl, 'icn_relay_denylist_entries', '{source="own"}'), 2)

    assert.deepEqual((await lab.admin(`/cids/${cid('a')}`)).json, { denied: true, sources: ['own'] })
    assert.deepEqual((await lab.admin(`/cids/${cid('b')}`)).json, { denied: false, sources: [] })
    assertProblem(await lab.admin('/entries', 'POST', { entries: ['QmX', 'not an entry'] }), 'RELAY_ERR_BAD_REQUEST')
    const gone = await lab.admin(`/entries/${encodeURIComponent(`//${cidDigest(cid('a')).toString('hex')}`)}`, 'DELETE')
    assert.deepEqual(gone.json, { removed: true })
    assertProblem(await lab.admin('/entries/QmNever', 'DELETE'), 'RELAY_ERR_NOT_FOUND')
    assert.equal((await lab.ask(path('a'))).status, 200)
    assertProblem(await lab.ask(path('cc')), 'RELAY_ERR_DENIED')
  })

  test('is not read on by those who read it: neither from a fill, over HTTP and a session, nor from a file', LIMIT, async t => {
    const lab = await setup(t, { transport: { engine: 'quinn' } })
    const client = await connect(lab.viewerUrl, { transports: ['webtransport'], connectTimeoutMs: 60_000, stallMs: 60_000 })
    t.after(() => { client.close() })
    lab.node.setFaults({ match: 'shard_00', stallAtBytes: STALL })
    const { body } = await request(lab.viewerUrl + path('a'))
    body.on('error', () => {})
    const session = client.fetchShard(cid('a'), 0).then(() => 'whole', (error: unknown) => error)
    await until(async () => lab.relay.admin.shards.fills, fills => fills === 1)
    await until(async () => lab.relay.admin.viewers.supervisor?.sizes()['relay.leases'] ?? 0, leases => leases === 1)
    await lab.deny(cid('a'))
    await assert.rejects(body.arrayBuffer())
    assert.notEqual(await session, 'whole')
    await until(async () => lab.relay.admin.shards.fills, fills => fills === 0)
    await assert.rejects(client.fetchShard(cid('a'), 0), { status: 451, code: 'RELAY_ERR_DENIED' })
    // A viewer of whom nothing else went wrong goes on.
    lab.node.setFaults({})
    assert.equal((await client.fetchShard(cid('b'), 0)).bytes.length, SIZE)

    // From a cached file, slowly: what is under way ends before its end.
    await client.fetchShard(cid('c'), 0)
    await until(async () => lab.relay.admin.shards.fills, fills => fills === 0)
    const limited = await request(`${lab.adminUrl}/admin/v1/bandwidth`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"totalBps":200000}' })
    await limited.body.dump()
    const [slow, other] = [client.fetchShard(cid('c'), 0).then(() => 'whole', (error: unknown) => error), request(lab.viewerUrl + path('c'))]
    const response = await other
    response.body.on('error', () => {})
    await until(async () => lab.relay.admin.viewers.supervisor?.sizes()['relay.leases'] ?? 0, leases => leases === 1)
    await lab.deny(cid('c'))
    await assert.rejects(response.body.arrayBuffer())
    assert.notEqual(await slow, 'whole')
    await until(async () => lab.relay.admin.shardCache.disk.openFiles, files => files === 0)
  })

  test('stays so over a restart, and by a file that is read again; a file nobody understands leaves what was, or ends the start', LIMIT, async t => {
    const directory = await temporaryDirectory(t)
    const file = join(directory, 'deny.txt')
    await writeFile(file, 'syn-9*\n')
    const lab = await setup(t, { cache: { path: join(directory, 'cache') }, denylist: { file } })
    await lab.ask(path('a'))
    await lab.ask(path('b'))
    await until(async () => lab.relay.admin.shards.fills, fills => fills === 0)
    await lab.deny(cid('b'))
    await writeFile(file, `${cid('a')}\n!\n`)
    const { lists } = (await lab.admin('/reload', 'POST')).json as { lists: { source: string, entries: number, badLines: number, problem: string | null }[] }
    assert.deepEqual(lists.map(({ source, entries, badLines }) => [source, entries, badLines]), [['own', 1, 0], ['file', 1, 1]])
    assert.match(lists[1]?.problem ?? '', /^line 2: "!" is no entry/)
    assertProblem(await lab.ask(path('a')), 'RELAY_ERR_DENIED')
    await until(async () => lab.relay.admin.shardCache.disk.count, count => count === 0)
    await writeFile(file, '!\n!\n')
    await lab.relay.reload()
    assertProblem(await lab.ask(path('a')), 'RELAY_ERR_DENIED')
    await lab.relay.close()

    await assert.rejects(setup(t, { cache: { path: join(directory, 'cache') }, denylist: { file } }), { code: 'RELAY_ERR_CONFIG', message: /^denylist\.file: it is no denylist/ })
    await assert.rejects(setup(t, { cache: { path: join(directory, 'cache') }, denylist: { file: `${file}.gone` } }), { code: 'RELAY_ERR_CONFIG', message: /cannot be read: ENOENT/ })
    const again = await setup(t, { cache: { path: join(directory, 'cache') } })
    assertProblem(await again.ask(path('b')), 'RELAY_ERR_DENIED')
    assert.equal((await again.ask(path('a'))).status, 200)
  })

  test('what was cached before a restart and is denied since leaves the cache', LIMIT, async t => {
    const directory = await temporaryDirectory(t)
    const first = await setup(t, { cache: { path: directory } })
    await first.ask(path('a'))
    await until(async () => first.relay.admin.shards.fills, fills => fills === 0)
    await first.relay.close()
    const file = join(directory, 'deny.txt')
    await writeFile(file, cid('a'))
    const second = await setup(t, { cache: { path: directory }, denylist: { file } })
    await until(async () => second.relay.admin.shardCache.disk.count, count => count === 0)
  })
})

test('the commands put entries on the list of a running relay and take them off; what it refuses they say', LIMIT, async t => {
  const lab = await setup(t)
  const ask = await askRunning<{ added: number }>('block', checkConfig({ admin: { loopback_without_token: true } }), lab.adminUrl)
  const deny = async (...entries: readonly string[]): Promise<number> => await denyEntries(ask, entries, 'order 12')
  assert.equal(await deny(cid('a'), 'tv-*'), 2)
  assert.equal(await deny('tv-*', `//${'0'.repeat(64)}`), 1)
  assertProblem(await lab.ask(path('a')), 'RELAY_ERR_DENIED')
  await assert.rejects(deny('a/b'), { code: 'RELAY_ERR_CONFIG', message: /^block: the relay answers 400: "a\/b" is no entry/ })
  await allowEntries(ask, [cid('a'), `//${'0'.repeat(64)}`])
  assert.equal((await lab.ask(path('a'))).status, 200)
  await assert.rejects(allowEntries(ask, [cid('a'), 'tv-*']), { message: /404: no such entry/ })
})
