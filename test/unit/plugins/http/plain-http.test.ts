import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { createSecureServer } from '../../../../src/plugins/http/secure-server.ts'
import { createSelfSigned } from '../../../../src/plugins/tls/self-signed.ts'

test('who speaks plain HTTP to a port of HTTPS is told so once; what is neither hears nothing', async t => {
  const handler = (): void => { assert.fail('nothing was asked for') }
  const server = createSecureServer({ tls: createSelfSigned(['localhost'], Date.now()), http: {}, idleTimeoutMs: 60_000, handshakeTimeoutMs: 60_000, headTimeoutMs: 60_000 }, handler)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => { server.close() })
  const { port } = server.address() as AddressInfo

  const asked = request({ host: '127.0.0.1', port, path: '/v1/transport', agent: new Agent({ keepAlive: true }) }).end()
  const closed = new Promise(resolve => asked.on('socket', socket => socket.once('close', resolve)))
  const [response] = await once(asked, 'response') as [IncomingMessage]
  assert.equal(response.statusCode, 400)
  assert.equal(response.headers['content-type'], 'application/problem+json')
  const { code, detail } = JSON.parse(await text(response)) as Record<string, unknown>
  assert.deepEqual([code, detail], ['RELAY_ERR_BAD_REQUEST', 'this port speaks HTTPS: begin the URL with https://'])
  await closed

  for (const garbage of ['SSH-2.0-OpenSSH\r\n', '\0\0\0\0\0\0']) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    const heard: Buffer[] = []
    socket.on('data', (bytes: Buffer) => { heard.push(bytes) })
    socket.end(garbage)
    await once(socket, 'close')
    assert.doesNotMatch(Buffer.concat(heard).toString('latin1'), /HTTP/)
  }
})
