import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { handOn, LISTENERS, listenSockets, withoutListenSockets } from '../../../src/spawn/listen-sockets.ts'

const PID = 42
const all = (): boolean => true

test('descriptors count from 3, by the names that the service manager gives them', () => {
  assert.deepEqual(listenSockets({ LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'admin:websocket:viewer' }, PID, all), { admin: 3, websocket: 4, viewer: 5 })
  assert.deepEqual(listenSockets({ LISTEN_PID: '42', LISTEN_FDS: '0' }, PID, all), {})
})

test('what another process was given is none of ours', () => {
  for (const env of [{}, { LISTEN_FDS: '1', LISTEN_FDNAMES: 'viewer' }, { LISTEN_PID: '41', LISTEN_FDS: '1', LISTEN_FDNAMES: 'viewer' }]) assert.deepEqual(listenSockets(env, PID, all), {})
})

test('what cannot be listened on is named', () => {
  const env = { LISTEN_PID: '42', LISTEN_FDS: '2' }
  for (const [more, isSocket, message] of [
    [{ LISTEN_FDNAMES: 'viewer:viewer' }, all, /there are two for viewer/],
    [{ LISTEN_FDNAMES: 'viewer:metrics' }, all, /descriptor 4 has the name "metrics", which is none of viewer, admin, websocket/],
    [{ LISTEN_FDNAMES: 'viewer' }, all, /descriptor 4 has the name ""/],
    [{}, all, /descriptor 3 has the name ""/],
    [{ LISTEN_FDNAMES: 'viewer:admin' }, (fd: number) => fd === 3, /descriptor 4, for admin, is no open socket/],
    [{ LISTEN_FDS: 'two' }, all, /LISTEN_FDS is "two"/]
  ] as const) {
    assert.throws(() => listenSockets({ ...env, ...more }, PID, isSocket), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_LISTEN' && message.test(error.message))
  }
})

test('a file, and a descriptor that is not open, are no sockets', t => {
  const file = openSync(process.execPath, 'r')
  t.after(() => { closeSync(file) })
  // Nobody opens a million.
  for (const fd of [file, 1_000_000]) assert.throws(() => listenSockets({ ICN_LISTEN_SOCKETS: `viewer=${fd}` }, PID), new RegExp(`descriptor ${fd}, for viewer, is no open socket`))
})

test('whatever the variables hold, there is an answer or a clear error', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('1', '2', '42', 'viewer', 'viewer:admin', 'viewer=3,admin=4', 'viewer=x', ''))
  fc.assert(fc.property(fc.record({ LISTEN_PID: text, LISTEN_FDS: text, LISTEN_FDNAMES: text, ICN_LISTEN_SOCKETS: text }, { requiredKeys: [] }), env => {
    try {
      for (const fd of Object.values(listenSockets(env, PID, fd => Number.isInteger(fd)))) assert.ok(Number.isInteger(fd))
    } catch (error) {
      assert.ok(error instanceof RelayError, String(error))
    }
  }), { numRuns: 100 })
})

test('what is handed on arrives under the numbers that the child has, and nothing else of it', () => {
  fc.assert(fc.property(fc.subarray([...LISTENERS]), names => {
    const sockets = Object.fromEntries(names.map((name, position) => [name, 10 + position]))
    const { stdio, env } = handOn(sockets, 4)
    const child = listenSockets({ LISTEN_PID: '42', LISTEN_FDS: '9', ...names.length === 0 ? { LISTEN_FDS: '0' } : {}, ...env }, PID, all)
    assert.deepEqual(Object.fromEntries(Object.entries(child).map(([name, fd]) => [name, stdio[fd - 4]])), sockets)
    assert.deepEqual(withoutListenSockets({ PATH: '/bin', LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'viewer', ...env }), { PATH: '/bin' })
  }), { numRuns: 20 })
})
