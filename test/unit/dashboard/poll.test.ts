import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ApiError } from '../../../dashboard/src/model/api.ts'
import { LATE_MS, Poll } from '../../../dashboard/src/model/poll.ts'
import { virtualTimers } from '../../fakes/timers.ts'

function rig () {
  const timers = virtualTimers()
  const asked: { readonly at: number, readonly signal: AbortSignal, readonly answer: (value: number) => void, readonly refuse: (error: Error) => void }[] = []
  let changes = 0
  const poll = new Poll<number>({
    ask: async signal => await new Promise((resolve, reject) => { asked.push({ at: timers.now(), signal, answer: resolve, refuse: reject }) }),
    everyMs: 1_000,
    timers,
    changed: () => { changes++ }
  })
  const settle = async (): Promise<void> => { await new Promise(resolve => { setImmediate(resolve) }) }
  return {
    timers,
    asked,
    poll,
    changes: () => changes,
    answer: async (value: number) => {
      asked.at(-1)?.answer(value)
      await settle()
    },
    refuse: async (error: Error) => {
      asked.at(-1)?.refuse(error)
      await settle()
    }
  }
}

suite('asking again and again', () => {
  test('a second from question to question, one at a time', async () => {
    const { poll, timers, asked, answer } = rig()
    poll.start()
    await timers.pass(300)
    await answer(1)
    await timers.pass(699)
    assert.equal(asked.length, 1)
    await timers.pass(1)
    await answer(2)
    assert.deepEqual([asked.map(({ at }) => at), poll.value, poll.answeredAt], [[0, 1_000], 2, 1_000])
  })

  test('an answer that is late is told, and is not asked for a second time; then there is a rest', async () => {
    const { poll, timers, asked, answer } = rig()
    poll.start()
    await timers.pass(LATE_MS - 1)
    assert.equal(poll.late, false)
    await timers.pass(5_000)
    assert.deepEqual([poll.late, asked.length], [true, 1])
    await answer(1)
    assert.deepEqual([poll.late, poll.value], [false, 1])
    await timers.pass(249)
    assert.equal(asked.length, 1)
    await timers.pass(1)
    assert.equal(asked.length, 2)
  })

  test('a relay that is gone is asked less and less, up to every 5 s, and what was known stays until it is back', async () => {
    const { poll, timers, asked, answer, refuse } = rig()
    poll.start()
    await answer(7)
    await timers.pass(1_000)
    for (let n = 0; n < 6; n++) {
      await refuse(new TypeError('fetch failed'))
      assert.deepEqual([poll.error?.code, poll.value, poll.running], ['UNREACHABLE', 7, true])
      const before = asked.length
      for (let waited = 0; asked.length === before; waited += 250) {
        assert.ok(waited <= 5_000)
        await timers.pass(250)
      }
    }
    assert.deepEqual(asked.map(({ at }, n) => at - (asked[n - 1]?.at ?? 0)), [0, 1_000, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000])
    await answer(8)
    assert.deepEqual([poll.error, poll.value], [undefined, 8])
    await timers.pass(1_000)
    await refuse(new TypeError('fetch failed'))
    await timers.pass(1_000)
    assert.equal(asked.length, 10, 'from the beginning again')
  })

  test('a relay that says when to come back is left alone until then', async () => {
    const { poll, timers, asked, refuse } = rig()
    poll.start()
    await refuse(new ApiError(429, 'RELAY_ERR_RATE_LIMITED', 'too many', 30_000))
    await timers.pass(29_999)
    assert.equal(asked.length, 1)
    await timers.pass(1)
    assert.equal(asked.length, 2)
  })

  test('without a token nothing more is asked until somebody says so', async () => {
    const { poll, timers, asked, answer, refuse } = rig()
    poll.start()
    await refuse(new ApiError(401, 'RELAY_ERR_ADMIN_UNAUTHORIZED', 'no'))
    assert.deepEqual([poll.running, timers.waiting], [false, 0])
    poll.start()
    await answer(1)
    assert.deepEqual([asked.length, poll.value, poll.error], [2, 1, undefined])
  })

  test('who stops gives the question up, leaves no timer, and hears no late answer', async () => {
    const { poll, timers, asked, changes } = rig()
    poll.start()
    const before = changes()
    poll.stop()
    assert.equal(asked[0]?.signal.aborted, true)
    asked[0]?.answer(1)
    await timers.pass(60_000)
    assert.deepEqual([poll.value, timers.waiting, changes(), asked.length], [undefined, 0, before, 1])
    poll.start()
    poll.start()
    assert.deepEqual(asked.map(({ signal }) => signal.aborted), [true, true, false])
  })
})
