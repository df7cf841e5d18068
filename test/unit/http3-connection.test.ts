/** The HTTP/3 state machine: client and server stepped against each other without sockets, and against peers that break rules. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeCloseCapsule } from '../../src/gateway/transports/http3/capsules.ts'
import { H3Connection } from '../../src/gateway/transports/http3/h3-connection.ts'
import { H3 } from '../../src/gateway/transports/http3/h3-errors.ts'
import type { H3Event } from '../../src/gateway/transports/http3/h3-events.ts'
import { FRAME, encodeFrame, encodeGoaway } from '../../src/gateway/transports/http3/h3-frames.ts'
import { OUR_SETTINGS, encodeSettings } from '../../src/gateway/transports/http3/h3-settings.ts'
import { connectFields } from '../../src/gateway/transports/http3/h3-messages.ts'
import { encodeFieldSection } from '../../src/gateway/transports/http3/qpack.ts'
import type { Field } from '../../src/gateway/transports/http3/qpack.ts'
import { encodeVarints } from '../../src/gateway/transports/http3/varint.ts'

type Kind<K extends H3Event['kind']> = Extract<H3Event, { kind: K }>

const server = (maxSessions = 1): H3Connection => new H3Connection({ role: 'server', maxSessions, maxParkedStreams: 3 })
const client = (): H3Connection => new H3Connection({ role: 'client', maxSessions: 1, maxParkedStreams: 3 })
const of = <K extends H3Event['kind']>(events: readonly H3Event[], kind: K): Array<Kind<K>> => events.filter((event): event is Kind<K> => event.kind === kind)

const CONTROL = Buffer.concat([encodeVarints(0), encodeSettings(OUR_SETTINGS)])
const CONNECT = connectFields('relay:9003', '/v1/viewer', {})
const headers = (fields: readonly Field[]): Uint8Array => encodeFrame(FRAME.HEADERS, encodeFieldSection(fields))
const fatal = (events: readonly H3Event[]): number | undefined => of(events, 'fatal')[0]?.code

/** A server that has the client's SETTINGS. */
function settledServer (maxSessions = 1): H3Connection {
  const h3 = server(maxSessions)
  h3.start()
  h3.streamReceived(2, CONTROL, false, 0)
  h3.takeEvents()
  return h3
}

/** One whose session 0 is open. */
function openServer (): H3Connection {
  const h3 = settledServer(2)
  h3.streamReceived(0, headers(CONNECT), false, 0)
  h3.takeEvents()
  h3.respond(0, 200)
  h3.takeEvents()
  return h3
}

/** Carries writes between both, cut into pieces of `size`; returns what else happened. */
function exchange (a: H3Connection, b: H3Connection, size: number, onEvent: (from: H3Connection, event: H3Event) => void = () => {}): void {
  for (let moved = true; moved;) {
    moved = false
    for (const [from, to] of [[a, b], [b, a]] as const) {
      for (const event of from.takeEvents()) {
        moved = true
        if (event.kind !== 'write') {
          onEvent(from, event)
          continue
        }
        for (let at = 0; at < event.bytes.length || at === 0; at += size) {
          const last = at + size >= event.bytes.length
          to.streamReceived(event.streamId, event.bytes.subarray(at, at + size), event.fin && last, 0)
        }
      }
    }
  }
}

