import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { DATA_SHARDS, keyId } from '../../../../src/protocol/shard-key.ts'
import { Jobs, type Job } from '../../../../src/plugins/jobs/jobs.ts'
import { LOOK_MS, MAX_FAILURES, PAUSE_MS, TRIES, WarmJob, type WarmRelay } from '../../../../src/plugins/warm/warm-job.ts'
import { wantedVideo } from '../../../../src/plugins/warm/warm-list.ts'
import { jobOf, keptJob, parseWarmState, warmStateText } from '../../../../src/plugins/warm/warm-state.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const BYTES = 1_000

type Fate = 'fetched' | 'unstored' | 'present' | 'missing' | 'unreachable' | 'busy' | 'broken'

const ERRORS_OF = {
  missing: () => new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it'),
  unreachable: () => new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', 'nobody answers'),
  busy: () => new RelayError('RELAY_ERR_FILLS_BUSY', 'too many'),
  broken: () => new Error('boom')
} as const

interface Rig {
  readonly timers: VirtualTimers
  readonly relay: WarmRelay
  readonly cache: Set<string>
  /** Keys in the order they were asked for, with the time. */
  readonly asked: [string, number][]
  readonly forgotten: string[]
  most: number
  hold: ReturnType<WarmRelay['holds']>
  fate: (id: string) => Fate
}

function setUp (ms = 10): Rig {
  const virtual = virtualTimers()
  const timers: VirtualTimers = {
    ...virtual,
    get waiting () { return virtual.waiting },
    // What was just set off gets to where it waits.
    pass: async time => {
      await nextTurn()
      await virtual.pass(time)
    }
  }
  let running = 0
  const rig: Rig = {
    timers,
    cache: new Set(),
    asked: [],
    forgotten: [],
    most: 0,
    hold: undefined,
    fate: () => 'fetched',
    relay: {
      cached: key => rig.cache.has(keyId(key)),
      bring: async (key, signal) => {
        const id = keyId(key)
        rig.asked.push([id, timers.now()])
        rig.most = Math.max(rig.most, ++running)
        assert.ok(!rig.cache.has(id), `${id} is fetched again`)
        try {
          await new Promise<void>((resolve, reject) => {
            timers.after(ms, resolve)
            signal.addEventListener('abort', () => { reject(signal.reason as Error) }, { once: true })
          })
        } finally {
          running--
        }
        const fate = rig.fate(id)
        if (fate in ERRORS_OF) throw ERRORS_OF[fate as keyof typeof ERRORS_OF]()
        if (fate !== 'unstored') rig.cache.add(id)
        return { bytes: BYTES, fetched: fate !== 'present', stored: fate !== 'unstored' }
      },
      holds: () => rig.hold,
      tag: () => {},
      forgetMissing: matches => { rig.forgotten.push(...['QmA/0', 'QmZ/0'].filter(matches)) },
      timers,
      random: () => 0.5,
      observer: { settled: () => {} }
    }
  }
  return rig
}

const DATA = ['manifest' as const, ...Array.from({ length: DATA_SHARDS }, (_, part) => part)]

function begin (rig: Rig, cids: readonly string[] = ['QmA'], concurrency = 4): { jobs: Jobs<WarmJob>, job: Job<WarmJob> } {
  let ids = 0
  const jobs = new Jobs<WarmJob>({ newId: () => `0${ids++}`, now: () => 7, log: () => {} })
  return { jobs, job: jobs.add(new WarmJob({ source: 'operator', concurrency, videos: cids.map(cid => wantedVideo(cid, DATA)) }, rig.relay)) }
}

