import assert from 'node:assert/strict'
import { createServer as createPlain } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { Server } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { translate } from '../../src/plugins/upstream/failure.ts'
import { createSelfSigned } from '../../src/plugins/tls/self-signed.ts'
import { listenRaw } from '../support/raw-origin.ts'
import { patient, setUp } from '../support/upstream-rig.ts'

const KEY = { cid: 'tls', part: 0 }

/** Listens; errors of its TLS connections are what the test is about. */
async function listen (t: TestContext, server: Server): Promise<string> {
  server.on('tlsClientError', () => {})
  server.on('secureConnection', (socket: NodeJS.EventEmitter) => { socket.on('error', () => {}) })
  return await listenRaw(t, server)
}

suite('a node whose TLS does not fit is named for what it is', () => {
  const { key, cert } = createSelfSigned([], Date.now())
  const answer = (_request: unknown, response: { end: (text: string) => void }): void => { response.end('ok') }
  const cases: [name: string, scheme: string, server: () => Server, detail: RegExp][] = [
    ['plain where TLS was expected', 'https', () => createPlain(answer), /does not speak TLS: its URL should begin with http:\/\/ \(ERR_SSL_WRONG_VERSION_NUMBER\)/],
    ['HTTP/2 only', 'https', () => createSecureServer({ key, cert, allowHTTP1: false }), /speaks HTTP\/2 only/],
    ['client certificate wanted', 'https', () => createHttps({ key, cert, requestCert: true, rejectUnauthorized: true, maxVersion: 'TLSv1.2' }, answer), /may want a client certificate/],
    ['a certificate nobody vouches for', 'https', () => createHttps({ key, cert }, answer), /certificate that is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)/]
  ]
  for (const [name, scheme, server, detail] of cases) {
    test(name, async t => {
      const node = { url: `${scheme}://${await listen(t, server())}`, region: 'APAC' }
      const { upstream, logs } = setUp(t, [node], { connectTimeoutMs: 10_000, headersTimeoutMs: 10_000, firstByteTimeoutMs: 10_000 })
      await assert.rejects(upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_PROTOCOL' })
      assert.ok(logs.some(line => line.startsWith('warn super-node failed') && detail.test(line)), logs.join('\n'))
    })
  }

  test('TLS where plain was expected, and a node that closes such connections without a word: its health check finds out', async t => {
    const node = { url: `http://${await listen(t, createHttps({ key, cert }, answer))}`, region: 'APAC' }
    const { logs, logged } = setUp(t, [node], { health: { intervalMs: 10, timeoutMs: 10_000 } })
    await logged('fails its health checks')
    assert.ok(logs.some(line => /speaks TLS: its URL should begin with https:/.test(line)), logs.join('\n'))
  })

  test('alerts of other TLS libraries', () => {
    const codes: [code: string, detail: RegExp][] = [
      ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /wants a client certificate/],
      ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', /wants a client certificate/],
      ['ERR_TLS_CERT_ALTNAME_INVALID', /certificate that is not trusted/],
      ['CERT_HAS_EXPIRED', /certificate that is not trusted/],
      ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', /failed in TLS/]
    ]
    for (const [code, detail] of codes) {
      const known = translate(Object.assign(new Error('x'), { code }), 'node', patient())
      assert.equal(known.code, 'RELAY_ERR_UPSTREAM_PROTOCOL')
      assert.match(known.message, detail)
      assert.ok(known.message.endsWith(`(${code})`))
    }
  })
})