for (const size of [1, 3, 1000]) {
  test(`client and server open a session, associate streams and close it, in pieces of ${size}`, () => {
    const c = client()
    const s = server()
    c.start()
    s.start()
    const seen: string[] = []
    let sessionId = -1
    const onEvent = (from: H3Connection, event: H3Event): void => {
      seen.push(`${from === c ? 'client' : 'server'} ${event.kind}`)
      if (from === c && event.kind === 'settings' && event.webTransport) sessionId = c.connect('relay:9003', '/v1/viewer?token=1', { origin: 'https://a' }, 0)
      if (from === s && event.kind === 'request') {
        assert.deepEqual(event.request, { path: '/v1/viewer?token=1', authority: 'relay:9003', headers: { origin: 'https://a', 'sec-webtransport-http3-draft02': '1' } })
        assert.ok(s.respond(event.sessionId, 200))
      }
    }
    exchange(c, s, size, onEvent)
    assert.deepEqual(seen.toSorted(), ['client session-open', 'client settings', 'server request', 'server session-open', 'server settings'])
    for (const [from, to, bidi] of [[c, s, true], [c, s, false], [s, c, true], [s, c, false]] as const) {
      const { streamId, preamble } = from.openStream(sessionId, bidi)
      to.streamReceived(streamId, Buffer.concat([preamble, Buffer.from('rest')]), true, 0)
      const [stream] = of(to.takeEvents(), 'stream')
      assert.ok(stream !== undefined)
      assert.deepEqual([stream.sessionId, stream.streamId, Buffer.from(stream.rest).toString(), stream.fin], [sessionId, streamId, 'rest', true])
    }
    s.datagramReceived(c.encodeDatagram(sessionId, Buffer.from('dg')))
    assert.equal(Buffer.from(of(s.takeEvents(), 'datagram')[0]?.payload ?? []).toString(), 'dg')
    c.closeSession(sessionId, 17, 'done')
    const closes: H3Event[] = []
    exchange(c, s, size, (_from, event) => closes.push(event))
    const closed = { kind: 'session-closed', sessionId, code: 17, reason: 'done', clean: true }
    assert.deepEqual(closes, [closed, closed])
    assert.deepEqual([c.sizes().exchanges, s.sizes().exchanges], [0, 0])
  })
}

test('a CONNECT before SETTINGS waits for them; every truncation of it asks for nothing', () => {
  const connect = headers(CONNECT)
  for (let end = 0; end < connect.length; end++) {
    const h3 = settledServer()
    h3.streamReceived(0, connect.subarray(0, end), false, 0)
    assert.deepEqual(h3.takeEvents(), [])
    h3.streamReceived(0, new Uint8Array(0), true, 0)
    const events = h3.takeEvents()
    assert.equal(of(events, 'request').length, 0)
    const code = fatal(events) ?? of(events, 'reset')[0]?.code
    assert.ok(code === H3.REQUEST_INCOMPLETE || code === H3.FRAME_ERROR, `cut at ${end}: ${code}`)
  }
  const h3 = server()
  h3.streamReceived(0, connect, false, 0)
  assert.deepEqual(h3.takeEvents(), [])
  h3.streamReceived(2, CONTROL, false, 0)
  assert.equal(of(h3.takeEvents(), 'request').length, 1)
})

test('requests that are no session get a status and cost nothing; too many end the connection', () => {
  const cases: Array<[Field[], number]> = [
    [[[':method', 'GET'], [':scheme', 'https'], [':authority', 'a'], [':path', '/']], 404],
    [[[':method', 'POST'], [':scheme', 'https'], [':authority', 'a'], [':path', '/']], 405],
    [[[':method', 'CONNECT'], [':authority', 'a:1']], 405],
    [[[':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'https'], [':authority', 'a'], [':path', '/']], 501],
    [[[':method', 'CONNECT'], [':protocol', 'webtransport'], [':scheme', 'http'], [':authority', 'a'], [':path', '/']], 400]
  ]
  for (const [fields, status] of cases) {
    const h3 = settledServer()
    h3.streamReceived(0, headers(fields), true, 0)
    const events = h3.takeEvents()
    assert.equal(of(events, 'plain-request')[0]?.status, status)
    assert.ok(of(events, 'write')[0]?.fin)
    assert.equal(h3.sizes().exchanges, 0)
  }
  const h3 = settledServer()
  for (let id = 0; id <= 400; id += 4) h3.streamReceived(id, headers(cases[0]?.[0] ?? []), true, 0)
  assert.equal(fatal(h3.takeEvents()), H3.EXCESSIVE_LOAD)
})

test('malformed requests reset their stream only', () => {
  const malformed: Field[][] = [
    [[':method', 'CONNECT'], [':protocol', 'webtransport'], [':scheme', 'https'], [':authority', 'a']],
    [[':path', '/'], [':path', '/']],
    [['a', 'b'], [':method', 'GET']],
    [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], ['Upper', 'x']],
    [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], ['connection', 'close']],
    [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], ['a', 'b\r\nc']],
    [[':method', 'GET'], [':scheme', 'https'], [':path', '/'], [':status', '200']],
    []
  ]
  for (const fields of malformed) {
    const h3 = settledServer()
    h3.streamReceived(0, headers(fields), false, 0)
    const events = h3.takeEvents()
    assert.equal(fatal(events), undefined)
    assert.equal(of(events, 'reset')[0]?.code, H3.MESSAGE_ERROR)
    h3.streamReceived(4, headers(CONNECT), false, 0)
    assert.equal(of(h3.takeEvents(), 'request').length, 1)
  }
})

