import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import type { AnyWork } from '../../../../src/plugins/jobs/any-work.ts'
import { Jobs, MAX_OPEN_JOBS } from '../../../../src/plugins/jobs/jobs.ts'
import type { WarmRelay } from '../../../../src/plugins/warm/warm-job.ts'
import { MAX_JOB_VIDEOS } from '../../../../src/plugins/warm/warm-request.ts'
import { KEEP_MS, WarmService } from '../../../../src/plugins/warm/warm-service.ts'
import { MAX_VIDEOS, newWarmState, parseWarmState, type WarmState } from '../../../../src/plugins/warm/warm-state.ts'
import { until } from '../../../support/cache.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

interface Rig {
  readonly service: WarmService
  readonly jobs: Jobs<AnyWork>
  readonly timers: VirtualTimers
  /** `flush`, and each text that was kept. */
  readonly log: string[]
  readonly told: string[]
  readonly forgotten: string[]
  fails: boolean
}

/** Until its signal aborts. */
const hangs: WarmRelay['bring'] = async (_key, signal) => await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })

function setUp (bring: WarmRelay['bring'] = hangs, state: WarmState = newWarmState()): Rig {
  const timers = virtualTimers()
  let ids = 0
  const jobs = new Jobs<AnyWork>({ newId: () => `0${ids++}`, now: () => 7, log: () => {} })
  const log: string[] = []
  const told: string[] = []
  const forgotten: string[] = []
  const relay: WarmRelay = { cached: () => false, bring, holds: () => undefined, forgetMissing: matches => { forgotten.push(...['Qm0/3', 'QmOther/3'].filter(matches)) }, tag: () => {}, timers, random: () => 0.5, observer: { settled: () => {} } }
  const rig: Rig = {
    jobs,
    timers,
    log,
    told,
    forgotten,
    fails: false,
    service: new WarmService({
      jobs,
      relay,
      state,
      concurrency: 4,
      manifestPath: '/shards/{cid}/manifest.json',
      keep: async text => {
        if (rig.fails) throw new Error('ENOSPC')
        log.push(text)
      },
      flushIndex: async () => { log.push('flush') },
      timers,
      log: message => { told.push(message) }
    })
  }
  return rig
}

const cids = (count: number, from = 0): string[] => Array.from({ length: count }, (_, n) => `Qm${from + n}`)
const missing = async (): Promise<never> => await Promise.reject(new Error('nobody waits for it'))

suite('warm jobs of a relay', () => {
  test('a job is kept when it is queued, after the index; what is the same is not written again', async () => {
    const { service, log, forgotten } = setUp()
    const job = await service.begin({ cids: ['Qm0'] })
    assert.equal(log[0], 'flush')
    const [kept] = parseWarmState(log[1] ?? '').jobs
    assert.deepEqual([kept?.id, kept?.state, kept?.concurrency, kept?.videos], [job.id, 'open', 4, [{ cid: 'Qm0', parts: '..........----.' }]])
    assert.deepEqual(forgotten, ['Qm0/3'])
    await service.save()
    assert.equal(log.length, 2)
  })

  test('progress is kept a while later, and in the end; a job that the relay has stopped is open', async () => {
    const gates = Array.from({ length: 11 }, () => deferred<{ bytes: number, fetched: boolean, stored: boolean }>())
    let next = 0
    const { service, jobs, timers, log } = setUp(async (_key, signal) => {
      const gate = gates[next++]
      signal.addEventListener('abort', () => { gate?.reject(signal.reason as Error) })
      return await (gate?.promise ?? missing())
    })
    const job = await service.begin({ cids: ['Qm0'], concurrency: 2 })
    const written = log.length
    gates[0]?.resolve({ bytes: 5, fetched: true, stored: true })
    await until(() => next === 3)
    assert.equal(log.length, written)
    await timers.pass(KEEP_MS)
    assert.match(log.at(-1) ?? '', /"bytes":5.*"parts":"\.{10}----\+"/)
    await jobs.close()
    await service.close()
    assert.equal(job.state, 'stopped')
    const again = setUp(undefined, parseWarmState(log.at(-1) ?? ''))
    assert.deepEqual(again.service.list().map(({ id, state, work }) => [id, state, work.counts.fetched, work.counts.pending]), [[job.id, 'running', 1, 10]])
  })

  test('a disk that refuses is told once, and jobs go on', async () => {
    const rig = setUp()
    rig.fails = true
    await rig.service.begin({ cids: ['Qm0'] })
    await rig.service.begin({ cids: ['Qm1'] })
    assert.deepEqual([rig.told, rig.service.list().length], [['warm jobs cannot be kept: they would end with the relay'], 2])
    rig.fails = false
    await rig.service.save()
    assert.equal(parseWarmState(rig.log.at(-1) ?? '').jobs.length, 2)
  })

  test('no more jobs are open than may be, and no more videos are kept: jobs that have ended make room, the oldest first', async () => {
    const { service, jobs } = setUp()
    const full = MAX_VIDEOS / MAX_JOB_VIDEOS
    assert.ok(full <= MAX_OPEN_JOBS)
    for (let n = 0; n < full - 1; n++) await service.begin({ cids: cids(MAX_JOB_VIDEOS) })
    await service.begin({ cids: cids(MAX_JOB_VIDEOS - 1) })
    await assert.rejects(service.begin({ cids: cids(2) }), { code: 'RELAY_ERR_JOBS_BUSY', message: /15999 videos left, and there may be 16000/ })
    const [newest, ...older] = service.list()
    await jobs.cancel(older.at(-1) ?? assert.fail())
    await service.begin({ cids: cids(1) })
    assert.equal(service.list().length, full + 1)
    // One more does not fit beside what the cancelled job has left.
    await jobs.cancel(newest ?? assert.fail())
    await service.begin({ cids: cids(2) })
    assert.ok(service.list().reduce((sum, { work }) => sum + work.listed, 0) <= MAX_VIDEOS)
    assert.equal(jobs.find('00'), undefined)
    assert.equal(service.states().get('cancelled'), 1)
    const small = setUp()
    for (let n = 0; n < MAX_OPEN_JOBS; n++) await small.service.begin({ cids: cids(1, n) })
    await assert.rejects(small.service.begin({ cids: cids(1) }), { code: 'RELAY_ERR_JOBS_BUSY', message: '16 jobs of type warm wait or run already' })
  })

  test('what the feed has is kept with the job it asks for', async () => {
    const { service, log } = setUp()
    const feed = { url: 'http://a/recent', etag: '"1"', cids: ['Qm0'] }
    await service.begin({ cids: ['Qm0'] }, 'feed', feed)
    assert.deepEqual([parseWarmState(log.at(-1) ?? '').feed, service.list()[0]?.work.source], [feed, 'feed'])
    await service.keepFeed({ ...feed, etag: null })
    assert.equal(parseWarmState(log.at(-1) ?? '').feed?.etag, null)
  })
})
