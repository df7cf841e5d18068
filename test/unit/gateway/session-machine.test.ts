import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { SessionMachine } from '../../../src/gateway/session/session-machine.ts'
import { DEFAULT_SESSION_LIMITS } from '../../../src/gateway/session/session-types.ts'
import type { SessionAction, SessionEvent, SessionLimits, StreamEvent, StreamReport } from '../../../src/gateway/session/session-types.ts'
import { STREAM_CODE } from '../../../src/protocol/stream-codes.ts'

const GET = (path = '/shards/v/shard_0.bin', more = ''): Uint8Array => new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n${more}\r\n`)
const FACTS = { size: 100_000, sha256: 'ab'.repeat(32), verified: true, lasting: true, origin: { hit: true, tier: 'disk', storedAt: 0 } } as const
const CONTEXT = { now: 0, tokenRequired: false }
const limits = (more: Partial<SessionLimits> = {}): SessionLimits => ({ ...DEFAULT_SESSION_LIMITS, maxGrowth: 1, fillingMs: 1e9, ...more })
const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

/** A machine with a clock and a pace moved by hand. */
function rig (more: Partial<SessionLimits> = {}) {
  const pace = { limited: false, bps: undefined as number | undefined, shareBps: () => pace.bps }
  const machine = new SessionMachine(limits(more), 0, pace)
  let time = 0
  const send = (...events: Array<SessionEvent | StreamEvent>): SessionAction[] => events.flatMap(event => [...machine.handle(event, time)])
  return {
    machine,
    pace,
    send,
    at: (now: number) => { time = now },
    request: (id: string, bytes = GET()) => send({ type: 'opened', id }, { type: 'bytes', id, chunk: bytes }, { type: 'fin', id })
  }
}

const types = (actions: readonly SessionAction[]): string[] => actions.map(action => action.type)
const only = <T extends SessionAction['type']>(actions: readonly SessionAction[], type: T): Extract<SessionAction, { type: T }> => {
  const [found, ...more] = actions.filter((action): action is Extract<SessionAction, { type: T }> => action.type === type)
  assert.ok(found !== undefined && more.length === 0, `one ${type} among ${types(actions).join()}`)
  return found
}

suite('session machine', () => {
  test('a shard is resolved, read, written in chunks, released and ended', () => {
    const { send, request, at, machine } = rig({ maxChunkBytes: 60_000 })
    const { request: asked } = only(request('s'), 'resolve')
    assert.deepEqual(asked, { key: { cid: 'v', part: 0 }, range: undefined, trace: { id: 'none', trace: undefined }, token: undefined })
    at(5)
    assert.deepEqual(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }), [{ type: 'read', id: 's', position: 0, maxBytes: 60_000 }])
    const first = only(send({ type: 'read', id: 's', chunk: new Uint8Array(60_000) }), 'write').chunk
    assert.match(text(first.subarray(0, 500)), /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*server-timing: cache;desc="hit disk", open;dur=5\.00\r\n(?:.+\r\n)*content-length: 100000\r\n/)
    at(9)
    assert.deepEqual(send({ type: 'written', id: 's' }), [{ type: 'read', id: 's', position: 60_000, maxBytes: 40_000 }])
    assert.equal(only(send({ type: 'read', id: 's', chunk: new Uint8Array(40_000) }), 'write').chunk.length, 40_000)
    assert.deepEqual(types(send({ type: 'written', id: 's' })), ['release', 'end'])
    at(12)
    const last = send({ type: 'written', id: 's' })
    assert.deepEqual(types(last), ['report', 'forget'])
    const { report } = only(last, 'report')
    assert.deepEqual(report, {
      outcome: 'ok',
      status: 200,
      code: undefined,
      cause: undefined,
      key: { cid: 'v', part: 0 },
      origin: FACTS.origin,
      bytes: 100_000,
      firstByteMs: 9,
      totalMs: 12,
      elapsedMs: 12,
      asked: { method: 'GET', path: '/shards/v/shard_0.bin', range: undefined, userAgent: undefined, traceparent: undefined },
      requestId: 'none'
    })
    assert.deepEqual(machine.stats(), { streams: 0, resolving: 0, queued: 0, leases: 0, opened: 1, bytes: first.length + 40_000, draining: false })
  })

  test('reads grow while writes are accepted quickly, up to a bound, and are small again after a slow one', () => {
    const { send, at, request } = rig({ maxGrowth: 4, quickWriteMs: 20, maxChunkBytes: 1_000, minChunkBytes: 100, bufferBytes: 3_500 })
    request('s')
    let [read] = send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })
    const sizes: number[] = []
    for (const [time, took] of [[0, 20], [100, 20], [200, 5], [300, 5], [400, 21], [500, 5]] as const) {
      assert.ok(read?.type === 'read')
      sizes.push(read.maxBytes)
      at(time)
      send({ type: 'read', id: 's', chunk: new Uint8Array(read.maxBytes) })
      at(time + took)
      ;[read] = send({ type: 'written', id: 's' })
    }
    // The memory of a session bounds them as well.
    assert.deepEqual(sizes, [1_000, 2_000, 3_500, 3_500, 3_500, 1_000])
  })

  test('the largest chunk may change in the middle of a body, and the next read keeps to it', () => {
    let maxChunkBytes = 64_000
    const machine = new SessionMachine(Object.defineProperty(limits(), 'maxChunkBytes', { get: () => maxChunkBytes }), 0)
    const send = (event: SessionEvent | StreamEvent): SessionAction[] => [...machine.handle(event, 0)]
    for (const event of [{ type: 'opened', id: 's' }, { type: 'bytes', id: 's', chunk: GET() }, { type: 'fin', id: 's' }] as const) send(event)
    assert.equal(only(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }), 'read').maxBytes, 64_000)
    maxChunkBytes = 16_384
    send({ type: 'read', id: 's', chunk: new Uint8Array(64_000) })
    assert.equal(only(send({ type: 'written', id: 's' }), 'read').maxBytes, 16_384)
  })

  test('range, if-range and if-none-match decide what is read', () => {
    const status = (headers: string): [number, string] => {
      const { send, request } = rig()
      request('s', GET(undefined, headers))
      const actions = send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })
      const read = actions.find(action => action.type === 'read')
      const all = read === undefined ? actions : send({ type: 'read', id: 's', chunk: new Uint8Array(read.maxBytes) })
      const head = text(only(all, 'write').chunk.subarray(0, 500))
      return [Number(head.slice(9, 12)), read === undefined ? 'none' : `${read.position}+${read.maxBytes}`]
    }
    const etag = `"sha256-${FACTS.sha256}"`
    assert.deepEqual(status('range: bytes=10-19\r\n'), [206, '10+10'])
    assert.deepEqual(status('range: bytes=-5\r\n'), [206, '99995+5'])
    assert.deepEqual(status('range: bytes=0-1,5-6\r\n'), [200, '0+65536'])
    assert.deepEqual(status('range: bytes=100000-\r\n'), [416, 'none'])
    assert.deepEqual(status(`range: bytes=10-19\r\nif-range: ${etag}\r\n`), [206, '10+10'])
    assert.deepEqual(status('range: bytes=10-19\r\nif-range: "other"\r\n'), [200, '0+65536'])
    assert.deepEqual(status(`if-none-match: "x", ${etag}\r\n`), [304, 'none'])
    assert.deepEqual(status('if-none-match: "x"\r\n'), [200, '0+65536'])
  })

  test('a request that cannot be served gets a problem document with a status of the contract, and nothing is resolved', () => {
    const cases: Array<[Uint8Array, number, string]> = [
      [GET('/shards/v/shard_14.bin'), 400, 'RELAY_ERR_SHARD_PATH'], [GET('/other'), 400, 'RELAY_ERR_SHARD_PATH'],
      [GET(undefined, 'range: bytes=x\r\n'), 400, 'RELAY_ERR_RANGE_SYNTAX'],
      [new TextEncoder().encode('PUT /shards/v/shard_0.bin\n\n'), 400, 'RELAY_ERR_METHOD'],
      [GET(undefined, `x: ${'y'.repeat(9000)}\r\n`), 413, 'RELAY_ERR_HEADERS_TOO_LARGE']
    ]
    for (const [bytes, status, code] of cases) {
      const actions = rig().request('s', bytes)
      assert.ok(!types(actions).includes('resolve'))
      const [head, body] = text(only(actions, 'write').chunk).split('\r\n\r\n')
      assert.ok(head?.startsWith(`HTTP/1.1 ${status} `) && head.includes('application/problem+json'), head)
      const problem = JSON.parse(body ?? '') as { code: string, status: number }
      assert.deepEqual([problem.code, problem.status], [code, status])
    }
  })

  test('an error before the first byte is a status, after it a reset', () => {
    const corrupt = new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'bad')
    const early = rig()
    early.request('s')
    early.send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })
    const answer = early.send({ type: 'read-failed', id: 's', error: corrupt })
    assert.deepEqual(types(answer), ['release', 'write'])
    assert.match(text(only(answer, 'write').chunk), /^HTTP\/1\.1 502 /)
    const late = rig()
    late.request('s')
    late.send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }, { type: 'read', id: 's', chunk: new Uint8Array(10) }, { type: 'written', id: 's' })
    const reset = late.send({ type: 'read-failed', id: 's', error: corrupt })
    assert.equal(only(reset, 'reset').code, STREAM_CODE.corrupt)
    assert.equal(only(reset, 'report').report.outcome, 'broken')
    assert.ok(!types(reset).includes('end'))
  })

  test('an object resolved for a viewer that is gone is released immediately', () => {
    const { send, request, machine } = rig()
    request('s')
    const gone = send({ type: 'peer-stopped', id: 's' })
    assert.deepEqual(types(gone), ['abort', 'reset', 'report'])
    assert.equal(only(gone, 'report').report.outcome, 'cancelled')
    assert.equal(machine.stats().resolving, 1, 'it still counts against the limit')
    assert.deepEqual(types(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })), ['release', 'forget'])
  })

  test('an object is not released while its bytes are being read or written', () => {
    for (const before of [[], [{ type: 'read', id: 's', chunk: new Uint8Array(10) }]] as StreamEvent[][]) {
      const { send, request } = rig()
      request('s')
      send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }, ...before)
      assert.ok(!types(send({ type: 'peer-reset', id: 's' })).includes('release'))
      const settled = send(before.length === 0 ? { type: 'read-failed', id: 's', error: new Error('aborted') } : { type: 'write-failed', id: 's' })
      assert.deepEqual(types(settled), ['release', 'forget'])
    }
  })

  test('streams beyond the limit are reset as busy; requests beyond the resolve limit wait, beyond the queue get 429', () => {
    const { send, request, machine } = rig({ maxStreams: 4, maxResolving: 1, maxQueued: 2 })
    assert.deepEqual(types(request('a')), ['resolve'])
    assert.deepEqual(types([...request('b'), ...request('c')]), [])
    assert.match(text(only(request('d'), 'write').chunk), /^HTTP\/1\.1 429 .*\r\nretry-after: 1\r\n/s)
    const refused = send({ type: 'opened', id: 'e' })
    assert.equal(only(refused, 'reset').code, STREAM_CODE.busy)
    assert.equal(only(refused, 'report').report.outcome, 'refused')
    assert.equal(machine.stats().streams, 4)
    const next = send({ type: 'rejected', id: 'a', error: new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'no') })
    assert.equal(only(next, 'resolve').id, 'b')
    send({ type: 'peer-reset', id: 'c' })
    assert.equal(machine.stats().queued, 0)
  })

  test('a slow request is answered and its stream closed to more input', () => {
    const { send, at } = rig({ requestTimeoutMs: 1000 })
    send({ type: 'opened', id: 's' }, { type: 'bytes', id: 's', chunk: new TextEncoder().encode('GET /sh') })
    at(999)
    assert.deepEqual(send({ type: 'tick' }), [])
    at(1000)
    const actions = send({ type: 'tick' })
    assert.deepEqual(types(actions), ['cancel', 'write'])
    assert.match(text(only(actions, 'write').chunk), /^HTTP\/1\.1 400 [^]*RELAY_ERR_REQUEST_TIMEOUT/)
  })

  test('after a whole response FIN is awaited for a while, and only then the rest of the input refused', () => {
    const { send, at, machine } = rig({ finWaitMs: 1000 })
    const answer = (id: string): SessionAction[] => send(
      { type: 'opened', id }, { type: 'bytes', id, chunk: GET('/shards/v/shard_99.bin') }, { type: 'written', id }, { type: 'written', id })
    const [write, end, report, ...more] = answer('prompt')
    assert.deepEqual([write?.type, end?.type, report?.type, more], ['write', 'end', 'report', []])
    assert.equal(machine.stats().streams, 0, 'the answer is complete')
    at(999)
    assert.deepEqual(send({ type: 'tick' }), [])
    assert.deepEqual(send({ type: 'fin', id: 'prompt' }), [{ type: 'forget', id: 'prompt' }])
    answer('reset')
    assert.deepEqual(send({ type: 'peer-reset', id: 'reset' }), [{ type: 'forget', id: 'reset' }])
    answer('late')
    at(1998)
    assert.deepEqual(send({ type: 'tick' }), [])
    at(1999)
    assert.deepEqual(send({ type: 'tick' }), [{ type: 'cancel', id: 'late', code: STREAM_CODE.unwanted }, { type: 'forget', id: 'late' }])
    answer('talking')
    assert.deepEqual(types(send({ type: 'bytes', id: 'talking', chunk: new Uint8Array(1) })), ['cancel', 'forget'])
    answer('open')
    assert.deepEqual(types(send({ type: 'closed' })), ['cancel', 'forget'])
  })

  test('streams that wait for FIN give way to new requests, longest first', () => {
    const { send, machine } = rig({ maxStreams: 2 })
    for (const id of ['a', 'b']) send({ type: 'opened', id }, { type: 'bytes', id, chunk: GET('/no') }, { type: 'written', id }, { type: 'written', id })
    assert.deepEqual(send({ type: 'opened', id: 'c' }), [{ type: 'cancel', id: 'a', code: STREAM_CODE.unwanted }, { type: 'forget', id: 'a' }])
    assert.deepEqual(types(send({ type: 'opened', id: 'd' })), ['cancel', 'forget'])
    assert.equal(machine.stats().streams, 2)
    assert.equal(only(send({ type: 'opened', id: 'e' }), 'reset').code, STREAM_CODE.busy)
  })

  test('a viewer that accepts nothing loses its stream, one that accepts slowly keeps it', () => {
    const { send, request, at } = rig({ writeStallMs: 1000, maxChunkBytes: 10, minChunkBytes: 10 })
    request('s')
    send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })
    for (let now = 0; now < 5000; now += 900) {
      at(now)
      send({ type: 'read', id: 's', chunk: new Uint8Array(10) })
      at(now + 900)
      assert.deepEqual(send({ type: 'tick' }), [])
      send({ type: 'written', id: 's' })
    }
    send({ type: 'read', id: 's', chunk: new Uint8Array(10) })
    at(8000)
    const actions = send({ type: 'tick' })
    assert.equal(only(actions, 'reset').code, STREAM_CODE.stalled)
    assert.equal(only(actions, 'report').report.outcome, 'stalled')
    assert.deepEqual(types(send({ type: 'write-failed', id: 's' })), ['release', 'forget'])
  })

  test('a source that hangs is given up: 504 before the first byte, reset after it', () => {
    const { send, request, at } = rig({ sourceStallMs: 1000 })
    request('s')
    at(1000)
    const answer = send({ type: 'tick' })
    assert.deepEqual(types(answer), ['abort', 'write'])
    assert.match(text(only(answer, 'write').chunk), /^HTTP\/1\.1 504 /)
    send({ type: 'written', id: 's' }, { type: 'written', id: 's' })
    assert.deepEqual(types(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })), ['release', 'forget'])
    request('t')
    send({ type: 'resolved', id: 't', facts: FACTS, context: CONTEXT }, { type: 'read', id: 't', chunk: new Uint8Array(10) }, { type: 'written', id: 't' })
    at(2000)
    assert.equal(only(send({ type: 'tick' }), 'reset').code, STREAM_CODE.unfinished)
    assert.deepEqual(types(send({ type: 'read', id: 't', chunk: new Uint8Array(10) })), ['release', 'forget'])
  })

  test('a viewer is told every second of what it waits for, as far as it has come, and of nothing else', () => {
    const { send, at, request } = rig({ fillingMs: 1_000, pingMs: 1e9, idleTimeoutMs: 1e9, writeStallMs: 1e9, sourceStallMs: 1e9 })
    const told = (now: number): unknown => {
      at(now)
      return send({ type: 'tick' }).flatMap(action => action.type === 'filling' ? [action.streams] : [])
    }
    request('a')
    assert.deepEqual([told(999), told(1_000), told(1_999)], [[], [[{ id: 'a', path: '/shards/v/shard_0.bin', bytes: 0 }]], []])
    assert.deepEqual(told(2_000), [[{ id: 'a', path: '/shards/v/shard_0.bin', bytes: 0 }]])
    at(2_100)
    send({ type: 'resolved', id: 'a', facts: FACTS, context: CONTEXT }, { type: 'read', id: 'a', chunk: new Uint8Array(1_000) }, { type: 'written', id: 'a' })
    assert.deepEqual([told(3_099), told(3_100), told(3_101)], [[], [[{ id: 'a', path: '/shards/v/shard_0.bin', bytes: 1_000 }]], []])
    send({ type: 'peer-reset', id: 'a' })
    assert.deepEqual(told(5_000), [])
    // More than fit in a line take turns; several streams of one object are one.
    for (let index = 0; index < 45; index++) request(`s${index}`, GET(`/shards/v${index % 40}/shard_0.bin`))
    const seen = new Set([6_001, 7_001].flatMap(now => told(now) as Array<Array<{ path: string }>>).flat().map(({ path }) => path))
    assert.equal(seen.size, 40)
  })

  test('a session that was sent nothing for a while is pinged, again after the same time, and a write puts it off', () => {
    const { send, at, request } = rig({ pingMs: 1_000, idleTimeoutMs: 1e9, writeStallMs: 1e9, sourceStallMs: 1e9 })
    const pings = (now: number): number => {
      at(now)
      return send({ type: 'tick' }).filter(action => action.type === 'control' && action.message.type === 'ping').length
    }
    assert.deepEqual([pings(999), pings(1_000), pings(1_999), pings(2_000)], [0, 1, 0, 1])
    request('s')
    send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }, { type: 'read', id: 's', chunk: new Uint8Array(100) })
    at(2_500)
    send({ type: 'written', id: 's' })
    assert.deepEqual([pings(3_499), pings(3_500)], [0, 1])
  })

  test('an idle session is closed, a busy one not', () => {
    const { send, at, request } = rig({ idleTimeoutMs: 1000, sourceStallMs: 1e9 })
    request('s')
    at(5000)
    assert.deepEqual(send({ type: 'tick' }), [])
    send({ type: 'rejected', id: 's', error: new Error('x') }, { type: 'written', id: 's' }, { type: 'written', id: 's' })
    at(5999)
    assert.deepEqual(send({ type: 'tick' }), [])
    at(6000)
    assert.equal(only(send({ type: 'tick' }), 'close').reason, 'idle')
    assert.equal(only(send({ type: 'opened', id: 'late' }), 'reset').code, STREAM_CODE.stopping)
  })

  test('a drain tells the viewer, serves until the deadline, then closes; it can be brought forward but not put off', () => {
    const { send, at, request, machine } = rig()
    assert.deepEqual(only(send({ type: 'drain', deadlineMs: 1000, alternates: ['https://b'] }), 'control').message, { type: 'drain', deadlineMs: 1000, alternates: ['https://b'] })
    assert.deepEqual(send({ type: 'drain', deadlineMs: 2000, alternates: [] }), [])
    assert.equal(machine.stats().draining, true)
    assert.deepEqual(types(request('s')), ['resolve'])
    at(1000)
    const actions = send({ type: 'tick' })
    assert.deepEqual(types(actions), ['abort', 'reset', 'report', 'close'])
    assert.deepEqual(types(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT })), ['release', 'forget'])
  })

  test('a session is retired before its engine runs out of streams', () => {
    const { send } = rig({ retireAfterStreams: 2, retireDeadlineMs: 77 })
    assert.deepEqual(send({ type: 'opened', id: 'a' }), [])
    assert.deepEqual(only(send({ type: 'opened', id: 'b' }), 'control').message, { type: 'drain', deadlineMs: 77, alternates: [] })
    assert.deepEqual(send({ type: 'opened', id: 'c' }), [])
  })

  test('as many requests in a second as the limit says; more are answered with 429 and resolve nothing, and the limit may change', () => {
    const { send, request, at, machine } = rig({ requestsPerSecond: 4, maxStreams: 100 })
    let asked = 0
    /** Whether the next request is served; a refusal is read to its end. */
    const served = (bytes = GET()): boolean => {
      const id = `s${asked++}`
      const actions = request(id, bytes)
      if (types(actions).includes('resolve')) return true
      const answer = text(only(actions, 'write').chunk)
      assert.match(answer, /^HTTP\/1\.1 429 Too Many Requests\r\n(?:.*\r\n)*retry-after: 1\r\n/)
      assert.match(answer, /"code":"RELAY_ERR_RATE_LIMITED"/)
      send({ type: 'written', id })
      const report = only(send({ type: 'written', id }), 'report').report
      assert.deepEqual([report.status, report.outcome, report.code], [429, 'client-error', 'RELAY_ERR_RATE_LIMITED'])
      return false
    }
    assert.deepEqual([served(), served(), served(), served(), served()], [true, true, true, true, false])
    at(250)
    assert.deepEqual([served(), served()], [true, false])
    send({ type: 'request-rate', perSecond: 10 })
    at(350)
    assert.deepEqual([served(), served()], [true, false])
    assert.equal(machine.stats().resolving, 6)
  })

  test('where bandwidth is limited each read is admitted first, and what is not read goes back', () => {
    const { send, request, pace } = rig({ maxChunkBytes: 60_000 })
    pace.limited = true
    pace.bps = 800_000
    request('s')
    assert.deepEqual(send({ type: 'resolved', id: 's', facts: FACTS, context: CONTEXT }), [{ type: 'admit', id: 's', maxBytes: 10_000 }])
    assert.deepEqual(send({ type: 'admitted', id: 's', bytes: 4_000 }), [{ type: 'read', id: 's', position: 0, maxBytes: 4_000 }])
    assert.deepEqual(types(send({ type: 'read', id: 's', chunk: new Uint8Array(3_000) })), ['give-back', 'write'])
    pace.bps = 800
    assert.deepEqual(send({ type: 'written', id: 's' }), [{ type: 'admit', id: 's', maxBytes: 4_096 }], 'never less than the smallest read')
    send({ type: 'admitted', id: 's', bytes: 1_000 }, { type: 'read', id: 's', chunk: new Uint8Array(1_000) })
    pace.bps = undefined
    assert.deepEqual(send({ type: 'written', id: 's' }), [{ type: 'admit', id: 's', maxBytes: 60_000 }], 'a total that others do not use up')
    const failed = send({ type: 'admitted', id: 's', bytes: 500 }, { type: 'read-failed', id: 's', error: new Error('x') })
    assert.deepEqual(failed.slice(0, 2), [{ type: 'read', id: 's', position: 4_000, maxBytes: 500 }, { type: 'give-back', id: 's', bytes: 500 }])
    pace.limited = false
    request('t')
    assert.deepEqual(types(send({ type: 'resolved', id: 't', facts: FACTS, context: CONTEXT })), ['read'], 'no extra step where nothing is limited')
  })

  test('the streams of a session share what it may ask for', () => {
    const { send, request, pace } = rig()
    pace.limited = true
    pace.bps = 1_600_000
    for (const id of ['a', 'b', 'c', 'd']) {
      request(id)
      send({ type: 'resolved', id, facts: FACTS, context: CONTEXT })
    }
    const [admit] = send({ type: 'admitted', id: 'a', bytes: 100 }, { type: 'read', id: 'a', chunk: new Uint8Array(100) }, { type: 'written', id: 'a' }).slice(-1)
    assert.deepEqual(admit, { type: 'admit', id: 'a', maxBytes: 5_000 })
  })

  test('waiting to be admitted is not a stall of source or viewer, and ends with the stream or the session', () => {
    const { send, request, at, pace } = rig({ sourceStallMs: 1_000, writeStallMs: 1_000, idleTimeoutMs: 1_000, requestTimeoutMs: 1_000, pingMs: 1e9 })
    pace.limited = true
    for (const id of ['s', 't', 'u']) {
      request(id)
      send({ type: 'resolved', id, facts: FACTS, context: CONTEXT })
    }
    at(1e6)
    assert.deepEqual(send({ type: 'tick' }), [], 'neither a stall nor an idle session')
    send({ type: 'admitted', id: 's', bytes: 10 }, { type: 'read', id: 's', chunk: new Uint8Array(10) }, { type: 'written', id: 's' })
    at(2e6)
    assert.deepEqual(send({ type: 'tick' }), [])
    assert.deepEqual(types(send({ type: 'peer-stopped', id: 's' })), ['abort', 'reset', 'report', 'release'])
    assert.deepEqual(send({ type: 'admitted', id: 's', bytes: 10 }), [{ type: 'give-back', id: 's', bytes: 10 }, { type: 'forget', id: 's' }])
    assert.match(text(only(send({ type: 'admit-failed', id: 'u', error: new RelayError('RELAY_ERR_STOPPING', 'closed') }), 'write').chunk), /^HTTP\/1\.1 503 [^]*RELAY_ERR_STOPPING/)
    send({ type: 'drain', deadlineMs: 500, alternates: [] })
    at(2e6 + 500)
    const ended = send({ type: 'tick' })
    assert.equal(only(ended, 'close').reason, 'drained')
    assert.deepEqual(types(ended.filter(action => 'id' in action && action.id === 't')), ['abort', 'reset', 'report', 'release'])
    assert.deepEqual(types(send({ type: 'admit-failed', id: 't', error: new Error('aborted') })), ['forget'])
  })

  test('random sequences keep every bound, release every object once and report every stream once', () => {
    const command = fc.record({ kind: fc.nat(16), pick: fc.nat(), ms: fc.nat(400), cut: fc.integer({ min: 1, max: 60 }) })
    const bounds = limits({ maxStreams: 5, maxResolving: 2, maxQueued: 2, requestsPerSecond: 5, requestTimeoutMs: 500, finWaitMs: 300, writeStallMs: 700, sourceStallMs: 900, idleTimeoutMs: 3000, maxChunkBytes: 64, minChunkBytes: 8, bufferBytes: 100, retireAfterStreams: 30 })
    const outcomes = new Set<string>()
    let admitted = 0
    let returned = 0
    fc.assert(fc.property(fc.array(command, { maxLength: 200, size: 'max' }), commands => {
      const model = new Model(bounds)
      for (const each of commands) model.step(each)
      model.finish()
      for (const report of model.reports) outcomes.add(report.outcome)
      admitted += model.admitted
      returned += model.returned
    }), { numRuns: 500 })
    assert.deepEqual([...outcomes].sort(), ['broken', 'cancelled', 'client-error', 'ok', 'refused', 'server-error', 'session-closed', 'stalled'], 'the walk reaches every outcome')
    assert.ok(admitted > returned && returned > 0, 'and both ends of pacing')
  })
})

/** Plays the runner of the actions and checks each of them against what is outstanding. */
class Model {
  readonly machine: SessionMachine
  readonly limits: SessionLimits
  now = 0
  opened = 0
  reports: StreamReport[] = []
  readonly resolving = new Set<string>()
  readonly reading = new Map<string, number>()
  readonly writing = new Set<string>()
  readonly admitting = new Map<string, number>()
  /** Admitted and not read or given back yet. */
  readonly inHand = new Map<string, number>()
  readonly aborted = new Set<string>()
  readonly pace = { limited: false, bps: undefined as number | undefined, shareBps: () => this.pace.bps }
  admitted = 0
  returned = 0
  readonly leased = new Set<string>()
  readonly sealed = new Set<string>()
  readonly known = new Set<string>()
  readonly sent = new Map<string, number>()

  constructor (bounds: SessionLimits) {
    this.limits = bounds
    this.machine = new SessionMachine(bounds, 0, this.pace)
  }

  step ({ kind, pick, ms, cut }: { kind: number, pick: number, ms: number, cut: number }): void {
    const any = (set: Iterable<string>): string | undefined => {
      const list = [...set]
      return list[pick % Math.max(1, list.length)]
    }
    const bytes = GET(`/shards/v/shard_${pick % 15}.bin`, pick % 3 === 0 ? `range: bytes=${pick % 300}-\r\n` : '')
    if (kind <= 1) {
      const id = `s${this.opened++}`
      this.known.add(id)
      this.send({ type: 'opened', id })
      this.send({ type: 'bytes', id, chunk: kind === 0 ? bytes : bytes.subarray(0, cut) })
    } else if (kind === 2) {
      this.on(any(this.known), id => this.send({ type: 'bytes', id, chunk: bytes.subarray(0, cut) }))
    } else if (kind === 3) {
      this.on(any(this.known), id => this.send({ type: (['fin', 'peer-reset', 'peer-stopped'] as const)[pick % 3] ?? 'fin', id }))
    } else if (kind <= 5) {
      this.on(any(this.resolving), id => this.settleResolve(id, pick % 4 !== 0))
    } else if (kind <= 7) {
      this.on(any(this.reading.keys()), id => this.settleRead(id, pick % 6 !== 0, cut))
    } else if (kind <= 9) {
      this.on(any(this.writing), id => this.settleWrite(id, pick % 6 !== 0))
    } else if (kind === 10) {
      this.now += ms
      this.send({ type: 'tick' })
    } else if (kind === 11 && pick % 10 === 0) {
      this.send({ type: 'drain', deadlineMs: ms * 4, alternates: [] })
    } else if (kind === 12 && pick % 40 === 0) {
      this.send({ type: 'closed' })
    } else if (kind === 13) {
      this.pace.limited = pick % 4 !== 0
      this.pace.bps = pick % 3 === 0 ? undefined : ms * 10
    } else if (kind > 13) {
      this.on(any(this.admitting.keys()), id => this.settleAdmit(id, cut))
    }
  }

  /** The session closes and everything outstanding settles. */
  finish (): void {
    this.send({ type: 'closed' })
    for (const id of [...this.resolving]) this.settleResolve(id, true)
    for (const id of [...this.admitting.keys()]) {
      assert.ok(this.aborted.has(id), 'nobody is left to wait')
      this.settleAdmit(id, 1)
    }
    for (const id of [...this.reading.keys()]) this.settleRead(id, true, 1)
    for (const id of [...this.writing]) this.settleWrite(id, false)
    assert.equal(this.leased.size, 0, 'nothing is held')
    assert.equal(this.reports.length, this.opened, 'one report a stream')
    const { streams, resolving, queued, leases, bytes } = this.machine.stats()
    assert.deepEqual({ streams, resolving, queued, leases }, { streams: 0, resolving: 0, queued: 0, leases: 0 })
    assert.equal(this.reports.reduce((sum, report) => sum + report.bytes, 0) <= bytes, true)
    assert.equal(this.known.size, 0, 'every stream was forgotten')
    assert.equal(this.inHand.size, 0, 'what was admitted was read or given back')
  }

  on (id: string | undefined, then: (id: string) => void): void {
    if (id !== undefined) then(id)
  }

  fairPart (): number {
    return Math.max(this.limits.minChunkBytes, this.limits.bufferBytes / this.leased.size)
  }

  settleResolve (id: string, ok: boolean): void {
    this.resolving.delete(id)
    if (ok) this.leased.add(id)
    this.send(ok ? { type: 'resolved', id, facts: { ...FACTS, size: 200 }, context: CONTEXT } : { type: 'rejected', id, error: new Error('x') })
  }

  /** The wait of a stream that was aborted may still end with bytes that were on their way. */
  settleAdmit (id: string, cut: number): void {
    const max = this.admitting.get(id) ?? 1
    this.admitting.delete(id)
    if (cut % 20 === 0 || (this.aborted.has(id) && cut % 2 === 0)) {
      this.send({ type: 'admit-failed', id, error: new Error('x') })
      return
    }
    const bytes = Math.min(cut, max)
    this.admitted += bytes
    this.inHand.set(id, bytes)
    this.send({ type: 'admitted', id, bytes })
  }

  settleRead (id: string, ok: boolean, cut: number): void {
    const max = this.reading.get(id) ?? 1
    this.reading.delete(id)
    // What is sent on is used, all else has to come back.
    const used = ok && !this.aborted.has(id) && !this.sealed.has(id) ? Math.min(cut, max) : 0
    const left = (this.inHand.get(id) ?? 0) - used
    if (left > 0) this.inHand.set(id, left)
    else this.inHand.delete(id)
    this.send(ok ? { type: 'read', id, chunk: new Uint8Array(Math.min(cut, max)) } : { type: 'read-failed', id, error: new Error('x') })
  }

  settleWrite (id: string, ok: boolean): void {
    this.writing.delete(id)
    this.send({ type: ok && !this.sealed.has(id) ? 'written' : 'write-failed', id })
  }

  send (event: SessionEvent | StreamEvent): void {
    for (const action of this.machine.handle(event, this.now)) this.check(action)
    const stats = this.machine.stats()
    assert.ok(stats.streams <= this.limits.maxStreams, 'streams')
    assert.ok(stats.resolving <= this.limits.maxResolving, 'resolving')
    assert.ok(stats.queued <= this.limits.maxQueued, 'queued')
    assert.equal(stats.resolving, this.resolving.size)
    assert.equal(stats.leases, this.leased.size)
  }

  check (action: SessionAction): void {
    if (!('id' in action)) return
    const { id } = action
    assert.ok(this.known.has(id), `${action.type} on a stream that was forgotten`)
    switch (action.type) {
      case 'report': this.reports.push(action.report); break
      case 'resolve':
        assert.ok(!this.sealed.has(id) && !this.leased.has(id))
        this.resolving.add(id)
        break
      case 'read':
        assert.ok(this.leased.has(id) && !this.reading.has(id) && !this.admitting.has(id) && !this.writing.has(id) && !this.sealed.has(id))
        assert.ok(action.maxBytes <= (this.inHand.get(id) ?? this.fairPart()), 'no more than was admitted, or a fair part of the buffer')
        assert.ok(action.position >= 0 && action.position + action.maxBytes <= 200 && action.maxBytes > 0)
        this.reading.set(id, action.maxBytes)
        break
      case 'admit':
        assert.ok(this.pace.limited, 'only where something is limited')
        assert.ok(this.leased.has(id) && !this.reading.has(id) && !this.admitting.has(id) && !this.writing.has(id) && !this.sealed.has(id))
        assert.ok(action.maxBytes > 0 && action.maxBytes <= Math.min(200, this.fairPart()))
        this.admitting.set(id, action.maxBytes)
        break
      case 'give-back':
        assert.equal(action.bytes, this.inHand.get(id), 'exactly what is left')
        this.inHand.delete(id)
        this.returned += action.bytes
        break
      case 'write': case 'end':
        assert.ok(!this.writing.has(id) && !this.sealed.has(id), 'one write at a time, none after the end')
        this.writing.add(id)
        if (action.type === 'write') this.sent.set(id, (this.sent.get(id) ?? 0) + 1)
        else assert.ok((this.sent.get(id) ?? 0) > 0, 'never FIN without a response')
        break
      case 'reset':
        assert.ok(!this.sealed.has(id), 'one reset')
        this.sealed.add(id)
        break
      case 'release':
        assert.ok(this.leased.delete(id), 'released once')
        assert.ok(!this.reading.has(id) && !this.writing.has(id), 'not while in use')
        break
      case 'forget':
        assert.ok(!this.resolving.has(id) && !this.reading.has(id) && !this.admitting.has(id) && !this.writing.has(id) && !this.leased.has(id))
        this.known.delete(id)
        break
      case 'abort': this.aborted.add(id); break
      case 'cancel': break
    }
  }
}
