import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkFromGateway, MAX_ACCESS_RECORDS, type FromGateway } from '../../../src/channel/from-gateway.ts'
import { MAX_WAITING, TOGETHER_MS } from '../../../src/gateway/access-reports.ts'
import type { StreamReport } from '../../../src/gateway/session/session-types.ts'
import { StreamAccess } from '../../../src/gateway/stream-access.ts'
import { virtualTimers } from '../../fakes/timers.ts'

type AccessMessage = Extract<FromGateway, { type: 'access' }>

const SESSION = { transport: 'webtransport', request: { path: '/v1/viewer', authority: 'a', headers: { 'user-agent': 'of the session' }, peer: undefined } } as const
const HIT: StreamReport = {
  outcome: 'ok',
  status: 206,
  code: undefined,
  cause: undefined,
  key: { cid: 'c', part: 3 },
  origin: { hit: true, tier: 'disk', storedAt: 0 },
  bytes: 10,
  firstByteMs: 2,
  totalMs: 4,
  elapsedMs: 4,
  requestId: 'r',
  asked: { method: 'GET', path: '/shards/c/shard_3.bin', range: 'bytes=0-9', userAgent: undefined, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
}

function setUp (more: { writes?: boolean, watched?: boolean, sampleHits?: number } = {}) {
  const timers = virtualTimers()
  const sent: AccessMessage[] = []
  const taken: (() => void)[] = []
  const access = new StreamAccess({
    settings: { writes: true, sampleHits: 1, sampleMisses: 1, scrapes: false, watched: false, ...more },
    send: (message, done) => {
      const checked = checkFromGateway(structuredClone(message))
      assert.ok(typeof checked !== 'string' && checked.type === 'access', JSON.stringify(checked))
      sent.push(checked)
      taken.push(done ?? (() => {}))
    },
    after: (ms, callback) => timers.after(ms, callback),
    random: () => 0.5,
    now: () => 1_000
  })
  const end = (report: Partial<StreamReport> = {}, times = 1): void => { for (let n = 0; n < times; n++) access.ended({ ...HIT, ...report }, SESSION, '192.0.2.1', 'alice') }
  return { timers, sent, taken, access, end }
}

suite('what sessions tell the access log', () => {
  test('a stream in full, a while later and with those that ended meanwhile', async () => {
    const { sent, end, timers } = setUp()
    end()
    end({ outcome: 'cancelled', status: 200, origin: { hit: false, collapsed: true, region: 'X', node: 'sn:9002', headMs: 1 } })
    end({ outcome: 'refused', status: 0, key: undefined, origin: undefined, asked: undefined, requestId: undefined, firstByteMs: undefined, totalMs: undefined, elapsedMs: 0 })
    assert.equal(sent.length, 0)
    await timers.pass(TOGETHER_MS)
    const [first, second, third] = sent[0]?.records ?? []
    assert.deepEqual(first, [{
      time: 1_000,
      kind: 'hit',
      reqId: 'r',
      remote: '192.0.2.1',
      subject: 'alice',
      transport: 'webtransport',
      version: '3.0',
      method: 'GET',
      url: '/shards/c/shard_3.bin',
      object: 'c/3',
      range: 'bytes=0-9',
      status: 206,
      code: undefined,
      complete: true,
      bytes: 10,
      cache: 'hit',
      superNode: undefined,
      firstByteMs: 2,
      ms: 4,
      userAgent: 'of the session',
      traceId: '0af7651916cd43dd8448eb211c80319c'
    }, true])
    assert.deepEqual([second?.[0].kind, second?.[0].complete, second?.[0].cache, second?.[0].superNode], ['miss', false, 'fwd=uri-miss; collapsed', 'sn:9002'])
    assert.deepEqual([third?.[0].kind, third?.[0].status, third?.[0].complete], ['other', 0, false])
  })

  test('what is not wanted does not cross the channel, unless somebody watches: then it is marked', async () => {
    const { sent, end, timers, access } = setUp({ sampleHits: 0.4 })
    end()
    await timers.pass(1_000)
    assert.deepEqual([sent.length, access.waiting, timers.waiting], [0, 0, 0])
    access.use({ writes: true, sampleHits: 0.4, sampleMisses: 1, scrapes: false, watched: true })
    end()
    await timers.pass(TOGETHER_MS)
    assert.equal(sent[0]?.records[0]?.[1], false)
  })

  test('one batch is under way at a time, and what does not fit behind it is dropped and counted', async () => {
    const { sent, taken, end, timers, access } = setUp()
    end({}, 10 * MAX_WAITING)
    assert.equal(access.waiting, MAX_WAITING)
    await timers.pass(10 * TOGETHER_MS)
    assert.deepEqual([sent.length, sent[0]?.records.length, sent[0]?.missed], [1, MAX_ACCESS_RECORDS, 9 * MAX_WAITING])
    end({}, MAX_WAITING)
    assert.equal(access.waiting, MAX_WAITING)
    while (access.waiting > 0 || taken.length > 0) {
      for (const done of taken.splice(0)) done()
      await timers.pass(TOGETHER_MS)
      assert.ok(taken.length <= 1)
    }
    assert.deepEqual([sent.flatMap(({ records }) => records).length, sent.reduce((sum, { missed }) => sum + missed, 0)], [MAX_WAITING + MAX_ACCESS_RECORDS, 10 * MAX_WAITING - MAX_ACCESS_RECORDS])
  })

  test('of refused ones so many in a second, and the number of the others', async () => {
    const { sent, taken, end, timers } = setUp()
    end({ outcome: 'client-error', status: 429, code: 'RELAY_ERR_RATE_LIMITED', origin: undefined }, 500)
    await timers.pass(2_000)
    for (const done of taken.splice(0)) done()
    await timers.pass(2_000)
    assert.deepEqual([sent.flatMap(({ records }) => records).length, sent.reduce((sum, { leftOut }) => sum + leftOut, 0)], [50, 450])
  })
})
