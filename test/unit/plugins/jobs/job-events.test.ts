import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { AnyWork } from '../../../../src/plugins/jobs/any-work.ts'
import { COMMENT_MS } from '../../../../src/base/event-stream.ts'
import { EVERY_MS, JobEvents, MAX_LISTENERS } from '../../../../src/plugins/jobs/job-events.ts'
import { Job } from '../../../../src/plugins/jobs/jobs.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

interface Rig {
  readonly events: JobEvents
  readonly timers: VirtualTimers
  readonly job: Job<AnyWork>
  change (this: void, progress?: number): void
}

function setUp (): Rig {
  const timers = virtualTimers()
  const watchers = new Set<(job: Job<AnyWork>) => void>()
  let progress = 0
  const work = { type: 'repair', subject: 'QmA', report: () => ({ progress, filling: 'x'.repeat(1_000) }), run: async () => null } as unknown as AnyWork
  const job = new Job(work, { id: 'a', createdAt: 1, state: 'running', detail: null, endedAt: null })
  return {
    timers,
    job,
    events: new JobEvents({ timers, jobs: { onChange: watcher => { watchers.add(watcher); return () => { watchers.delete(watcher) } } } }),
    change: (now = progress) => {
      progress = now
      for (const watcher of watchers) watcher(job)
    }
  }
}

const progressOf = (text: string): unknown[] => [...text.matchAll(/event: (\w+)\ndata: .*"progress":(\d+)/g)].map(([, event, progress]) => [event, Number(progress)])

suite('events of jobs', () => {
  test('the first comes now, others not more often than they may, and always the latest; after silence a comment', async () => {
    const { events, timers, job, change } = setUp()
    const stream = events.listen(job).setEncoding('utf8')
    const read = (): string => String(stream.read() ?? '')
    assert.match(read(), /^id: 1\nevent: progress\ndata: \{"id":"a","state":"running".*\}\n\n$/)
    for (let n = 1; n <= 5; n++) change(n)
    assert.equal(read(), '')
    await timers.pass(EVERY_MS)
    assert.deepEqual(progressOf(read()), [['progress', 5]])
    for (const ms of [EVERY_MS + COMMENT_MS, COMMENT_MS]) {
      await timers.pass(ms)
      assert.equal(read(), ':\n\n')
    }
    change(6)
    assert.deepEqual(progressOf(read()), [['progress', 6]])
    change(7)
    job.state = 'done'
    change(8)
    assert.deepEqual(progressOf(read()), [['end', 8]])
    await new Promise(resolve => { stream.once('close', resolve).resume() })
    assert.deepEqual([events.listeners, timers.waiting], [0, 0])
  })

  test('whoever does not read loses events and keeps nothing waiting; the end is not lost', async () => {
    const { events, timers, job, change } = setUp()
    const stream = events.listen(job)
    for (let n = 1; n <= 1_000; n++) {
      change(n)
      await timers.pass(EVERY_MS)
    }
    assert.ok(stream.readableLength < 20_000, `${stream.readableLength} bytes`)
    job.state = 'failed'
    change()
    const text = (await stream.toArray()).join('')
    assert.ok(progressOf(text).length < 20)
    assert.deepEqual(progressOf(text).at(-1), ['end', 1_000])
  })

  test('so many listen and no more; with the relay all end, and who has not read is cut off', async () => {
    const { events, job, change } = setUp()
    const streams = Array.from({ length: MAX_LISTENERS }, () => events.listen(job))
    assert.throws(() => events.listen(job), { code: 'RELAY_ERR_EVENTS_BUSY' })
    streams[0]?.destroy()
    await new Promise(resolve => { setImmediate(resolve) })
    const [reading] = streams.splice(0, 2, events.listen(job)).slice(1)
    const text = reading?.toArray()
    await new Promise(resolve => { setImmediate(resolve) })
    events.close()
    events.close()
    change(3)
    assert.deepEqual(progressOf(((await text) ?? []).join('')), [['progress', 0]])
    assert.ok(streams.every(({ destroyed }) => destroyed))
    assert.throws(() => events.listen(job), { code: 'RELAY_ERR_STOPPING' })
  })
})
