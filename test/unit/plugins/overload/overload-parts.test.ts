import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { Shedding } from '../../../../src/gateway/shedding.ts'
import { encodeProblem } from '../../../../src/gateway/session/response.ts'
import { LoopDelay, MAX_LOOKS } from '../../../../src/base/loop-delay.ts'
import { GatewayLoad } from '../../../../src/plugins/overload/gateway-load.ts'
import { missRefusal } from '../../../../src/plugins/overload/miss-refusal.ts'
import { redirectTargets } from '../../../../src/plugins/overload/redirect-targets.ts'
import type { OverloadState } from '../../../../src/channel/overload-states.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

suite('event-loop delay', () => {
  /** Timers of a loop that may be blocked: what is due meanwhile runs late. */
  function blockable () {
    const timers = virtualTimers()
    let lag = 0
    return {
      timers: { now: () => timers.now() + lag, after: (ms: number, callback: () => void) => timers.after(ms, callback) },
      pass: async (ms: number) => { await timers.pass(ms) },
      block: (ms: number) => { lag += ms }
    }
  }

  test('a loop that is never late has none', async () => {
    const loop = blockable()
    const delay = new LoopDelay(loop.timers)
    await loop.pass(500)
    assert.equal(delay.take(), 0)
    delay.stop()
  })

  test('the longest of half a second counts, once', async () => {
    const loop = blockable()
    const delay = new LoopDelay(loop.timers)
    await loop.pass(100)
    loop.block(70)
    await loop.pass(100)
    loop.block(300)
    await loop.pass(100)
    assert.equal(delay.take(), 300)
    await loop.pass(500)
    assert.equal(delay.take(), 0)
  })

  test('a stall that begins right after the last look at it is seen while it goes on, and not twice', async () => {
    const loop = blockable()
    const delay = new LoopDelay(loop.timers)
    delay.take()
    for (let n = 0; n < 3; n++) {
      loop.block(700)
      // Whoever takes runs in the same turn of the loop in which the look is due.
      const seen = delay.take()
      assert.ok(seen >= 600 && seen <= 700, `${seen}`)
      await loop.pass(0)
    }
    await loop.pass(500)
    assert.ok(delay.take() < 100)
  })

  test('looks that nobody takes are bounded, and none is left after the stop', async () => {
    const timers = virtualTimers()
    let taken = 0
    const delay = new LoopDelay({ now: () => timers.now(), after: (ms, callback) => timers.after(ms, () => { taken++; callback() }) })
    await timers.pass(30_000)
    assert.ok(taken > MAX_LOOKS)
    assert.equal(delay.take(), 0)
    delay.stop()
    assert.equal(timers.waiting, 0)
  })
})

suite('gateway load', () => {
  test('the worst delay since the last sample, the latest memory; the last report stands while the gateway lives', () => {
    const load = new GatewayLoad()
    assert.equal(load.take(true), undefined)
    load.hear({ loopDelayMs: 20, rssBytes: 1 })
    load.hear({ loopDelayMs: 90, rssBytes: 2 })
    load.hear({ loopDelayMs: 10, rssBytes: 3 })
    assert.deepEqual(load.take(true), { delayMs: 90, rssBytes: 3 })
    assert.deepEqual(load.take(true), { delayMs: 10, rssBytes: 3 })
    load.hear({ rssBytes: 4 })
    assert.deepEqual(load.take(true), { delayMs: 0, rssBytes: 4 })
    assert.equal(load.take(false), undefined)
    assert.equal(load.take(true), undefined, 'a new gateway starts over')
  })
})

suite('where new sessions go', () => {
  test('in turn, best first, the others behind it; and nowhere unless shedding', () => {
    const shedding = new Shedding()
    assert.deepEqual([shedding.next(), shedding.refuses, shedding.backgroundAllowed, shedding.burstFactor], [undefined, false, true, 1])
    shedding.set('shedding', ['a', 'b', 'c'])
    assert.deepEqual(Array.from({ length: 4 }, () => shedding.next()), [['a', 'b', 'c'], ['b', 'c', 'a'], ['c', 'a', 'b'], ['a', 'b', 'c']])
    assert.deepEqual([shedding.refuses, shedding.backgroundAllowed, shedding.burstFactor], [false, false, 0.25])
    shedding.set('degraded', ['a'])
    assert.deepEqual([shedding.next(), shedding.refuses, shedding.burstFactor], [undefined, false, 0.5])
    shedding.set('shedding', [])
    assert.deepEqual([shedding.next(), shedding.refuses], [undefined, true])
  })

  test('however targets change, each new session is either sent on, refused or kept, and every target has its share', () => {
    fc.assert(fc.property(fc.constantFrom<OverloadState>('normal', 'degraded', 'shedding'), fc.integer({ min: 0, max: 16 }), fc.integer({ min: 1, max: 100 }), (state, count, sessions) => {
      const shedding = new Shedding()
      const targets = Array.from({ length: count }, (_, n) => `http://relay-${n}`)
      shedding.set(state, targets)
      const sent = new Map<string, number>()
      for (let n = 0; n < sessions; n++) {
        const next = shedding.next()
        assert.equal(next !== undefined, state === 'shedding' && count > 0)
        assert.equal(shedding.refuses, state === 'shedding' && count === 0)
        if (next === undefined) continue
        assert.deepEqual([...next].sort(), [...targets].sort())
        sent.set(next[0], (sent.get(next[0]) ?? 0) + 1)
      }
      for (const times of sent.values()) assert.ok(Math.abs(times - sessions / count) < 1)
    }))
  })

  test('alternates come before super-nodes, which are named only when the operator allows it', () => {
    const nearest = (): string => 'http://super'
    assert.deepEqual(redirectTargets({ alternates: ['http://a'], redirect_to_super_nodes: true }, nearest), ['http://a'])
    assert.deepEqual(redirectTargets({ alternates: [], redirect_to_super_nodes: true }, nearest), ['http://super'])
    assert.deepEqual(redirectTargets({ alternates: [], redirect_to_super_nodes: true }, () => undefined), [])
    assert.deepEqual(redirectTargets({ alternates: [], redirect_to_super_nodes: false }, nearest), [])
  })
})

test('a refused miss names a time to come back that is spread over five seconds, and the head of the answer has it', () => {
  const seen = new Set<number | undefined>()
  for (let random = 0; random < 1; random += 0.01) {
    const { code, retryAfterSeconds } = missRefusal(() => random)
    assert.equal(code, 'RELAY_ERR_OVERLOADED')
    seen.add(retryAfterSeconds)
    const { status, head } = encodeProblem(missRefusal(() => random))
    assert.equal(status, 503)
    assert.ok(Buffer.from(head).toString().includes(`\r\nretry-after: ${retryAfterSeconds}\r\n`))
  }
  assert.deepEqual([...seen], [3, 4, 5, 6, 7, 8])
})
