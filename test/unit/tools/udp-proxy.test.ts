import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { startProxy } from '../../../tools/harness/udp-proxy.ts'

test('a packet that is on its way when the viewer gets another port arrives, from the new one', async t => {
  const [server, viewer] = [createSocket('udp4'), createSocket('udp4')]
  t.after(() => {
    server.close()
    viewer.close()
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await startProxy(server.address().port, { delayMs: 20 })
  t.after(() => { proxy.close() })
  const ports: number[] = []
  for (let packet = 0; packet < 2; packet++) {
    const arrived = once(server, 'message') as Promise<[Buffer, RemoteInfo]>
    viewer.send('x', proxy.port, '127.0.0.1')
    while (proxy.counts.toServer === packet) await new Promise(resolve => { setImmediate(resolve) })
    if (packet > 0) await proxy.rebind()
    ports.push((await arrived)[1].port)
  }
  assert.notEqual(ports[0], ports[1])
})
