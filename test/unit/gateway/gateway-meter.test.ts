import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { REFUSALS } from '../../../src/admission/verdict.ts'
import { checkFromGateway, MAX_LATENCIES } from '../../../src/channel/from-gateway.ts'
import { HANDSHAKE_FAILURES, STREAM_OUTCOMES } from '../../../src/channel/gateway-counters.ts'
import { GatewayMeter } from '../../../src/gateway/meter.ts'
import type { StreamReport } from '../../../src/gateway/session/session-types.ts'
import { SESSION_TRANSPORT_NAMES } from '../../../src/protocol/session-transports.ts'

const report = (overrides: Partial<StreamReport> = {}): StreamReport => ({
  outcome: 'ok', status: 200, code: undefined, cause: undefined, key: { cid: 'c', part: 0 }, asked: undefined, requestId: 'r', origin: { hit: true, tier: 'disk', storedAt: 0 }, bytes: 10, firstByteMs: 2, totalMs: 4, elapsedMs: 4, ...overrides
})

test('counts by label, and starts over when taken', () => {
  const meter = new GatewayMeter()
  meter.count('icn_relay_viewer_handshakes_total', { transport: 'webtransport' })
  meter.count('icn_relay_viewer_handshakes_total', { transport: 'webtransport' })
  meter.count('icn_relay_viewer_handshake_failures_total', { reason: 'tls' })
  meter.stream('webtransport', report())
  meter.stream('webtransport', report({ origin: { hit: false, collapsed: false, region: 'APAC', node: 'a', headMs: 1 } }))
  meter.stream('websocket', report({ outcome: 'client-error', origin: undefined, bytes: 3 }))
  meter.stream('webtransport', report({ outcome: 'client-error', status: 429, origin: undefined, bytes: 5 }))
  assert.deepEqual(meter.take(), {
    counters: [
      ['icn_relay_viewer_handshakes_total', { transport: 'webtransport' }, 2],
      ['icn_relay_viewer_handshake_failures_total', { reason: 'tls' }, 1],
      ['icn_relay_viewer_streams_total', { transport: 'webtransport', outcome: 'ok' }, 2],
      ['icn_relay_bytes_served_total', { transport: 'webtransport' }, 25],
      ['icn_relay_viewer_streams_total', { transport: 'websocket', outcome: 'client-error' }, 1],
      ['icn_relay_bytes_served_total', { transport: 'websocket' }, 3],
      ['icn_relay_viewer_streams_total', { transport: 'webtransport', outcome: 'client-error' }, 1],
      ['icn_relay_viewer_requests_limited_total', { transport: 'webtransport' }, 1]
    ],
    latencies: [
      ['webtransport', 'hit', 'first_byte', 0.002], ['webtransport', 'hit', 'complete', 0.004],
      ['webtransport', 'miss', 'first_byte', 0.002], ['webtransport', 'miss', 'complete', 0.004]
    ]
  })
  assert.deepEqual(meter.take(), { counters: [], latencies: [] })
})

test('property: whatever comes and comes back, what is told never falls and adds up', () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: -100, max: 100 }), fc.boolean())), steps => {
    const meter = new GatewayMeter()
    let told = 0
    for (const [by, heartbeat] of steps) {
      meter.count('icn_relay_bandwidth_granted_bytes_total', { transport: 'websocket' }, by)
      if (!heartbeat) continue
      for (const [, , counted] of meter.take().counters) {
        assert.ok(counted > 0)
        told += counted
      }
    }
    const sum = steps.reduce((total, [by]) => total + by, 0)
    for (const [, , counted] of meter.take().counters) told += counted
    // What has come back and was told before is owed.
    assert.ok(told >= sum)
    meter.count('icn_relay_bandwidth_granted_bytes_total', { transport: 'websocket' }, told - sum)
    assert.deepEqual(meter.take().counters, [])
  }))
})

test('however many streams end between two heartbeats, the heartbeat stays bounded and loses no count', () => {
  const meter = new GatewayMeter()
  for (let count = 0; count < 20_000; count++) meter.stream('webtransport', report())
  const { counters, latencies } = meter.take()
  assert.deepEqual(counters, [['icn_relay_viewer_streams_total', { transport: 'webtransport', outcome: 'ok' }, 20_000], ['icn_relay_bytes_served_total', { transport: 'webtransport' }, 200_000]])
  assert.equal(latencies.length, MAX_LATENCIES)
})

test('whatever the meter counts, the relay accepts', () => {
  const meter = new GatewayMeter()
  for (const transport of SESSION_TRANSPORT_NAMES) {
    meter.count('icn_relay_viewer_handshakes_total', { transport })
    meter.count('icn_relay_bandwidth_throttled_seconds_total', { transport }, 0.25)
    for (const outcome of STREAM_OUTCOMES) meter.stream(transport, report({ outcome, status: 429, firstByteMs: undefined }))
  }
  for (const reason of HANDSHAKE_FAILURES) meter.count('icn_relay_viewer_handshake_failures_total', { reason })
  meter.count('icn_relay_overload_shed_total', { kind: 'session' })
  for (const code of REFUSALS) meter.count('icn_relay_viewer_refusals_total', { code })
  const message = { type: 'heartbeat', stats: { sessions: { webtransport: 1 }, sizes: { 'webtransport.links': 1 }, rssBytes: 1, counts: meter.take() } }
  assert.equal(checkFromGateway(message), message)
})
