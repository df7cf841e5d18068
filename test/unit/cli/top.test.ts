import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { tallyStream } from '../../../src/cli/commands/top.ts'
import { rowsFor, screenText } from '../../../src/cli/top/screen.ts'
import { FadingCounts, MAX_ROWS, OTHER, TopTally } from '../../../src/cli/top/tally.ts'

const RECORD = { object: 'QmA/0', remote: '192.0.2.1', status: 200, bytes: 1_000, cache: 'hit' } as const

suite('top', () => {
  test('rates of what is asked for, who asks, and who sends', () => {
    const tally = new TopTally()
    for (let count = 0; count < 10; count++) tally.take(RECORD)
    tally.take({ ...RECORD, object: 'QmB/3', bytes: 50_000, cache: 'fwd=uri-miss', superNode: 'http://a:9002' })
    tally.take({ ...RECORD, object: 'QmB/3', bytes: 0, status: 503, cache: undefined })
    tally.take({ remote: '127.0.0.1', status: 200, bytes: 9_999 })
    tally.passed(2_000)
    const { objects, viewers, superNodes, total } = tally.report(10)
    assert.deepEqual(objects.map(({ name, requests, bytes, hits, errors }) => [name, requests, bytes, hits, errors]), [['QmB/3', 1, 25_000, 0, 0.5], ['QmA/0', 5, 5_000, 1, 0]])
    assert.deepEqual([viewers.length, viewers[0]?.name, superNodes.map(({ name }) => name), total.requests], [1, '192.0.2.1', ['http://a:9002'], 6])
  })

  test('a rate stays while it goes on, and fades when it ends', () => {
    const tally = new TopTally()
    const second = (requests: number): number => {
      for (let count = 0; count < requests; count++) tally.take(RECORD)
      tally.passed(1_000)
      const rate = tally.report(1).total.requests
      tally.fade(1_000)
      return rate
    }
    for (let count = 0; count < 30; count++) assert.ok(Math.abs(second(20) - 20) < 1e-9)
    for (let count = 0; count < 10; count++) second(0)
    assert.ok(second(0) < 11)
    for (let count = 0; count < 200; count++) second(0)
    assert.deepEqual(tally.report(5).objects, [])
  })

  test('however many names there are, so many are remembered and nothing is lost of the sum', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constant('fade')), { maxLength: 200 }), steps => {
      const counts = new FadingCounts(8)
      let sum = 0
      for (const step of steps) {
        if (step === 'fade') {
          counts.fade(1)
          continue
        }
        counts.add(`name-${step}`, { ...RECORD })
        sum++
        assert.ok(counts.rows <= 8)
      }
      assert.equal(counts.top(100, 1).reduce((all, { requests }) => all + requests, 0), sum)
    }))
    const counts = new FadingCounts()
    for (let name = 0; name < 10_000; name++) counts.add(String(name), RECORD)
    assert.equal(counts.rows, MAX_ROWS)
    assert.equal(counts.top(1, 1)[0]?.name, OTHER)
  })

  test('a screen has room for its rows, and what strangers send does nothing to the terminal', () => {
    const tally = new TopTally()
    for (let name = 0; name < 50; name++) tally.take({ ...RECORD, object: `Qm${name}/0`, remote: `192.0.2.${name}`, superNode: '\u001B[2Jhttp://evil' })
    tally.passed(1_000)
    for (const rows of [24, 40, 60]) {
      const text = screenText(tally.report(rowsFor(rows)), 60)
      assert.ok(text.split('\n').length - 1 <= rows, text)
      assert.ok(text.split('\n').every(line => line.length <= 60))
      assert.ok(!text.includes('\u001B'))
    }
  })

  test('it counts what the stream has, records that were lost too, and names what is no relay', async () => {
    const tally = new TopTally()
    await tallyStream((async function * () { yield `: \n\nevent: request\ndata: ${JSON.stringify(RECORD)}\n\nevent: lost\ndata: {"records":7}\n\n` })(), tally)
    tally.passed(1_000)
    assert.deepEqual([tally.report(1).total.requests, tally.report(1).lost], [1, 7])
    await assert.rejects(tallyStream((async function * () { yield 'event: request\ndata: nonsense\n\n' })(), tally), { message: 'top: what answers is no relay' })
  })
})
