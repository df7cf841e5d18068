import assert from 'node:assert/strict'
import test from 'node:test'
import { checkConfig } from '../../../src/config/config.ts'
import { listenersOf } from '../../../src/config/listeners.ts'
import { SESSION_TRANSPORTS } from '../../../src/protocol/session-transports.ts'

const listeners = (engine: string) => listenersOf(checkConfig({ viewer: { host: '127.0.0.1', port: 1, websocket_port: 2 }, admin: { port: 3 }, transport: { engine } }))

test('every transport has a listener, by its own key or that of viewer HTTP; none without a gateway', () => {
  const host = '127.0.0.1'
  const always = [{ key: 'viewer.port', protocol: 'tcp', host, port: 1 }, { key: 'admin.port', protocol: 'tcp', host, port: 3 }]
  assert.deepEqual(listeners('off'), always)
  const sessions = listeners('quinn').slice(always.length)
  assert.deepEqual(sessions.map(({ key }) => key), SESSION_TRANSPORTS.map(({ port }) => `viewer.${port}`))
  assert.deepEqual(sessions.slice(0, 2), [{ key: 'viewer.port', protocol: 'udp', host, port: 1 }, { key: 'viewer.websocket_port', protocol: 'tcp', host, port: 2 }])
})

test('the port of a transport is a key with the default of its row', () => {
  const { viewer } = checkConfig({})
  assert.deepEqual([viewer.port, viewer.websocket_port], [9003, 9004])
  assert.throws(() => checkConfig({ viewer: { websocket_port: 65_536 } }), /viewer\.websocket_port/)
})