suite('a warm job', () => {
  test('so many objects at the same time and no more; bytes, rate and the time that is left', async () => {
    const rig = setUp(1_000)
    const { job } = begin(rig, ['QmA'], 3)
    await rig.timers.pass(2_000)
    assert.deepEqual(job.report(), {
      id: '00',
      type: 'warm',
      state: 'running',
      detail: null,
      createdAt: 7,
      endedAt: null,
      source: 'operator',
      videos: 1,
      concurrency: 3,
      waitsFor: null,
      counts: { total: 11, pending: 5, fetched: 6, present: 0, failed: 0 },
      bytes: 6 * BYTES,
      bytesPerSecond: 3 * BYTES,
      etaSeconds: 2,
      failures: []
    })
    await rig.timers.pass(2_000)
    assert.deepEqual([job.state, job.work.counts.fetched, rig.most, rig.asked[0]?.[0]], ['done', 11, 3, 'QmA/manifest'])
    assert.deepEqual([job.report().bytesPerSecond, job.report().etaSeconds, rig.timers.waiting], [0, null, 0])
  })

  test('what is cached is not opened; what a viewer has brought in counts as present; what the cache does not keep has failed', async () => {
    const rig = setUp()
    rig.cache.add('QmA/3')
    rig.fate = id => id === 'QmA/4' ? 'present' : id === 'QmA/5' ? 'unstored' : 'fetched'
    const { job } = begin(rig)
    await rig.timers.pass(1_000)
    assert.deepEqual(job.work.counts, { total: 11, pending: 0, fetched: 8, present: 2, failed: 1 })
    assert.deepEqual([job.state, job.detail, job.report().bytes, job.report().failures], ['failed', '1 of 11 objects could not be brought in', 8 * BYTES, [{ cid: 'QmA', part: 5, code: 'RELAY_ERR_NOT_CACHED' }]])
    assert.ok(!rig.asked.some(([id]) => id === 'QmA/3'))
  })

  test('while it is held nothing is asked for, and it says why', async () => {
    const rig = setUp()
    rig.hold = 'load'
    const { job } = begin(rig)
    await rig.timers.pass(10 * LOOK_MS)
    assert.deepEqual([rig.asked.length, job.report().waitsFor, job.state], [0, 'load', 'running'])
    rig.hold = 'drain'
    await rig.timers.pass(LOOK_MS)
    assert.equal(job.report().waitsFor, 'drain')
    rig.hold = undefined
    await rig.timers.pass(2 * LOOK_MS)
    assert.deepEqual([job.state, job.report().waitsFor], ['done', null])
  })

  test('super-nodes that deliver nothing are asked less and less; what they do not deliver in several tries has failed, the list of failures has an end', async () => {
    const rig = setUp()
    rig.fate = () => 'unreachable'
    const { job } = begin(rig, ['QmA', 'QmB', 'QmC'], 4)
    await rig.timers.pass(PAUSE_MS)
    assert.deepEqual([rig.asked.length, job.report().waitsFor], [4, 'super-nodes'])
    await rig.timers.pass(3_600_000)
    assert.deepEqual([job.state, rig.asked.length, job.work.counts.failed, job.report().failures.length], ['failed', 33 * TRIES, 33, MAX_FAILURES])
    const pauses = rig.asked.map(([, at], n) => at - (rig.asked[n - 1]?.[1] ?? at)).filter(pause => pause > 0)
    assert.deepEqual(pauses.slice(0, 4), [510, 1_010, 2_010, 4_010])
    assert.equal(Math.max(...pauses), 30_010)
    // Between two tries of one all others have their turn.
    assert.equal(new Set(rig.asked.slice(0, 33).map(([id]) => id)).size, 33)
  })

  test('that the relay has no room is no word about an object; one that comes ends the pauses', async () => {
    const rig = setUp()
    rig.fate = () => 'busy'
    const { job } = begin(rig, ['QmA'], 1)
    await rig.timers.pass(3_600_000)
    assert.ok(rig.asked.length > 11 * TRIES)
    assert.deepEqual([job.state, job.work.counts.failed], ['running', 0])
    rig.fate = () => 'fetched'
    await rig.timers.pass(30_000 + 11 * 10)
    assert.deepEqual([job.state, job.work.counts.fetched], ['done', 11])
  })

  test('a retry asks for what failed, also when nobody had it a moment ago, and while the rest is under way', async () => {
    const rig = setUp()
    rig.fate = id => id === 'QmA/manifest' ? 'missing' : 'fetched'
    const { jobs, job } = begin(rig, ['QmA'], 1)
    await rig.timers.pass(25)
    assert.deepEqual([job.state, job.work.counts.failed, rig.forgotten], ['running', 1, []])
    rig.fate = () => 'fetched'
    jobs.retry(job)
    assert.deepEqual([rig.forgotten, job.report().failures, job.work.counts.failed], [['QmA/0'], [], 0])
    await rig.timers.pass(1_000)
    assert.deepEqual([job.state, job.detail, job.work.counts.fetched], ['done', null, 11])
    assert.throws(() => { jobs.retry(job) }, { code: 'RELAY_ERR_JOB_STATE' })
  })

  test('cancelled or stopped it ends immediately; what was under way is pending', async () => {
    const rig = setUp()
    const { jobs, job } = begin(rig)
    const waiting = jobs.add(new WarmJob({ source: 'feed', concurrency: 1, videos: [wantedVideo('QmB', [0])] }, rig.relay))
    await rig.timers.pass(15)
    await jobs.cancel(job)
    assert.deepEqual([job.state, job.work.counts.pending, job.detail], ['cancelled', 7, 'an operator has cancelled it'])
    await nextTurn()
    assert.equal(waiting.state, 'running')
    await jobs.close()
    assert.deepEqual([waiting.state, keptJob(waiting).state, keptJob(waiting).endedAt, keptJob(job).state], ['stopped', 'open', null, 'cancelled'])
    assert.throws(() => { jobs.retry(job) }, { code: 'RELAY_ERR_STOPPING' })
  })

  test('in whatever order objects come and fail, a job is cancelled, tried again, held, and the relay crashes: nothing is fetched that is there, and in the end all of it is', async () => {
    const fates = fc.array(fc.constantFrom<Fate>('fetched', 'fetched', 'fetched', 'present', 'missing', 'unreachable', 'busy', 'broken'), { minLength: 1, maxLength: 40 })
    const operations = fc.array(fc.constantFrom('pass', 'pass', 'long', 'cancel', 'retry', 'crash', 'save', 'hold', 'free'), { maxLength: 40 })
    await fc.assert(fc.asyncProperty(fates, operations, fc.integer({ min: 1, max: 6 }), async (outcomes, steps, concurrency) => {
      const rig = setUp()
      let outcome = 0
      rig.fate = () => outcomes[outcome++ % outcomes.length] ?? 'fetched'
      let { jobs, job } = begin(rig, ['QmA', 'QmB'], concurrency)
      let kept = keptJob(job)
      for (const step of steps) {
        if (step === 'pass') await rig.timers.pass(15)
        else if (step === 'long') await rig.timers.pass(20_000)
        else if (step === 'cancel') await jobs.cancel(job)
        else if (step === 'hold') rig.hold = 'load'
        else if (step === 'free') rig.hold = undefined
        else if (step === 'save') kept = keptJob(job)
        else if (step === 'retry') {
          const { counts } = job.work
          if (counts.failed > 0 || counts.pending > 0) jobs.retry(job)
          else assert.throws(() => { jobs.retry(job) }, { code: 'RELAY_ERR_JOB_STATE' })
        } else {
          // What the old one has under way comes to nothing: nobody is there any more.
          await jobs.close()
          const [parsed = assert.fail()] = parseWarmState(warmStateText({ version: 1, jobs: [kept], feed: null })).jobs
          jobs = new Jobs<WarmJob>({ newId: () => 'new', now: () => 7, log: () => {} })
          job = jobOf(parsed, rig.relay)
          jobs.takeOver(job)
        }
        const { total, pending, fetched, present, failed } = job.work.counts
        assert.deepEqual([total, pending + fetched + present + failed], [22, 22])
        assert.ok(rig.most <= concurrency)
      }
      rig.hold = undefined
      rig.fate = () => 'fetched'
      for (let time = 0; job.state !== 'done'; time++) {
        assert.ok(time < 5, `${job.state} ${JSON.stringify(job.work.counts)}`)
        await rig.timers.pass(60_000)
        if (job.state === 'failed' || job.state === 'cancelled') jobs.retry(job)
      }
      assert.equal(rig.cache.size, 22)
      assert.deepEqual([job.work.counts.pending, job.work.counts.failed], [0, 0])
    }), { numRuns: 60 })
  })
})
