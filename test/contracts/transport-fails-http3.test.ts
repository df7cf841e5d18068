import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { failsHttp3Missing, failsHttp3Transport } from '../../src/gateway/transports/fails/http3.ts'
import { connectLibraryHttp3 } from './fails-clients.ts'
import { contractTls, viewerTransportContract } from './viewer-transport.ts'

const missing = await failsHttp3Missing()

viewerTransportContract('fails, HTTP/3', {
  transport: failsHttp3Transport(),
  transportName: 'webtransport',
  connect: connectLibraryHttp3,
  limits: {
    refusalStatus: 'the client reports a refusal as a failed handshake',
    requestHeaders: 'the client sends no headers of its own',
    setTls: 'the native server loads its certificate once',
    loss: 'the native server reports a lost connection as a close without code'
  },
  skip: missing
})

test('without its optional package the engine says so instead of listening', { skip: missing === undefined ? 'the package is installed' : false }, async () => {
  assert.match(missing ?? '', /@fails-components\/webtransport-transport-http3-quiche/)
  await assert.rejects(failsHttp3Transport().listen({
    host: '127.0.0.1', port: 0, tls: contractTls, path: '/', maxSessions: 1, maxStreamsPerSession: 1, handshakeTimeoutMs: 1, idleTimeoutMs: 1
  }, { decide: () => ({ accept: true }), session () {}, handshakeFailed () {}, log () {} }), { message: missing })
})

test('loading the library prints nothing', { timeout: 240_000 }, async () => {
  const library = new URL('../../src/gateway/transports/fails/library.ts', import.meta.url).href
  const script = `const { loadLibrary } = await import(${JSON.stringify(library)}); await loadLibrary(); console.log('own line')`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => { printed += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { printed += chunk.toString() })
  await once(child, 'close')
  assert.equal(printed, 'own line\n')
})
