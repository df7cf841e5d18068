import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { deferred, type Deferred } from '../../../../src/base/deferred.ts'
import { LeastRate } from '../../../../src/plugins/upstream/least-rate.ts'
import { MAX_ASKED_BESIDE } from '../../../../src/plugins/upstream/body-silence.ts'
import { ResumableBody, type ResumableBodyOptions } from '../../../../src/plugins/upstream/resumable-body.ts'
import type { BodySource } from '../../../../src/plugins/upstream/source-reader.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

/** The silence after which a node is late, and how much longer it has without a budget, ms. */
const LATE = 200
const PATIENCE = 500
const BODY = Buffer.from('0123456789')

class Source implements BodySource {
  readonly body = new Readable({ read: () => {} })
  readonly skip: number
  readonly silence = { lateMs: LATE, patienceMs: PATIENCE }
  released = 0

  constructor (skip = 0) {
    this.skip = skip
    this.body.on('error', () => {})
  }

  readonly release = (): void => { this.released++ }

  say (text: string): this {
    this.body.push(Buffer.from(text))
    return this
  }

  end (): this {
    this.body.push(null)
    return this
  }
}

interface Lab {
  readonly timers: VirtualTimers
  readonly first: Source
  readonly body: ResumableBody
  /** Questions beside the present source. */
  readonly asked: { readonly position: number, readonly signal: AbortSignal, readonly answer: Deferred<BodySource> }[]
  /** What became of them, and what came by whom. */
  readonly told: string[]
  readonly resumed: number[]
  /** What was read so far. */
  readonly read: string[]
  readonly reading: Promise<string>
}

function setUp ({ hedges = true, wanted = () => true, ...options }: { hedges?: boolean, wanted?: () => boolean } & Partial<Pick<ResumableBodyOptions, 'resume'>> = {}): Lab {
  const timers = virtualTimers()
  const first = new Source()
  const asked: Lab['asked'] = []
  const told: string[] = []
  const resumed: number[] = []
  const body = new ResumableBody({
    first,
    end: BODY.length,
    maxResumes: 4,
    leastRate: () => new LeastRate(0, 5_000),
    timers,
    received: bytes => { told.push(`received ${bytes}`) },
    soFar: undefined,
    resume: async (position, error) => {
      resumed.push(position)
      throw error
    },
    beside: {
      mayHedge: () => hedges,
      wanted,
      ask: async (position, signal) => {
        const answer = deferred<BodySource>()
        asked.push({ position, signal, answer })
        return await answer.promise
      },
      ended: how => { told.push(how) }
    },
    ...options
  })
  const read: string[] = []
  const reading = (async () => {
    for await (const chunk of body) read.push(chunk.toString())
    return read.join('')
  })()
  reading.catch(() => {})
  return { timers, first, body, asked, told, resumed, read, reading }
}

async function turns (): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await nextTurn()
}

