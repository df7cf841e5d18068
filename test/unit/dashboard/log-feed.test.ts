import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ApiError } from '../../../dashboard/src/model/api.ts'
import { LogFeed, MAX_LINES, queryOf, type LogFilter } from '../../../dashboard/src/model/log-feed.ts'
import { virtualTimers } from '../../fakes/timers.ts'

const ALL: LogFilter = { object: '', address: '', status: '', slowerThanMs: '', admin: false }

const event = (record: Record<string, unknown>, name = 'request'): string => `event: ${name}\ndata: ${JSON.stringify(record)}\n\n`

/** @param answers what the stream gives each time it is joined; it stays open after the last piece of an endless one */
function rig (answers: readonly (readonly string[] | Error)[]) {
  const timers = virtualTimers()
  const paths: string[] = []
  const signals: AbortSignal[] = []
  const feed = new LogFeed({
    timers,
    changed: () => {},
    api: {
      stream: async function * (path, signal) {
        const answer = answers[paths.length] ?? []
        paths.push(path)
        signals.push(signal)
        if (answer instanceof Error) throw answer
        yield * answer
        if (answer.at(-1) === ':open\n\n') await new Promise(resolve => { signal.addEventListener('abort', resolve) })
      }
    }
  })
  return { feed, timers, paths, signals }
}

suite('the log as it happens', () => {
  test('filters go along, those that say nothing do not', () => {
    assert.equal(queryOf(ALL), '')
    assert.equal(queryOf({ ...ALL, object: 'a b/&c', status: '5xx', slowerThanMs: '100', admin: true }), '?object=a+b%2F%26c&status=5xx&slowerThanMs=100')
  })

  test('lines are shown a few times a second, the latest are kept, and losses are told', async () => {
    const many = Array.from({ length: MAX_LINES + 50 }, (_, n) => event({ kind: 'hit', url: `/${n}` }))
    const { feed, timers } = rig([[...many, event({ records: 3 }, 'lost'), event({ records: 'x' }, 'lost'), 'event: request\ndata: {\n\n', event({ kind: 'admin' }), event({ kind: 'scrape' }), ':open\n\n']])
    feed.start(ALL)
    await timers.pass(0)
    await new Promise(resolve => { setImmediate(resolve) })
    assert.deepEqual([feed.state, feed.lines.length], ['live', 0])
    await timers.pass(250)
    assert.deepEqual([feed.lines.length, feed.lines.at(-1)?.record.url, feed.lost], [MAX_LINES, `/${MAX_LINES + 49}`, 3])
    feed.clear()
    assert.deepEqual([feed.lines.length, feed.lost], [0, 0])
    feed.stop()
    assert.equal(timers.waiting, 0)
  })

  test('requests of operators are shown to those who ask for them', async () => {
    const { feed, timers } = rig([[event({ kind: 'admin' }), ':open\n\n']])
    feed.start({ ...ALL, admin: true })
    await new Promise(resolve => { setImmediate(resolve) })
    await timers.pass(250)
    assert.equal(feed.lines.length, 1)
    feed.stop()
  })

  test('a stream that ends or fails is joined again, and one that is refused is not', async () => {
    const { feed, timers, paths } = rig([[event({ kind: 'hit' })], new TypeError('gone'), new ApiError(503, 'RELAY_ERR_EVENTS_BUSY', 'busy'), new ApiError(400, 'RELAY_ERR_BAD_REQUEST', 'no')])
    feed.start(ALL)
    await new Promise(resolve => { setImmediate(resolve) })
    assert.equal(feed.state, 'waiting')
    await timers.pass(60_000)
    assert.deepEqual([paths.length, feed.state, feed.error?.code, timers.waiting], [4, 'waiting', 'RELAY_ERR_BAD_REQUEST', 0])
  })

  test('another filter, and the end, give up the stream of before', async () => {
    const { feed, timers, signals, paths } = rig([[':open\n\n'], [':open\n\n']])
    feed.start(ALL)
    feed.start({ ...ALL, status: '404' })
    await new Promise(resolve => { setImmediate(resolve) })
    assert.deepEqual([signals.map(({ aborted }) => aborted), paths.at(-1)], [[true, false], '/log/stream?status=404'])
    feed.stop()
    assert.deepEqual([signals[1]?.aborted, timers.waiting, feed.state], [true, 0, 'off'])
  })
})
