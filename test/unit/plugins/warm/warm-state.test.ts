import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ERRORS, RelayError, type ErrorCode } from '../../../../src/base/errors.ts'
import { MAX_KEPT_JOBS, MAX_OPEN_JOBS } from '../../../../src/plugins/jobs/jobs.ts'
import { MAX_RECENT } from '../../../../src/plugins/warm/recent.ts'
import { MAX_FAILURES } from '../../../../src/plugins/warm/warm-job.ts'
import { MAX_JOB_VIDEOS } from '../../../../src/plugins/warm/warm-request.ts'
import { loadWarmState, MAX_STATE_BYTES, MAX_VIDEOS, newWarmState, parseWarmState, warmStateText, type KeptWarmJob, type WarmState } from '../../../../src/plugins/warm/warm-state.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const CODES = Object.keys(ERRORS) as ErrorCode[]
const cid = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/)
const part = fc.oneof(fc.nat(13), fc.constant('manifest' as const))
const count = fc.nat()
const keptJob: fc.Arbitrary<KeptWarmJob> = fc.record({
  id: fc.uuid(),
  detail: fc.option(fc.string({ maxLength: 500 })),
  createdAt: count,
  ended: fc.option(fc.tuple(fc.constantFrom('done' as const, 'failed' as const, 'cancelled' as const), count)),
  source: fc.constantFrom('operator' as const, 'feed' as const),
  concurrency: fc.integer({ min: 1, max: 16 }),
  bytes: count,
  through: fc.record({ videos: fc.nat(1_000), fetched: count, present: count }),
  videos: fc.uniqueArray(fc.record({ cid, parts: fc.stringMatching(/^[-.+=!]{15}$/) }), { selector: video => video.cid, maxLength: 5 }),
  failures: fc.array(fc.record({ cid, part, code: fc.constantFrom(...CODES) }), { maxLength: 3 })
}).map(({ ended, ...job }) => ({ ...job, state: ended?.[0] ?? 'open', endedAt: ended?.[1] ?? null }))
const state: fc.Arbitrary<WarmState> = fc.record({
  version: fc.constant(1 as const),
  jobs: fc.uniqueArray(keptJob, { selector: ({ id }) => id, maxLength: 4 }),
  feed: fc.option(fc.record({ url: fc.webUrl(), etag: fc.option(fc.string({ maxLength: 100 })), cids: fc.array(cid, { maxLength: 5 }) }))
})

const LONG = 'x'.repeat(124)
const longCid = (n: number): string => `${LONG}${String(n).padStart(4, '0')}`

function job (id: number, overrides: Partial<KeptWarmJob> = {}): KeptWarmJob {
  return { id: `00-${id}`, state: 'open', detail: null, createdAt: 1, endedAt: null, source: 'operator', concurrency: 4, bytes: 0, through: { videos: 0, fetched: 0, present: 0 }, videos: [], failures: [], ...overrides }
}

const videosOf = (length: number): KeptWarmJob['videos'] => Array.from({ length }, (_, n) => ({ cid: longCid(n), parts: '.'.repeat(15) }))
const ended = { state: 'failed', endedAt: 2 } as const

suite('the state of warm jobs', () => {
  test('what is written is read', () => {
    fc.assert(fc.property(state, value => { assert.deepEqual(parseWarmState(warmStateText(value)), structuredClone(value)) }))
  })

  test('any other text is refused with a reason, and none does harm', () => {
    const refused = (text: string): void => {
      try {
        const value = parseWarmState(text)
        assert.deepEqual(parseWarmState(warmStateText(value)), value)
      } catch (error) {
        assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG' && error.message.length > 5, String(error))
      }
    }
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), refused))
    // Real ones with a character changed, or cut.
    fc.assert(fc.property(state, fc.nat(), fc.string({ minLength: 0, maxLength: 3 }), (value, at, put) => {
      const text = warmStateText(value)
      const place = at % text.length
      refused(text.slice(0, place) + put + text.slice(place + 1))
      refused(text.slice(0, place))
    }))
  })

  test('as much as there may be fits into the file, and more of anything is refused', () => {
    const failures = Array.from({ length: MAX_FAILURES }, (_, n) => ({ cid: longCid(n), part: 'manifest' as const, code: 'RELAY_ERR_UPSTREAM_RATE_LIMITED' as const }))
    const jobs = Array.from({ length: MAX_KEPT_JOBS }, (_, id) => job(id, { ...id < MAX_OPEN_JOBS ? {} : ended, failures, detail: 'd'.repeat(500), videos: id < MAX_VIDEOS / MAX_JOB_VIDEOS ? videosOf(MAX_JOB_VIDEOS) : [] }))
    const most: WarmState = { version: 1, jobs, feed: { url: `http://a/${'u'.repeat(2_000)}`, etag: 'e'.repeat(1_024), cids: Array.from({ length: MAX_RECENT }, (_, n) => longCid(n)) } }
    const text = warmStateText(most)
    assert.deepEqual(parseWarmState(text), most)
    assert.ok(text.length < MAX_STATE_BYTES, `${text.length}`)
    for (const [more, says] of [
      [{ ...most, jobs: [...jobs, job(1_000, ended)] }, /\/jobs must NOT have more than 100 items/],
      [{ ...newWarmState(), jobs: jobs.slice(0, MAX_OPEN_JOBS + 1).map((one, id) => job(id, { videos: one.videos.slice(0, 1) })) }, /more than 16 jobs are open/],
      [{ ...most, jobs: [...jobs.slice(0, -1), job(999, { ...ended, videos: videosOf(1) })] }, /more than 16000 videos/],
      [{ ...newWarmState(), jobs: [job(0, { videos: videosOf(MAX_JOB_VIDEOS + 1) })] }, /videos must NOT have more than 1000 items/],
      [{ ...newWarmState(), jobs: [job(0, { videos: [...videosOf(1), ...videosOf(1)] })] }, /has a video twice/],
      [{ ...newWarmState(), jobs: [job(0), job(0)] }, /two jobs have one id/],
      [{ ...newWarmState(), jobs: [job(0, { state: 'done' })] }, /has ended, or not/],
      [{ ...newWarmState(), version: 2 }, /of version 2, and this relay reads 1/],
      [{ ...newWarmState(), other: 1 }, /must NOT have additional properties/]
    ] as const) assert.throws(() => parseWarmState(JSON.stringify(more)), { code: 'RELAY_ERR_CONFIG', message: says })
  })

  test('no file is a new state; one that is too large is not read, and is moved aside with a line in the log', async t => {
    const file = join(await temporaryDirectory(t), 'warm-jobs.json')
    const told: unknown[] = []
    const load = async (): Promise<WarmState> => await loadWarmState(file, (message, fields) => { told.push([message, fields['reason']]) })
    assert.deepEqual([await load(), told], [newWarmState(), []])
    await writeFile(file, ' '.repeat(MAX_STATE_BYTES + 1))
    assert.deepEqual(await load(), newWarmState())
    assert.deepEqual(told, [['warm jobs of earlier cannot be read: none goes on', `it has ${MAX_STATE_BYTES + 1} bytes, and this relay reads ${MAX_STATE_BYTES}`]])
    assert.match((await readdir(join(file, '..'))).join(), /^warm-jobs\.json\.damaged-\d+$/)
  })
})
