import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { AskAdmin } from '../../../../src/cli/ask-admin.ts'
import { repairVideo, type RepairAnswer } from '../../../../src/cli/commands/repair.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { Jobs, MAX_KEPT_JOBS, MAX_OPEN_JOBS, type Job } from '../../../../src/plugins/jobs/jobs.ts'
import { RepairJob } from '../../../../src/plugins/jobs/repair-job.ts'
import { Restore, type ShardFate } from '../../../../src/plugins/jobs/restore.ts'
import type { CachedObject } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { bytesOf, until } from '../../../support/cache.ts'

interface Rig {
  readonly jobs: Jobs<RepairJob>
  repair (this: void, cid: string): Job<RepairJob>
}

const fates = (job: Job<RepairJob>): readonly ShardFate[] => job.work.report().shards

function setUp (shard: Restore['shard'], begin: Restore['begin'] = async () => () => ({ size: 1, sha256: '' })): Rig {
  let ids = 0
  const jobs = new Jobs<RepairJob>({ newId: () => `job-${ids++}`, now: () => 7, log: () => {} })
  return { jobs, repair: cid => jobs.add(new RepairJob(cid, { begin, shard, shards: Array.from({ length: 14 }, (_, part) => part) })) }
}

suite('jobs', { concurrency: false }, () => {
  test('the fate of each shard is told as it becomes known; the job fails when a shard is lost', async () => {
    const gates = Array.from({ length: 14 }, () => deferred<Exclude<ShardFate, 'pending'>>())
    const { repair } = setUp(async ({ part }) => await (gates[Number(part)]?.promise ?? Promise.reject(new Error('no such shard'))))
    const job = repair('QmA')
    assert.deepEqual([fates(job).length, new Set(fates(job)).size, job.endedAt], [14, 1, null])
    gates[0]?.resolve('present')
    gates[1]?.resolve('lost')
    await until(() => fates(job)[1] === 'lost')
    assert.deepEqual([job.state, fates(job).slice(0, 3)], ['running', ['present', 'lost', 'pending']])
    for (const gate of gates) gate.resolve('repaired')
    await until(() => job.endedAt !== null)
    assert.deepEqual([job.state, job.detail, job.endedAt], ['failed', 'without shards 1 (lost)', 7])
    assert.deepEqual(job.report(), { id: 'job-0', type: 'repair', cid: 'QmA', state: 'failed', detail: 'without shards 1 (lost)', shards: fates(job), createdAt: 7, endedAt: 7 })
  })

  test('what cannot begin says why, and the next job runs', async () => {
    const { repair } = setUp(async () => 'present', async cid => cid === 'QmA' ? await Promise.reject(new RelayError('RELAY_ERR_UNVERIFIED', 'no manifest of the CID is believed')) : () => ({ size: 1, sha256: '' }))
    const [first, second] = [repair('QmA'), repair('QmB')]
    await until(() => second.endedAt !== null)
    assert.deepEqual([first.state, first.detail, second.state, second.detail], ['failed', 'no manifest of the CID is believed', 'done', null])
  })

  test('one runs at a time, a CID has one open job, and no more are open or kept than may', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(30), { minLength: 1, maxLength: 300 }), async cids => {
      let running = 0
      let most = 0
      let gate = deferred<undefined>()
      const { jobs, repair } = setUp(async ({ part }) => {
        if (part !== 0) return 'present'
        most = Math.max(most, ++running)
        await gate.promise
        running--
        return 'present'
      })
      for (const [step, cid] of cids.entries()) {
        const open = jobs.list().filter(({ endedAt }) => endedAt === null)
        const same = open.find(job => job.work.subject === `Qm${cid}`)
        if (same !== undefined) assert.equal(repair(`Qm${cid}`), same)
        else if (open.length === MAX_OPEN_JOBS) assert.throws(() => repair(`Qm${cid}`), { code: 'RELAY_ERR_JOBS_BUSY' })
        else {
          const job = repair(`Qm${cid}`)
          assert.equal(jobs.list()[0], job)
        }
        assert.ok(jobs.list().length <= MAX_KEPT_JOBS && open.length <= MAX_OPEN_JOBS)
        if (step % 7 === 6) {
          const before = gate
          gate = deferred<undefined>()
          before.resolve(undefined)
          await new Promise(resolve => { setImmediate(resolve) })
        }
      }
      gate.resolve(undefined)
      await until(() => jobs.list().every(({ endedAt }) => endedAt !== null))
      assert.equal(most, 1)
      assert.ok(jobs.list().every(job => jobs.find(job.id) === job))
    }), { numRuns: 30 })
  })

  test('the newest are kept', async () => {
    const { jobs, repair } = setUp(async () => 'present')
    for (let n = 0; n < MAX_KEPT_JOBS + 20; n++) {
      const job = repair(`Qm${n}`)
      await until(() => job.endedAt !== null)
    }
    assert.deepEqual([jobs.list().length, jobs.list()[0]?.work.subject, jobs.find('job-19'), jobs.find('job-20')?.work.subject], [MAX_KEPT_JOBS, `Qm${MAX_KEPT_JOBS + 19}`, undefined, 'Qm20'])
  })

  test('a relay that stops ends what runs and what waits, and begins nothing', async () => {
    const { jobs, repair } = setUp(async (_key, _expected, signal) => await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) }))
    const [first, second] = [repair('QmA'), repair('QmB')]
    await until(() => first.state === 'running')
    await jobs.close()
    assert.deepEqual([first.state, second.state], ['stopped', 'stopped'])
    assert.throws(() => repair('QmC'), { code: 'RELAY_ERR_STOPPING' })
  })

  test('types do not wait for each other; one that is cancelled ends, the next of its type begins, and a repair is not tried again', async () => {
    let ids = 0
    const jobs = new Jobs({ newId: () => `job-${ids++}`, now: () => 7, log: () => {} })
    const add = (type: string): Job => jobs.add({
      type,
      subject: undefined,
      report: () => ({}),
      run: async signal => await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })
    })
    const [a, b, c, other] = [add('one'), add('one'), add('one'), add('two')]
    assert.deepEqual([a, b, c, other].map(({ state }) => state), ['running', 'waiting', 'waiting', 'running'])
    const changes: string[] = []
    const forget = jobs.onChange(job => { changes.push(`${job.id} ${job.state}`) })
    await jobs.cancel(b)
    await jobs.cancel(a)
    await jobs.cancel(a)
    await until(() => c.state === 'running')
    forget()
    assert.deepEqual(changes, ['job-1 cancelled', 'job-0 cancelled', 'job-2 running'])
    assert.deepEqual([a.detail, a.endedAt, b.endedAt], ['an operator has cancelled it', 7, 7])
    assert.throws(() => { jobs.retry(a) }, { code: 'RELAY_ERR_JOB_STATE', message: /of type one is not tried again/ })
    jobs.forget(c)
    jobs.forget(b)
    assert.deepEqual(jobs.list(), [other, c, a])
    await jobs.close()
  })
})

