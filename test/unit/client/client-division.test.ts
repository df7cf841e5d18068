import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { MIN_MOVED_BYTES, chooseDivision } from '../../../client/src/division.ts'
import type { Carrier } from '../../../client/src/division.ts'
import { PooledSession } from '../../../client/src/pooled-session.ts'
import { MAX_PARTS, SharedBody } from '../../../client/src/shared-body.ts'
import { linkedAbort } from '../../../client/src/waiting.ts'
import { FakeNetwork } from '../../support/client-rig.ts'

interface TestSession extends Carrier { readonly name: string, inFlight: number }
interface TestPart { readonly session: TestSession, readonly position: number, end: number }

const carrier = (name: string, rate: number | undefined, inFlight = 1, latencyMs: number | undefined = undefined): TestSession => ({ name, rate, inFlight, latencyMs })

/** Carries out what is decided, as the pool does; who helps is asked in turn until nobody takes anything. @returns how often something was taken */
function settle (sessions: readonly TestSession[], parts: TestPart[], most: number): number {
  let taken = 0
  for (let calm = 0; calm < sessions.length && taken <= most;) {
    const helper = sessions[taken % sessions.length + calm] ?? sessions[(taken + calm) % sessions.length]
    const division = helper === undefined ? undefined : chooseDivision(parts, helper)
    calm++
    if (helper === undefined || division === undefined) continue
    const { part, at } = division
    assert.ok(part.session !== helper && at >= part.position && at < part.end && (at === part.position || part.end - at >= MIN_MOVED_BYTES), `${at} of ${part.position} to ${part.end}`)
    parts.push({ session: helper, position: at, end: part.end })
    helper.inFlight++
    part.end = at
    taken++
    calm = 0
  }
  return taken
}

const lasts = (of: TestSession, parts: readonly TestPart[]): number => parts.reduce((sum, { session, position, end }) => sum + (session === of ? end - position : 0), 0) / (of.rate ?? Number.NaN)

const sessionOver = (request: PooledSession['connection']['request']): PooledSession => new PooledSession({ request, closed: new Promise(() => {}), close: () => {} }, { transport: 'webtransport', relayUrl: 'https://a', region: undefined, failures: [] }, 0)

test('the rate of a session is that of samples in which bodies came all the time, the latest for two fifths', () => {
  const session = sessionOver(async () => await Promise.reject(new Error('unused')))
  session.inFlight = 1
  assert.deepEqual([session.sample(200, 200), session.rate], [{ bytes: 0, isBusy: false }, undefined], 'the answer has not begun')
  session.took(1_000, 250)
  assert.deepEqual([session.sample(400, 200), session.rate], [{ bytes: 1_000, isBusy: false }, undefined], 'it began within the sample')
  session.took(2_000, 500)
  assert.deepEqual([session.sample(600, 200), session.rate], [{ bytes: 2_000, isBusy: true }, 10])
  assert.deepEqual([session.sample(800, 200), session.rate], [{ bytes: 0, isBusy: true }, 6], 'it stands still')
  session.inFlight = 0
  assert.deepEqual([session.sample(1_000, 200), session.rate], [{ bytes: 0, isBusy: false }, 6], 'nothing to carry')
  session.answered(300)
  session.answered(500)
  assert.equal(session.latencyMs, 300)
})