test('broken rules close the connection with the code RFC 9114 names', () => {
  const cases: Array<[string, number, (h3: H3Connection) => void]> = [
    ['second SETTINGS', H3.FRAME_UNEXPECTED, (h3) => { h3.streamReceived(2, encodeSettings(OUR_SETTINGS), false, 0) }],
    ['DATA on control', H3.FRAME_UNEXPECTED, (h3) => { h3.streamReceived(2, encodeVarints(0, 0), false, 0) }],
    ['HTTP/2 frame', H3.FRAME_UNEXPECTED, (h3) => { h3.streamReceived(2, encodeVarints(6, 0), false, 0) }],
    ['control ends', H3.CLOSED_CRITICAL_STREAM, (h3) => { h3.streamReceived(2, new Uint8Array(0), true, 0) }],
    ['control reset', H3.CLOSED_CRITICAL_STREAM, (h3) => { h3.streamReset(2) }],
    ['our control stopped', H3.CLOSED_CRITICAL_STREAM, (h3) => { h3.streamStopped(3) }],
    ['second control', H3.STREAM_CREATION_ERROR, (h3) => { h3.streamReceived(6, CONTROL, false, 0) }],
    ['push from a client', H3.STREAM_CREATION_ERROR, (h3) => { h3.streamReceived(6, encodeVarints(1), false, 0) }],
    ['GOAWAY grows', H3.ID_ERROR, (h3) => { h3.streamReceived(2, Buffer.concat([encodeGoaway(4), encodeGoaway(8)]), false, 0) }],
    ['MAX_PUSH_ID shrinks', H3.ID_ERROR, (h3) => { h3.streamReceived(2, encodeVarints(13, 1, 4, 13, 1, 3), false, 0) }],
    ['CANCEL_PUSH', H3.ID_ERROR, (h3) => { h3.streamReceived(2, encodeVarints(3, 1, 0), false, 0) }],
    ['QPACK insert', H3.QPACK_ENCODER_STREAM_ERROR, (h3) => { h3.streamReceived(6, Buffer.from([2, 0xc0]), false, 0) }],
    ['QPACK acknowledgement', H3.QPACK_DECODER_STREAM_ERROR, (h3) => { h3.streamReceived(6, Buffer.from([3, 0x80]), false, 0) }],
    ['DATA before HEADERS', H3.FRAME_UNEXPECTED, (h3) => { h3.streamReceived(0, encodeVarints(0, 0), false, 0) }],
    ['HEADERS after CONNECT', H3.FRAME_UNEXPECTED, (h3) => { h3.streamReceived(0, Buffer.concat([headers(CONNECT), headers(CONNECT)]), false, 0) }],
    ['dynamic reference', H3.QPACK_DECOMPRESSION_FAILED, (h3) => { h3.streamReceived(0, encodeFrame(FRAME.HEADERS, Buffer.from('000080', 'hex')), false, 0) }],
    ['huge HEADERS', H3.EXCESSIVE_LOAD, (h3) => { h3.streamReceived(0, encodeVarints(1, 2 ** 30), false, 0) }],
    ['impossible session', H3.ID_ERROR, (h3) => { h3.streamReceived(4, encodeVarints(0x41, 3), false, 0) }],
    ['frame cut by FIN', H3.FRAME_ERROR, (h3) => { h3.streamReceived(0, encodeVarints(1, 20), true, 0) }],
    ['datagram without id', H3.DATAGRAM_ERROR, (h3) => { h3.datagramReceived(new Uint8Array(0)) }]
  ]
  for (const [name, code, act] of cases) {
    const h3 = settledServer()
    act(h3)
    const events = h3.takeEvents()
    assert.equal(fatal(events), code, name)
    // A dead machine stays silent.
    h3.streamReceived(8, headers(CONNECT), false, 0)
    assert.deepEqual(h3.takeEvents(), [], name)
  }
  const fresh = server()
  fresh.streamReceived(2, Buffer.concat([encodeVarints(0), encodeGoaway(0)]), false, 0)
  assert.equal(fatal(fresh.takeEvents()), H3.MISSING_SETTINGS)
  const c = client()
  c.streamReceived(1, headers(CONNECT), false, 0)
  assert.equal(fatal(c.takeEvents()), H3.STREAM_CREATION_ERROR)
})

