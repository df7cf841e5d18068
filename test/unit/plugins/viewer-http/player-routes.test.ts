import assert from 'node:assert/strict'
import test from 'node:test'
import fastify from 'fastify'
import { playerPolicy, playerRoutes } from '../../../../src/plugins/viewer-http/player-routes.ts'

const connectSources = (hostname: string, protocol: string): string | undefined => playerPolicy(hostname, protocol).split('; ').find(directive => directive.startsWith('connect-src'))

test('the page may connect to every port of the name it was loaded under, and to nothing else', () => {
  assert.equal(connectSources('relay.example', 'https'), "connect-src 'self' https://relay.example:* wss://relay.example:*")
  assert.equal(connectSources('127.0.0.1', 'http'), "connect-src 'self' https://127.0.0.1:* wss://127.0.0.1:* http://127.0.0.1:*")
  // Its /v1/transport names 127.0.0.1.
  assert.equal(connectSources('localhost', 'https'), "connect-src 'self' https://localhost:* wss://localhost:* https://127.0.0.1:* wss://127.0.0.1:*")
})

test('a name that cannot stand in a policy leaves the schemes, and adds nothing of its own', () => {
  for (const hostname of ['::1', '', "x; script-src 'unsafe-inline'", 'a b', 'x,y', 'x'.repeat(254)]) {
    assert.equal(connectSources(hostname, 'https'), "connect-src 'self' https: wss:")
    assert.equal(playerPolicy(hostname, 'https').split('; ').length, playerPolicy('relay.example', 'https').split('; ').length)
  }
})

test('WebAssembly may run, inline and foreign scripts may not', () => {
  assert.match(playerPolicy('relay.example', 'https'), /(?:^|; )script-src 'self' 'wasm-unsafe-eval'(?:;|$)/)
})

test('/ and /player lead to the page, with the query they were asked for, and to nowhere else', async t => {
  const app = fastify()
  t.after(async () => { await app.close() })
  await app.register(playerRoutes, {})
  for (const [url, location] of [['/', '/player/'], ['/player', '/player/'], ['/?cid=a&transport=http', '/player/?cid=a&transport=http'], ['/player?cid=a', '/player/?cid=a'], ['/?//evil.example/', '/player/?//evil.example/']] as const) {
    const { statusCode, headers } = await app.inject(url)
    assert.deepEqual([statusCode, headers.location], [302, location], url)
  }
})

test('/player/recent tells of at most 20 videos, and of none where that is nobody\'s business', async t => {
  const open = fastify()
  const closed = fastify()
  t.after(async () => { await Promise.all([open.close(), closed.close()]) })
  const asked: number[] = []
  await open.register(playerRoutes, { recentVideos: limit => { asked.push(limit); return [{ cid: 'a', storedAt: 0 }] } })
  await closed.register(playerRoutes, {})
  assert.equal((await open.inject('/player/recent')).body, '{"videos":[{"cid":"a","storedAt":"1970-01-01T00:00:00.000Z"}]}\n')
  assert.deepEqual(asked, [20])
  assert.equal((await closed.inject('/player/recent')).statusCode, 404)
})

test('a missing client library or page is one log line that says what to do, and a 404', async t => {
  for (const [options, expected] of [[{ library: '/nowhere' }, /npm run build/], [{ page: '/nowhere' }, /no player page/]] as const) {
    const lines: string[] = []
    const app = fastify({ logger: { stream: { write: (line: string) => { lines.push(line) } } } })
    t.after(async () => { await app.close() })
    await app.register(playerRoutes, options)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', expected)
    assert.equal((await app.inject('/player/client/client.js')).statusCode, 404)
  }
})
