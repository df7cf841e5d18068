import assert from 'node:assert/strict'
import test from 'node:test'
import { REFUSALS } from '../../src/admission/verdict.ts'
import { checkFromGateway, MAX_LATENCIES } from '../../src/channel/from-gateway.ts'
import { GatewayMeter } from '../../src/gateway/meter.ts'
import type { StreamOutcome, StreamReport } from '../../src/gateway/session/session-types.ts'

const report = (overrides: Partial<StreamReport> = {}): StreamReport => ({
  outcome: 'ok', status: 200, code: undefined, cause: undefined, key: { cid: 'c', part: 0 }, origin: { hit: true, tier: 'disk', storedAt: 0 }, bytes: 10, firstByteMs: 2, totalMs: 4, ...overrides
})

test('counts by transport, outcome and stage, and starts over when taken', () => {
  const meter = new GatewayMeter()
  meter.handshake('webtransport')
  meter.handshake('webtransport')
  meter.handshakeFailed('tls')
  meter.refusal('RELAY_ERR_VIEWER_SCOPE')
  meter.stream('webtransport', report())
  meter.stream('webtransport', report({ origin: { hit: false, collapsed: false, region: 'APAC', headMs: 1 } }))
  meter.stream('websocket', report({ outcome: 'client-error', origin: undefined, bytes: 3 }))
  meter.stream('websocket', report({ outcome: 'cancelled', bytes: 1 }))
  meter.stream('webtransport', report({ outcome: 'client-error', status: 429, origin: undefined, bytes: 5 }))
  assert.deepEqual(meter.take(), {
    handshakes: { webtransport: 2 },
    handshakeFailures: { tls: 1 },
    refusals: { RELAY_ERR_VIEWER_SCOPE: 1 },
    streams: [{ transport: 'webtransport', outcome: 'ok', count: 2 }, { transport: 'websocket', outcome: 'client-error', count: 1 }, { transport: 'websocket', outcome: 'cancelled', count: 1 }, { transport: 'webtransport', outcome: 'client-error', count: 1 }],
    limited: { webtransport: 1 },
    bytes: { webtransport: 25, websocket: 4 },
    latencies: [
      ['webtransport', 'hit', 'first_byte', 0.002], ['webtransport', 'hit', 'complete', 0.004],
      ['webtransport', 'miss', 'first_byte', 0.002], ['webtransport', 'miss', 'complete', 0.004]
    ]
  })
  assert.deepEqual(meter.take(), { handshakes: {}, handshakeFailures: {}, refusals: {}, streams: [], limited: {}, bytes: {}, latencies: [] })
})

test('sessions sent elsewhere are counted, and without any nothing is said', () => {
  const meter = new GatewayMeter()
  meter.shed()
  meter.shed()
  assert.equal(meter.take().shed, 2)
  assert.ok(!('shed' in meter.take()))
})

test('however many streams end between two heartbeats, the heartbeat stays bounded and loses no count', () => {
  const meter = new GatewayMeter()
  for (let count = 0; count < 20_000; count++) meter.stream('webtransport', report())
  const counts = meter.take()
  assert.deepEqual(counts.streams, [{ transport: 'webtransport', outcome: 'ok', count: 20_000 }])
  assert.equal(counts.bytes['webtransport'], 200_000)
  assert.equal(counts.latencies.length, MAX_LATENCIES)
})

test('whatever the meter counts, the relay accepts', () => {
  const meter = new GatewayMeter()
  const outcomes: StreamOutcome[] = ['ok', 'not-modified', 'client-error', 'server-error', 'cancelled', 'stalled', 'broken', 'refused', 'session-closed']
  for (const transport of ['webtransport', 'websocket', 'memory'] as const) {
    meter.handshake(transport)
    for (const outcome of outcomes) meter.stream(transport, report({ outcome, status: 429, firstByteMs: undefined }))
  }
  for (const reason of ['timeout', 'tls', 'protocol', 'refused', 'limit', 'rate-address', 'rate-total'] as const) meter.handshakeFailed(reason)
  meter.shed()
  for (const code of REFUSALS) meter.refusal(code)
  const message = { type: 'heartbeat', stats: { sessions: { webtransport: 1 }, sizes: { 'webtransport.links': 1 }, rssBytes: 1, counts: meter.take() } }
  assert.equal(checkFromGateway(message), message)
})