suite('what an idle session takes over', () => {
  test('of sessions that nothing is known of, half of the largest part of two megabytes', () => {
    const [busy, idle] = [carrier('a', undefined), carrier('b', undefined, 0)]
    const part = (bytes: number): TestPart => ({ session: busy, position: 100, end: 100 + bytes })
    assert.equal(chooseDivision([part(2_097_151)], idle), undefined)
    assert.deepEqual(chooseDivision([part(1_000), part(2_097_152)], idle)?.at, 100 + 1_048_576)
    assert.equal(chooseDivision([part(8_000_000)], carrier('b', undefined, 1)), undefined, 'it has work of its own')
  })

  test('so much that both are done at the same time', () => {
    const [slow, fast] = [carrier('slow', 100), carrier('fast', 900, 0)]
    const [whole, even] = [{ session: slow, position: 0, end: 5_000_000 }, { session: slow, position: 0, end: 1_000_000 }]
    assert.equal(chooseDivision([whole], fast)?.at, 500_000)
    assert.equal(chooseDivision([whole, { session: fast, position: 0, end: 1_000_000 }], { ...fast, inFlight: 1 })?.at, 500_000, 'that one is of another helper')
    assert.equal(chooseDivision([even], carrier('fast', 100, 0, 1_000))?.at, 550_000, 'it starts a second later')
  })

  test('the end of an answer over a session that has become slow, which held up a whole page before', () => {
    // Measured at 30 ms and 1 % loss: 700 kB at 70 kB/s, beside sessions that were idle.
    const [collapsed, idle] = [carrier('collapsed', 70), carrier('idle', 1_000, 0, 30)]
    const at = chooseDivision([{ session: collapsed, position: 0, end: 700_000 }], idle)?.at ?? 700_000
    assert.ok(at / 70 < 700, `${at} bytes are left to it`)
    assert.equal(chooseDivision([{ session: collapsed, position: 0, end: 90_000 }], idle)?.at, 0, 'a small rest as a whole')
    assert.equal(chooseDivision([{ session: collapsed, position: 0, end: 20_000 }], idle), undefined, 'it is there soon')
    assert.equal(chooseDivision([{ session: carrier('crawling', 8), position: 1, end: 36_000 }], idle)?.at, 1, 'that took five seconds')
    assert.equal(chooseDivision([{ session: carrier('stalled', 0), position: 0, end: 90_000 }], idle)?.at, 0)
  })

  test('nothing of what comes soon, and nothing by one that stands still', () => {
    assert.equal(chooseDivision([{ session: carrier('a', 10_000), position: 0, end: 3_900_000 }], carrier('b', 10_000, 0)), undefined)
    assert.equal(chooseDivision([{ session: carrier('a', 10), position: 0, end: 3_900_000 }], carrier('b', 0, 0)), undefined)
  })

  test('a body is asked for in so many parts and no more', async () => {
    const { platform } = new FakeNetwork()
    let requests = 0
    const over = (): PooledSession => sessionOver(async () => {
      requests++
      return await new Promise(() => {})
    })
    const abort = new AbortController()
    const body = new SharedBody({ path: '/', fields: [], signal: abort.signal, stallMs: 1_000, length: 1_000_000, etag: 'x', onReceived: () => {} },
      { join: () => {}, leave: () => {}, received: () => {}, failed: () => {}, release: () => {} }, platform)
    const reading = body.read(over(), { status: 200, fields: new Map(), read: async () => await new Promise(() => {}), cancel: () => {} }, linkedAbort(abort.signal))
    for (let end = 1_000_000; end > 0; end -= 1_000) {
      const [first] = body.pieces
      if (first === undefined) break
      body.divide(first, end - 1_000, over())
    }
    assert.equal(requests, MAX_PARTS - 1)
    // The reads of this connection never settle; nothing waits for them.
    reading.catch(() => {})
  })

  test('whatever the rates, nothing is passed to and fro, and who was done last is done no later', () => {
    const rates = fc.record({ rate: fc.integer({ min: 1, max: 20_000 }), latencyMs: fc.option(fc.integer({ min: 0, max: 600 }), { nil: undefined }) })
    fc.assert(fc.property(fc.array(rates, { minLength: 1, maxLength: 9 }), fc.array(fc.tuple(fc.nat(8), fc.integer({ min: 1, max: 10_000_000 })), { minLength: 1, maxLength: 16 }), (carriers, bodies) => {
      const sessions = carriers.map(({ rate, latencyMs }, index) => carrier(String(index), rate, 0, latencyMs))
      const parts = bodies.flatMap(([index, end]): TestPart[] => {
        const on = sessions[index % sessions.length]
        if (on === undefined) return []
        on.inFlight++
        return [{ session: on, position: 0, end }]
      })
      const total = parts.reduce((sum, { end }) => sum + end, 0)
      const before = Math.max(...sessions.map(of => lasts(of, parts)))
      assert.ok(settle(sessions, parts, 500) <= 500)
      assert.equal(parts.reduce((sum, { position, end }) => sum + end - position, 0), total)
      assert.ok(Math.max(...sessions.map(of => lasts(of, parts))) <= before)
    }))
  })
})
