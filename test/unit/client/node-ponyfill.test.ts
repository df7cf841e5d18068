import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createSecureServer } from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { nodePonyfill } from '../../../client/src/node-ponyfill.ts'
import { PONYFILL_OPTIONS } from '../../../client/src/w3c-session.ts'
import { certificateHash, createSelfSigned } from '../../../src/plugins/tls/self-signed.ts'

const WINDOW = 16 * 1024 * 1024

test('the HTTP/2 windows of the Node ponyfill stand above those of the library, for streams and for the connection', { timeout: 240_000 }, async t => {
  const { cert, key } = createSelfSigned([], Date.now())
  const server = createSecureServer({ cert, key, settings: { enableConnectProtocol: true } })
  const sessions: ServerHttp2Session[] = []
  t.after(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const raised = new Promise<void>(resolve => {
    server.on('session', session => {
      sessions.push(session)
      session.on('remoteSettings', ({ initialWindowSize = 0 }) => { if (initialWindowSize >= WINDOW) resolve() })
    })
  })
  // The library opens its session once it has our settings; the update of the connection's window has come before.
  const asked = once(server, 'stream')
  server.on('stream', stream => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const Ponyfill = await nodePonyfill()
  const transport = new Ponyfill(`https://127.0.0.1:${(server.address() as AddressInfo).port}/v1/viewer`, {
    ...PONYFILL_OPTIONS,
    serverCertificateHashes: [{ algorithm: 'sha-256', value: Uint8Array.from(Buffer.from(certificateHash(cert), 'base64')) }]
  })
  transport.closed.catch(() => {})
  await Promise.all([raised, asked, transport.ready])
  assert.ok((sessions[0]?.state.remoteWindowSize ?? 0) >= WINDOW, `${sessions[0]?.state.remoteWindowSize}`)
  assert.ok(PONYFILL_OPTIONS.initialStreamFlowControlWindow < WINDOW && PONYFILL_OPTIONS.initialSessionFlowControlWindow < WINDOW)
  transport.close()
})
