import assert from 'node:assert/strict'
import test from 'node:test'
import fastify from 'fastify'
import { playerPolicy, playerRoutes } from '../../src/http/player-routes.ts'

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
