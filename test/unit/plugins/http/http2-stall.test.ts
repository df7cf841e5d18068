import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, constants, type ClientHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { createSecureServer } from '../../../../src/plugins/http/secure-server.ts'
import { createSelfSigned } from '../../../../src/plugins/tls/self-signed.ts'

const HEAD = ':status'

async function small (session: ClientHttp2Session): Promise<unknown> {
  const stream = session.request({ ':path': '/small' })
  const [headers] = await once(stream, 'response') as [Record<string, unknown>]
  stream.resume()
  await once(stream, 'close')
  return headers[HEAD]
}

test('a stream whose peer takes nothing ends, although small requests keep its connection alive; about 100 streams a connection', { timeout: 240_000 }, async t => {
  const material = createSelfSigned(['localhost'], Date.now())
  const server = createSecureServer({ tls: material, http: {}, idleTimeoutMs: 400, handshakeTimeoutMs: 60_000, headTimeoutMs: 60_000 }, (request, response) => {
    if (request.url === '/small') response.end()
    else response.end(Buffer.alloc(100_000))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const session = connect(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { rejectUnauthorized: false, settings: { initialWindowSize: 0 } })
  t.after(() => { session.destroy() })
  const [settings] = await once(session, 'remoteSettings') as [{ maxConcurrentStreams: number }]
  assert.equal(settings.maxConcurrentStreams, 100)
  const stalled = session.request({ ':path': '/large' })
  const ended = once(stalled, 'close').then(() => 'ended')
  stalled.on('error', () => {})
  stalled.resume()
  while (await Promise.race([ended, small(session)]) !== 'ended');
  assert.equal(stalled.rstCode, constants.NGHTTP2_CANCEL)
  assert.equal(await small(session), 200)
})
