import assert from 'node:assert/strict'
import { test } from 'node:test'
import { request } from 'undici'
import { startRelay } from '../../tools/harness/relay.ts'
import { assertProblem } from '../support/problem.ts'

const NODES = [{ url: 'http://127.0.0.1:9', region: 'APAC' }]
const tokens = [
  { token: 'writer-writer-writer', scope: 'write' },
  { token: 'purger-purger-purger', scope: 'purge' },
  { token: 'prefix-prefix-prefix', scope: 'purge', cid_prefixes: ['tv-'], name: 'tv' }
]

test('purge tokens purge and nothing else; settings are replaced only when they are those of if-match', { timeout: 60_000 }, async t => {
  const relay = await startRelay(t, NODES, { admin: { tokens } })
  const ask = async (who: string, method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, ifMatch?: string) => {
    const headers = { authorization: `Bearer ${who}-${who}-${who}`, ...body === undefined ? {} : { 'content-type': 'application/json' }, ...ifMatch === undefined ? {} : { 'if-match': ifMatch } }
    const response = await request(`${relay.adminUrl}/admin/v1${path}`, { method, headers, ...body === undefined ? {} : { body: JSON.stringify(body) } })
    const text = await response.body.text()
    return { status: response.statusCode, headers: response.headers, json: JSON.parse(text) as never, text, body: Buffer.from(text) }
  }
  await t.test('scope purge', async () => {
    for (const body of [{ cids: ['film-1'] }, { prefix: 'f' }, { tag: 'x' }, { all: true }]) assert.equal((await ask('purger', 'POST', '/cache/purge', body)).status, 200)
    assert.equal((await ask('purger', 'DELETE', '/cache/shards/film-1')).status, 200)
    for (const [method, path] of [['GET', '/cache'], ['GET', '/config'], ['PATCH', '/cache'], ['PUT', '/cache/pins/film-1'], ['POST', '/config/reload']] as const) assertProblem(await ask('purger', method, path, method === 'GET' ? undefined : {}), 'RELAY_ERR_ADMIN_SCOPE')
  })

  await t.test('for a prefix of CIDs', async () => {
    for (const body of [{ cids: ['tv-1', 'tv-2'] }, { prefix: 'tv-news' }]) assert.equal((await ask('prefix', 'POST', '/cache/purge', body)).status, 200)
    assert.equal((await ask('prefix', 'DELETE', '/cache/shards/tv-1/3')).status, 200)
    for (const body of [{ cids: ['tv-1', 'film-1'] }, { prefix: 't' }, { tag: 'x' }, { all: true }]) assertProblem(await ask('prefix', 'POST', '/cache/purge', body), 'RELAY_ERR_ADMIN_SCOPE')
    for (const path of ['/cache/shards/film-1', '/cache/shards/film-1/3', '/cache/shards?confirm=all']) assertProblem(await ask('prefix', 'DELETE', path), 'RELAY_ERR_ADMIN_SCOPE')
    const { json } = await ask('writer', 'GET', '/audit?by=tv')
    assert.deepEqual((json as { records: { status: number }[] }).records.map(({ status }) => status), [403, 403, 403, 403, 403, 403, 403, 200, 200, 200])
  })

  await t.test('if-match', async () => {
    const etag = String((await ask('writer', 'GET', '/config')).headers['etag'])
    for (const path of ['/limits', '/bandwidth', '/region', '/log', '/cache']) assert.equal((await ask('writer', 'GET', path)).headers['etag'], etag, path)
    const first = await ask('writer', 'PUT', '/limits', { trackedIps: 77 }, etag)
    assert.deepEqual([first.status, first.headers['etag'] === etag], [200, false])
    assertProblem(await ask('writer', 'PUT', '/limits', { trackedIps: 78 }, etag), 'RELAY_ERR_PRECONDITION')
    assertProblem(await ask('writer', 'PATCH', '/log', { level: 'warn' }, etag), 'RELAY_ERR_PRECONDITION')
    assertProblem(await ask('writer', 'DELETE', '/config/overrides', undefined, etag), 'RELAY_ERR_PRECONDITION')
    assertProblem(await ask('writer', 'PUT', '/limits', { trackedIps: 78 }, '77'), 'RELAY_ERR_BAD_REQUEST')
    assert.equal(relay.relay.admin.liveConfig.config.limits.tracked_ips, 77)
    // Of two who replace the same settings at the same time one is told.
    const both = await Promise.all([1, 2].map(async ips => (await ask('writer', 'PUT', '/limits', { trackedIps: ips }, String(first.headers['etag']))).status))
    assert.deepEqual(both.sort(), [200, 412])
    assert.equal((await ask('writer', 'PUT', '/limits', { trackedIps: 5 }, '*')).status, 200)
    assert.equal((await ask('writer', 'DELETE', '/config/overrides')).status, 200)
  })
})
