import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { BodySilence } from '../../../../src/plugins/upstream/body-silence.ts'

const POLICY = { lateMs: 200, patienceMs: 500 }

suite('a node that falls silent in its body', () => {
  test('has another asked beside it when it is late and the budget permits, and a third when that one is late with patience', () => {
    const silence = new BodySilence(POLICY)
    assert.equal(silence.step(0, () => true), 200)
    assert.equal(silence.step(150, () => true), 50)
    assert.equal(silence.step(200, () => true), 'ask')
    assert.equal(silence.step(300, () => true), 600)
    assert.equal(silence.step(900, () => false), 'ask')
    assert.equal(silence.step(1_000, () => false), 600)
    silence.spoke(60)
    assert.equal(silence.step(200, () => true), 'ask')
  })

  test('has another asked without a budget after its patience, which is asked for only once', () => {
    const silence = new BodySilence(POLICY)
    let questions = 0
    const refuse = (): boolean => {
      questions++
      return false
    }
    assert.equal(silence.step(200, refuse), 500)
    assert.equal(silence.step(300, refuse), 400)
    assert.equal(silence.step(700, refuse), 'ask')
    assert.equal(questions, 1)
  })

  test('that makes pauses has twice its longest one, and no more than with patience', () => {
    const silence = new BodySilence(POLICY)
    silence.spoke(150)
    assert.equal(silence.lateMs, 300)
    silence.spoke(20)
    assert.equal(silence.lateMs, 300)
    silence.spoke(60_000)
    assert.equal(silence.lateMs, 700)
  })

  test('whatever it says and whoever permits it: never asked before somebody is late, and always in the end', () => {
    fc.assert(fc.property(fc.array(fc.record({ pauses: fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 6 }), permits: fc.boolean() }), { maxLength: 20 }), silences => {
      const silence = new BodySilence(POLICY)
      for (const { pauses, permits } of silences) {
        let ms = 0
        let asked = 0
        let last = -Infinity
        for (const pause of pauses) {
          const step = silence.step(ms, () => permits)
          if (step === 'ask') {
            asked++
            assert.ok(ms >= POLICY.lateMs && (permits || ms >= POLICY.lateMs + POLICY.patienceMs))
            assert.ok(ms - last >= POLICY.lateMs + POLICY.patienceMs)
            last = ms
          } else assert.ok(step > 0)
          ms += pause
        }
        assert.ok(silence.lateMs >= POLICY.lateMs && silence.lateMs <= POLICY.lateMs + POLICY.patienceMs)
        if (asked === 0) assert.equal(silence.step(silence.lateMs + POLICY.patienceMs, () => false), 'ask')
        silence.spoke(ms)
      }
    }))
  })
})