test('grease is ignored: unknown frames, settings, capsules and streams', () => {
  const h3 = server()
  const settings = encodeFrame(FRAME.SETTINGS, encodeVarints(0x21, 5, 0x33, 1))
  h3.streamReceived(2, Buffer.concat([encodeVarints(0), settings, encodeFrame(0x1f * 7 + 0x21, Buffer.alloc(40))]), false, 0)
  h3.streamReceived(6, encodeVarints(0x1f * 9 + 0x21, 1, 2, 3), false, 0)
  h3.streamReceived(0, Buffer.concat([encodeFrame(0x21, Buffer.alloc(9)), headers(CONNECT), encodeFrame(FRAME.DATA, encodeVarints(0x99, 0))]), false, 0)
  const events = h3.takeEvents()
  assert.equal(fatal(events), undefined)
  assert.deepEqual(of(events, 'stop').map((event) => [event.streamId, event.code]), [[6, H3.STREAM_CREATION_ERROR]])
  assert.equal(of(events, 'request').length, 1)
})

test('streams before their session wait, bounded, and are released, refused or expire', () => {
  const early = encodeVarints(0x41, 0)
  const h3 = settledServer()
  for (const id of [4, 8, 12, 16]) h3.streamReceived(id, early, false, 10)
  assert.equal(h3.sizes().parked, 3)
  assert.ok(h3.isParked(4))
  assert.deepEqual(of(h3.takeEvents(), 'reset').map((event) => [event.streamId, event.code]), [[16, H3.WT_BUFFERED_STREAM_REJECTED]])
  h3.streamReceived(0, headers(CONNECT), false, 10)
  h3.respond(0, 200)
  assert.deepEqual(of(h3.takeEvents(), 'stream').map((event) => event.streamId), [4, 8, 12])
  const refused = settledServer()
  refused.streamReceived(4, early, false, 10)
  refused.streamReceived(0, headers(CONNECT), false, 10)
  refused.respond(0, 403)
  assert.deepEqual(of(refused.takeEvents(), 'reset').map((event) => [event.streamId, event.code]), [[4, H3.WT_SESSION_GONE]])
  const late = settledServer()
  late.streamReceived(4, early, false, 10)
  late.streamReceived(8, encodeVarints(0x41).subarray(0, 1), false, 10)
  late.streamReceived(12, headers(CONNECT).subarray(0, 9), false, 10)
  late.expire(11)
  assert.deepEqual(late.sizes(), { unclassified: 0, exchanges: 0, parked: 0 })
  assert.deepEqual(of(late.takeEvents(), 'reset').map((event) => event.streamId).toSorted((a, b) => a - b), [4, 8, 12])
})