suite('restoring one shard', () => {
  const BODY = bytesOf('restore', 300_000)
  const EXPECTED = { size: BODY.length, sha256: sha256(BODY) }
  const KEY = { cid: 'QmA', part: 3 }
  const { signal } = new AbortController()

  /** A cache that has `cached`, and super-nodes and siblings of which `source` comes. */
  function restoreOf ({ cached, source, stores = true }: { cached?: Buffer, source?: { repaired: boolean } | RelayError, stores?: boolean }): { restore: Restore, log: string[] } {
    const log: string[] = []
    let has = cached !== undefined
    const restore = new Restore({
      cache: {
        has: () => has,
        purge: () => {
          log.push('purged')
          has = false
          return true
        },
        open: async () => cached === undefined ? undefined : { size: cached.length, read: async (at: number, length: number) => cached.subarray(at, at + length), release: () => { log.push('released') } } as unknown as CachedObject
      },
      shards: {
        openWhole: async () => {
          if (source === undefined || source instanceof RelayError) throw source ?? new Error('nobody should be asked')
          has = stores
          return { ...source, origin: { hit: false }, settled: Promise.resolve(), release: () => { log.push('source released') } } as unknown as Awaited<ReturnType<ConstructorParameters<typeof Restore>[0]['shards']['openWhole']>>
        }
      },
      integrity: { expects: async () => undefined },
      repair: { forget: () => {} }
    })
    return { restore, log }
  }

  test('what is there and right stays; what is there and wrong goes and comes back', async () => {
    const right = restoreOf({ cached: BODY })
    assert.equal(await right.restore.shard(KEY, EXPECTED, signal), 'present')
    const flipped = Buffer.from(BODY)
    flipped[100_000] = (flipped[100_000] ?? 0) ^ 1
    const wrong = restoreOf({ cached: flipped, source: { repaired: false } })
    assert.equal(await wrong.restore.shard(KEY, EXPECTED, signal), 'fetched')
    assert.deepEqual([right.log, wrong.log], [['released'], ['released', 'purged', 'source released']])
  })

  test('what is missing is fetched or repaired, or lost; what the cache does not keep is told', async () => {
    const fate = async (options: Parameters<typeof restoreOf>[0]): Promise<ShardFate> => await restoreOf(options).restore.shard(KEY, EXPECTED, signal)
    assert.equal(await fate({ source: { repaired: true } }), 'repaired')
    assert.equal(await fate({ source: { repaired: true }, stores: false }), 'unstored')
    assert.equal(await fate({ source: new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'gone') }), 'lost')
    await assert.rejects(fate({ source: new RelayError('RELAY_ERR_OVERLOADED', 'shed') }), { code: 'RELAY_ERR_OVERLOADED' })
  })

  test('without repair or manifests it is refused', async () => {
    const restore = new Restore({ cache: { has: () => false, purge: () => false, open: async () => undefined }, shards: { openWhole: async () => { throw new Error('unused') } }, integrity: undefined, repair: undefined })
    assert.throws(() => { restore.requireRepair() }, { code: 'RELAY_ERR_BAD_REQUEST' })
    const none = restoreOf({}).restore
    const expected = await none.begin('QmA')
    assert.throws(() => expected(0), { code: 'RELAY_ERR_UNVERIFIED' })
  })
})

test('icn-relay repair tells each shard once and the end', async () => {
  const rest: ShardFate[] = Array.from({ length: 12 }, () => 'present')
  const answers: RepairAnswer[] = [
    { id: 'a', state: 'waiting', detail: null, shards: Array.from({ length: 14 }, () => 'pending') },
    { id: 'a', state: 'running', detail: null, shards: ['present', 'pending', ...rest] },
    { id: 'a', state: 'done', detail: null, shards: ['present', 'repaired', ...rest] }
  ]
  const asked: unknown[] = []
  const lines: string[] = []
  const ask: AskAdmin<RepairAnswer> = async (path, body) => {
    asked.push([path, body])
    return answers.shift() ?? assert.fail('asked too often')
  }
  assert.equal((await repairVideo(ask, 'QmA', line => { lines.push(line) }, async () => {})).state, 'done')
  assert.deepEqual(asked, [['/jobs', { type: 'repair', cid: 'QmA' }], ['/jobs/a', undefined], ['/jobs/a', undefined]])
  assert.deepEqual([lines.length, lines[0], lines[13], lines[14]], [15, 'shard 0: present (1 of 14)', 'shard 1: repaired (14 of 14)', 'QmA: done'])
})
