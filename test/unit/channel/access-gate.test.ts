import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { AccessGate, FAILED_LINES, type AccessSettings } from '../../../src/channel/access-gate.ts'
import { virtualTimers } from '../../fakes/timers.ts'

const ALL: AccessSettings = { writes: true, sampleHits: 1, sampleMisses: 1, scrapes: false, watched: false }

function setUp (settings: Partial<AccessSettings> = {}) {
  const timers = virtualTimers()
  const leftOut: number[] = []
  const drawn = { next: 0 }
  const gate = new AccessGate({ settings: { ...ALL, ...settings }, random: () => drawn.next, after: (ms, callback) => timers.after(ms, callback), leftOut: lines => { leftOut.push(lines) } })
  return { gate, timers, leftOut, drawn }
}

suite('which responses get a line', () => {
  test('all but scrapes by default, and those when they are wanted or fail', () => {
    const { gate } = setUp()
    for (const kind of ['hit', 'miss', 'other', 'admin'] as const) assert.ok(gate.writes(kind, false), kind)
    assert.deepEqual([gate.writes('scrape', false), gate.writes('scrape', true), setUp({ scrapes: true }).gate.writes('scrape', false)], [false, true, true])
  })

  test('hits and misses by their shares; what failed always', () => {
    const { gate, drawn } = setUp({ sampleHits: 0.25, sampleMisses: 0 })
    drawn.next = 0.2
    assert.deepEqual([gate.writes('hit', false), gate.writes('miss', false), gate.writes('other', false)], [true, false, true])
    drawn.next = 0.25
    assert.deepEqual([gate.writes('hit', false), gate.writes('hit', true), gate.writes('miss', true)], [false, true, true])
  })

  test('none when it is off, and then it is closed unless somebody watches', () => {
    const { gate } = setUp({ writes: false })
    assert.deepEqual([gate.writes('hit', true), gate.closed], [false, true])
    gate.settings = { ...gate.settings, watched: true }
    assert.equal(gate.closed, false)
  })

  test('of failed ones so many in a second; those left out are counted', async () => {
    const { gate, timers, leftOut } = setUp()
    const written = Array.from({ length: 10 * FAILED_LINES }, () => gate.writes('other', true))
    assert.equal(written.filter(Boolean).length, FAILED_LINES)
    assert.ok(gate.writes('hit', false), 'whoever is served does not count')
    assert.equal(timers.waiting, 1)
    await timers.pass(1_000)
    assert.deepEqual([leftOut, gate.writes('other', true)], [[9 * FAILED_LINES], true])
    await timers.pass(1_000)
    assert.deepEqual([leftOut.length, timers.waiting], [1, 0])
  })
})