test('a session ends by capsule, by FIN, by reset or by nonsense, and is said to be clean only for the first two', () => {
  const close = encodeFrame(FRAME.DATA, encodeCloseCapsule(5, 'why'))
  const cases: Array<[(h3: H3Connection) => void, number, boolean]> = [
    [(h3) => { h3.streamReceived(0, close, true, 0) }, 5, true],
    [(h3) => { h3.streamReceived(0, new Uint8Array(0), true, 0) }, 0, true],
    [(h3) => { h3.streamReset(0) }, 0, false],
    [(h3) => { h3.streamStopped(0) }, 0, false],
    [(h3) => { h3.streamReceived(0, encodeFrame(FRAME.DATA, encodeVarints(0x2843, 2, 0, 0)), false, 0) }, 0, false]
  ]
  for (const [act, code, clean] of cases) {
    const h3 = openServer()
    act(h3)
    const events = h3.takeEvents()
    const [closed] = of(events, 'session-closed')
    assert.equal(closed?.code, code)
    assert.equal(closed.clean, clean)
    assert.equal(fatal(events), undefined)
    h3.streamReceived(40, encodeVarints(0x41, 0), false, 0)
    assert.equal(of(h3.takeEvents(), 'reset')[0]?.code, H3.WT_SESSION_GONE)
  }
})

test('a second session than allowed is rejected, and none is taken after GOAWAY', () => {
  const h3 = settledServer(1)
  h3.streamReceived(0, headers(CONNECT), false, 0)
  h3.streamReceived(4, headers(CONNECT), false, 0)
  assert.deepEqual(of(h3.takeEvents(), 'reset').map((event) => [event.streamId, event.code]), [[4, H3.REQUEST_REJECTED]])
  const going = settledServer(5)
  going.goaway()
  assert.equal(of(going.takeEvents(), 'write')[0]?.streamId, 3)
  going.streamReceived(0, headers(CONNECT), false, 0)
  assert.equal(of(going.takeEvents(), 'reset')[0]?.code, H3.REQUEST_REJECTED)
})

test('a client learns of a refusal, survives interim responses, and refuses a server without WebTransport', () => {
  const c = client()
  c.start()
  const id = c.connect('a', '/', {}, 0)
  c.takeEvents()
  c.streamReceived(id, Buffer.concat([headers([[':status', '103']]), headers([[':status', '404']])]), true, 0)
  assert.equal(of(c.takeEvents(), 'session-refused')[0]?.status, 404)
  const plain = client()
  plain.streamReceived(3, Buffer.concat([encodeVarints(0), encodeFrame(FRAME.SETTINGS, new Uint8Array(0))]), false, 0)
  assert.equal(of(plain.takeEvents(), 'settings')[0]?.webTransport, false)
})

test('random bytes on random streams, in any order: never a throw, never unbounded, at most one fatal event', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(headers(CONNECT), CONTROL, encodeVarints(0x41, 0), encodeVarints(0x54, 0), encodeFrame(FRAME.DATA, encodeCloseCapsule(1, 'x')), encodeGoaway(0))
  )
  const step = fc.record({ id: fc.nat(11), bytes: piece, fin: fc.boolean(), act: fc.nat(9) })
  fc.assert(fc.property(fc.constantFrom('client' as const, 'server' as const), fc.array(step, { maxLength: 60 }), (role, steps) => {
    const h3 = new H3Connection({ role, maxSessions: 2, maxParkedStreams: 3 })
    h3.start()
    if (role === 'client') h3.connect('a', '/', {}, 0)
    let fatals = 0
    for (const [now, { id, bytes, fin, act }] of steps.entries()) {
      if (act === 0) h3.streamReset(id)
      else if (act === 1) h3.streamStopped(id)
      else if (act === 2) h3.datagramReceived(bytes)
      else if (act === 3) h3.respond(id, bytes.length % 2 === 0 ? 200 : 403)
      else if (act === 4) h3.closeSession(id, 1, 'x')
      else if (act === 5) h3.expire(now - 5)
      else h3.streamReceived(id, bytes, fin, now)
      fatals += of(h3.takeEvents(), 'fatal').length
      const { unclassified, exchanges, parked } = h3.sizes()
      assert.ok(unclassified <= 12 && exchanges <= 12 && parked <= 3)
    }
    assert.ok(fatals <= 1)
  }), { numRuns: 500 })
})