suite('a body whose node falls silent', () => {
  test('goes on from another node after the time a late one has, and not after the time-out of bodies', async () => {
    const { timers, first, asked, told, reading } = setUp()
    first.say('0123')
    await turns()
    await timers.pass(LATE - 1)
    await turns()
    assert.equal(asked.length, 0)
    await timers.pass(1)
    await turns()
    assert.deepEqual(asked.map(({ position }) => position), [4])
    const other = new Source()
    asked[0]?.answer.resolve(other)
    await turns()
    // A head is no bytes.
    assert.deepEqual([told, first.body.destroyed], [[], false])
    other.say('456789').end()
    assert.equal(await reading, BODY.toString())
    assert.deepEqual(told, ['received 4', 'won', 'received 6'])
    assert.deepEqual([first.body.destroyed, first.released, other.released, timers.waiting], [true, 1, 1, 0])
    assert.equal(asked[0]?.signal.aborted, false)
  })

  test('goes on from the one that was silent when that speaks first; the other is let go, whether it has answered or not', async () => {
    for (const answered of [false, true]) {
      const { timers, first, asked, told, reading } = setUp()
      first.say('0123')
      await turns()
      await timers.pass(LATE)
      await turns()
      const other = new Source()
      if (answered) asked[0]?.answer.resolve(other)
      await turns()
      first.say('456789').end()
      assert.equal(await reading, BODY.toString())
      if (!answered) asked[0]?.answer.resolve(other.say('wrong'))
      await turns()
      assert.equal(asked[0]?.signal.aborted, true)
      assert.deepEqual([told, other.body.destroyed, other.released], [['lost', 'received 10'], true, 1])
    }
  })

  test('asks beside it without a budget too, after a patience', async () => {
    const { timers, first, asked } = setUp({ hedges: false })
    first.say('0123')
    await turns()
    await timers.pass(LATE + PATIENCE - 1)
    await turns()
    assert.equal(asked.length, 0)
    await timers.pass(1)
    await turns()
    assert.equal(asked.length, 1)
    first.say('456789').end()
  })

  test('is nobody\'s concern while nobody waits for it, and is late already when somebody comes', async () => {
    let wanted = false
    const { timers, first, asked, reading } = setUp({ wanted: () => wanted })
    first.say('0123')
    await turns()
    await timers.pass(10 * LATE)
    assert.equal(asked.length, 0)
    wanted = true
    await timers.pass(LATE)
    await turns()
    assert.equal(asked.length, 1)
    asked[0]?.answer.resolve(new Source().say('456789').end())
    assert.equal(await reading, BODY.toString())
  })

  test('waits for it when nobody else has the rest, or has to begin from the start', async () => {
    for (const fate of ['refuses', 'begins', 'ends'] as const) {
      const { timers, first, asked, told, reading } = setUp()
      first.say('0123')
      await turns()
      await timers.pass(LATE)
      await turns()
      const other = fate === 'begins' ? new Source(4).say('0123456789').end() : new Source().end()
      if (fate === 'refuses') asked[0]?.answer.reject(new Error('nobody'))
      else asked[0]?.answer.resolve(other)
      await turns()
      assert.deepEqual(told, ['lost'])
      await timers.pass(LATE + PATIENCE - 1)
      assert.equal(asked.length, 1)
      first.say('456789').end()
      assert.equal(await reading, BODY.toString())
      assert.deepEqual(told, ['lost', 'received 10'])
      if (fate !== 'refuses') assert.ok(other.body.destroyed || other.body.readableEnded)
    }
  })

  test('that then breaks goes on from the one that was asked beside it, and counts as resumed only when nobody was', async () => {
    for (const other of [new Source().say('456789').end(), undefined]) {
      const { timers, first, asked, resumed, reading } = setUp()
      first.say('0123')
      await turns()
      await timers.pass(LATE)
      await turns()
      first.body.destroy(new Error('reset'))
      await turns()
      assert.deepEqual(resumed, [])
      if (other === undefined) asked[0]?.answer.reject(new Error('nobody'))
      else asked[0]?.answer.resolve(other)
      if (other === undefined) await assert.rejects(reading, /reset/)
      else assert.equal(await reading, BODY.toString())
      assert.deepEqual(resumed, other === undefined ? [4] : [])
    }
  })

  test('has a third asked when the one that was asked says nothing either, which is let go', async () => {
    const { timers, first, asked, told, reading } = setUp()
    first.say('0123')
    await turns()
    await timers.pass(LATE)
    await turns()
    const silent = new Source()
    asked[0]?.answer.resolve(silent)
    await timers.pass(LATE + PATIENCE)
    await turns()
    assert.deepEqual([asked.length, asked[0]?.signal.aborted, silent.body.destroyed, told], [2, true, true, ['lost']])
    asked[1]?.answer.resolve(new Source().say('456789').end())
    assert.equal(await reading, BODY.toString())
    assert.deepEqual(told, ['lost', 'received 4', 'won', 'received 6'])
  })

  test('that breaks while the one beside it has answered and says nothing: that one is waited for no longer than any other', async () => {
    const { timers, first, asked, told, reading } = setUp()
    first.say('0123')
    await turns()
    await timers.pass(LATE)
    await turns()
    asked[0]?.answer.resolve(new Source())
    await turns()
    first.body.destroy(new Error('reset'))
    await turns()
    assert.deepEqual(told, ['received 4', 'won'])
    await timers.pass(LATE)
    await turns()
    assert.equal(asked.length, 2)
    asked[1]?.answer.resolve(new Source().say('456789').end())
    assert.equal(await reading, BODY.toString())
  })

  test('asks so many others at most, and leaves nothing open when it is given up', async () => {
    const { timers, first, body, asked, read, reading } = setUp()
    for (let at = 0; at < MAX_ASKED_BESIDE + 2; at++) {
      first.say(String(at))
      await turns()
      await timers.pass(LATE + PATIENCE)
      await turns()
    }
    assert.equal(asked.length, MAX_ASKED_BESIDE)
    assert.deepEqual(read.length, MAX_ASKED_BESIDE + 2)
    body.destroy()
    await assert.rejects(reading)
    assert.equal(timers.waiting, 0)

    const held = setUp()
    held.first.say('0')
    await turns()
    await held.timers.pass(LATE)
    await turns()
    held.body.destroy()
    await turns()
    assert.equal(held.asked[0]?.signal.aborted, true)
    const late = new Source()
    held.asked[0]?.answer.resolve(late)
    await assert.rejects(held.reading)
    await turns()
    assert.deepEqual([late.body.destroyed, late.released, held.first.released], [true, 1, 1])
  })
})
