import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { checkFromGateway } from '../../../src/channel/from-gateway.ts'

const counts = { counters: [], latencies: [] }
const counted = (name: string, labels: object, by: unknown): object => heartbeat({ counts: { ...counts, counters: [[name, labels, by]] } })
const heartbeat = (stats: object): object => ({ type: 'heartbeat', stats: { sessions: {}, sizes: {}, rssBytes: 1, counts, ...stats } })

test('what a gateway says in good order passes unchanged', () => {
  const messages = [
    { type: 'resolve', id: 1, key: { cid: 'Qm_-9', part: 13 }, address: '192.0.2.1' },
    { type: 'resolve', id: 1, key: { cid: 'Qm', part: 'manifest' }, address: '192.0.2.1' },
    { type: 'read', id: 1, lease: 2, position: 0, length: 65_536 },
    { type: 'listening', info: { notes: ['no HTTP/3: x'], open: { websocket: { port: 9004, description: 'd' } } } },
    { type: 'log', level: 'warn', message: 'm', fields: { any: { thing: [1] } } },
    heartbeat({ loopDelayMs: 12.5 }),
    counted('icn_relay_overload_shed_total', { kind: 'session' }, 3),
    counted('icn_relay_viewer_streams_total', { transport: 'websocket', outcome: 'ok' }, 1),
    heartbeat({ counts: { ...counts, latencies: [['websocket', 'miss', 'complete', 0.5]] } })
  ]
  for (const message of messages) assert.equal(checkFromGateway(message), message)
})

test('what would become a label, a counter or an address is refused unless it is one', () => {
  const messages: unknown[] = [
    undefined, null, 7, 'hello', {}, { type: 'hello' }, { type: 'constructor' }, { type: '__proto__' }, { type: ['release'] }, { type: 'release', lease: 1, more: 1 },
    { type: 'resolve', id: 1, key: { cid: '../../../etc', part: 0 }, address: '192.0.2.1' },
    { type: 'resolve', id: 1, key: { cid: 'a', part: 14 }, address: '192.0.2.1' },
    { type: 'resolve', id: -1, key: { cid: 'a', part: 0 }, address: '192.0.2.1' },
    { type: 'read', id: 1, lease: 2, position: -1, length: 1 },
    { type: 'read', id: 1, lease: 2, position: 0, length: 0 },
    { type: 'read', id: 1, lease: 2, position: 0.5, length: 1 },
    { type: 'release', lease: Number.NaN },
    heartbeat({ rssBytes: Number.POSITIVE_INFINITY }),
    heartbeat({ loopDelayMs: -1 }),
    heartbeat({ loopDelayMs: Number.NaN }),
    counted('icn_relay_overload_shed_total', { kind: 'session' }, 'many'),
    counted('icn_relay_overload_shed_total', { kind: 'session', more: 'x' }, 1),
    counted('icn_relay_overload_shed_total', {}, 1),
    counted('icn_relay_gateway_up', {}, 1),
    heartbeat({ counts: { ...counts, counters: Array.from({ length: 1_000 }, () => ['icn_relay_overload_shed_total', { kind: 'session' }, 1]) } }),
    heartbeat({ sessions: { 'webtransport"} 1\nevil': 1 } }),
    heartbeat({ sizes: Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`s${n}`, n])) }),
    counted('icn_relay_bytes_served_total', { transport: 'webtransport' }, -1),
    counted('icn_relay_viewer_streams_total', { transport: 'webtransport', outcome: 'else' }, 1),
    counted('icn_relay_viewer_refusals_total', { code: 'RELAY_ERR_INTERNAL' }, 1),
    counted('icn_relay_viewer_handshake_failures_total', { reason: 'r1' }, 1),
    heartbeat({ counts: { ...counts, latencies: [['webtransport', 'hit', 'complete', Number.NaN]] } }),
    { type: 'listening', info: { notes: [], open: { webtransport: { port: 70_000, description: '' } } } },
    { type: 'log', level: 'fatal', message: 'm', fields: {} }
  ]
  for (const message of messages) assert.equal(typeof checkFromGateway(message), 'string', JSON.stringify(message))
})

test('no value throws', () => {
  fc.assert(fc.property(fc.anything(), value => { checkFromGateway(value) }))
  fc.assert(fc.property(fc.constantFrom('resolve', 'read', 'heartbeat', 'log', 'listening', 'sessions'), fc.dictionary(fc.string(), fc.anything()), (type, rest) => {
    checkFromGateway({ ...rest, type })
  }))
})
