import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred, type Deferred } from '../../../../src/base/deferred.ts'
import { FAILED_MS, HolderDirectory, KNOWN_MS, MAX_LOOKUPS, NONE_MS, type LookupEnd } from '../../../../src/plugins/p2p/holder-directory.ts'
import type { KnownHolders } from '../../../../src/plugins/p2p/p2p-messages.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const TIMEOUT_MS = 2_000
const EPOCH = 1_700_000_000_000
const NEVER = new AbortController().signal

interface Question {
  readonly cid: string
  readonly signal: AbortSignal
  readonly found: (known: KnownHolders) => void
  readonly end: Deferred<LookupEnd>
}

function setup (allows = (): boolean => true): { directory: HolderDirectory, questions: Question[], outcomes: string[], timers: VirtualTimers } {
  const questions: Question[] = []
  const outcomes: string[] = []
  const timers = virtualTimers()
  const directory = new HolderDirectory({
    ask: async (cid, signal, found) => {
      const end = deferred<LookupEnd>()
      signal.addEventListener('abort', () => { end.resolve('failed') })
      questions.push({ cid, signal, found, end })
      return await end.promise
    },
    allows,
    timeoutMs: TIMEOUT_MS,
    clock: { now: () => EPOCH + timers.now(), monotonic: () => timers.now() },
    timers,
    observer: {
      looked: (cid, outcome) => { outcomes.push(`${cid} ${outcome}`) },
      noneAllowed: cid => { outcomes.push(`${cid} private`) }
    }
  })
  return { directory, questions, outcomes, timers }
}

const known = (name: string, issuedAt = EPOCH, expiresAt?: number): KnownHolders => ({ holders: [{ url: `http://${name}.example`, region: 'APAC' }], issuedAt, expiresAt })
const urls = (holders: readonly { url: string }[] | undefined): string[] | undefined => holders?.map(({ url }) => url)

suite('who holds a CID', () => {
  test('whoever needs it shares one question; the first record answers, and a newer one counts from then on', async () => {
    const { directory, questions, outcomes, timers } = setup()
    const asked = [directory.find('QmA', NEVER), directory.find('QmA', NEVER)]
    assert.equal(questions.length, 1)
    questions[0]?.found(known('old', EPOCH - 5))
    for (const answer of asked) assert.deepEqual(urls(await answer), ['http://old.example'])
    questions[0]?.found(known('new'))
    questions[0]?.found(known('older', EPOCH - 10))
    assert.deepEqual(urls(directory.known('QmA')), ['http://new.example'])
    questions[0]?.end.resolve('asked')
    await timers.pass(0)
    await new Promise(resolve => { setImmediate(resolve) })
    assert.deepEqual(outcomes, ['QmA found'])
    assert.deepEqual([directory.asking, timers.waiting], [0, 0])
    assert.deepEqual(urls(await directory.find('QmA', NEVER)), ['http://new.example'])
    assert.equal(questions.length, 1)
  })

  test('it is forgotten when its time is over, or that of the record; an older record does not come back in its place', async () => {
    const { directory, questions, timers } = setup()
    void directory.find('QmA', NEVER)
    questions[0]?.found(known('a'))
    void directory.find('QmB', NEVER)
    questions[1]?.found(known('b', EPOCH, EPOCH + 1_000))
    for (const { end } of questions) end.resolve('asked')
    await timers.pass(999)
    await timers.pass(1)
    assert.equal(directory.known('QmB').length, 0)
    await timers.pass(KNOWN_MS - 1_001)
    assert.equal(directory.known('QmA').length, 1)
    await timers.pass(1)
    assert.equal(directory.known('QmA').length, 0)
    const again = directory.find('QmA', NEVER)
    questions[2]?.found(known('replayed', EPOCH - 1))
    questions[2]?.end.resolve('asked')
    assert.deepEqual(await again, [])
  })

  test('nobody: remembered for a while; what could not be found out, for a shorter one', async () => {
    const { directory, questions, outcomes, timers } = setup()
    for (const [how, outcome, ms, answer] of [['asked', 'none', NONE_MS, []], ['refused', 'refused', FAILED_MS, undefined], ['failed', 'failed', FAILED_MS, undefined]] as const) {
      const cid = `Qm-${how}`
      const first = directory.find(cid, NEVER)
      const count = questions.length
      questions.at(-1)?.end.resolve(how)
      assert.deepEqual(await first, answer)
      assert.equal(outcomes.at(-1), `${cid} ${outcome}`)
      await timers.pass(ms - 1)
      assert.deepEqual(await directory.find(cid, NEVER), answer)
      assert.equal(questions.length, count)
      await timers.pass(1)
      void directory.find(cid, NEVER)
      assert.equal(questions.length, count + 1)
      questions.at(-1)?.end.resolve(how)
    }
  })

  test('it has its time and no longer, and a caller who leaves waits for nothing', async () => {
    const { directory, questions, outcomes, timers } = setup()
    const leaving = new AbortController()
    const left = directory.find('QmA', leaving.signal)
    const stays = directory.find('QmA', NEVER)
    leaving.abort()
    assert.equal(await left, undefined)
    assert.equal(questions[0]?.signal.aborted, false, 'the other one still waits')
    await timers.pass(TIMEOUT_MS)
    assert.equal(await stays, undefined)
    assert.equal(questions[0]?.signal.aborted, true)
    assert.deepEqual(outcomes, ['QmA timeout'])
  })

  test('so many questions at the same time and no more; afterwards there is room again', async () => {
    const { directory, questions, outcomes, timers } = setup()
    const asked = Array.from({ length: MAX_LOOKUPS }, async (_, n) => await directory.find(`Qm${n}`, NEVER))
    assert.equal(await directory.find('QmMore', NEVER), undefined)
    assert.deepEqual(outcomes, ['QmMore busy'])
    assert.equal(questions.length, MAX_LOOKUPS)
    await timers.pass(TIMEOUT_MS)
    await Promise.all(asked)
    assert.equal(directory.asking, 0)
    void directory.find('QmMore', NEVER)
    assert.equal(questions.length, MAX_LOOKUPS + 1)
  })

  test('holders that may not be asked are left out; where none is left, it is told', async () => {
    const { directory, questions, outcomes } = setup(() => false)
    const asked = directory.find('QmA', NEVER)
    questions[0]?.found(known('inside'))
    questions[0]?.end.resolve('asked')
    assert.deepEqual(await asked, [])
    assert.deepEqual(outcomes, ['QmA private', 'QmA none'])
  })

  test('closed, it ends its questions and asks no more', async () => {
    const { directory, questions, timers } = setup()
    const asked = directory.find('QmA', NEVER)
    directory.close()
    assert.equal(await asked, undefined)
    assert.equal(await directory.find('QmB', NEVER), undefined)
    assert.deepEqual([questions.length, timers.waiting, directory.asking], [1, 0, 0])
  })
})
