/** The pure parts of `npm run compare`. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { chart } from '../../../compare/chart.ts'
import { parseSummary, parseTimes } from '../../../compare/clients/h2load.ts'
import { dueMs, runLoad, type Fetcher, type LoadClock } from '../../../compare/clients/load.ts'
import { END, START, replaceMeasured } from '../../../compare/document.ts'
import { judgeGoals } from '../../../compare/goals.ts'
import { parseOptions } from '../../../compare/options.ts'
import { fillTemplate } from '../../../compare/peers/peer.ts'
import type { Metric, Row, Sample, ScenarioResult } from '../../../compare/result.ts'
import { orderOf, runScenario, type Contender, type Scenario } from '../../../compare/scenario.ts'
import { namesOf, select } from '../../../compare/selection.ts'
import { median } from '../../../tools/harness/median.ts'
import { pairedRatio, quantile } from '../../../compare/statistics.ts'
import { goalsText, markdown, scenarioText } from '../../../compare/table.ts'

const sample = (metrics: Sample['metrics'], errors: string[] = []): Sample => ({ metrics, errors })
const row = (contender: string, runs: readonly Sample['metrics'][]): Row => ({ contender, label: contender, runs: runs.map(metrics => sample(metrics)) })
const result = (id: string, rows: readonly Row[], columns: readonly Metric[] = ['mbPerSecond', 'serverCpuMsPerMb']): ScenarioResult => ({ id, title: `title of ${id}`, method: 'by hand', columns, rows })

test('median and quantile lie between smallest and largest, and half of the values are on either side', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 2, 3]), 2.5)
  assert.ok(Number.isNaN(median([])))
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2)
  assert.equal(quantile([1, 2, 3, 4], 0.99), 4)
  assert.ok(Number.isNaN(quantile([], 0.5)))
  fc.assert(fc.property(fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 }), fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
    const sorted = values.toSorted((a, b) => a - b)
    const middle = median(values)
    assert.ok(values.filter(value => value <= middle).length * 2 >= values.length && values.filter(value => value >= middle).length * 2 >= values.length)
    const at = quantile(sorted, q)
    assert.ok(values.includes(at))
    assert.ok(sorted.filter(value => value <= at).length >= q * sorted.length)
  }))
})

test('a ratio compares runs with their neighbours only', () => {
  // Both fall to a tenth in the second run, so the ratio of the medians would be the same; the third run lacks one side.
  assert.deepEqual(pairedRatio([200, 20, undefined], [100, 10, 50]), { median: 2, min: 2, max: 2 })
  assert.deepEqual(pairedRatio([1, 4], [2, 2]), { median: 1.25, min: 0.5, max: 2 })
  assert.equal(pairedRatio([1, undefined], [0, 1]), undefined)
  assert.equal(pairedRatio([], []), undefined)
})

test('a table shows medians with the spread of throughput, errors, and reasons', () => {
  const text = scenarioText(result('hot', [
    row('a', [{ mbPerSecond: 100, serverCpuMsPerMb: 0.5 }, { mbPerSecond: 300, serverCpuMsPerMb: 0.25 }, { mbPerSecond: 200, serverCpuMsPerMb: 0.75 }]),
    { contender: 'b', label: 'b', runs: [sample({ mbPerSecond: 5 }, ['broke'])] },
    { contender: 'c', label: 'c', runs: [], unavailable: 'not | installed\nhere' }
  ]))
  assert.match(text, /^### title of hot\n\nby hand\n\n\| server \| MB\/s \| server CPU ms\/MB \|\n\| --- \| ---: \| ---: \|\n/)
  assert.match(text, /\| a \| 200 \(100–300\) \| 0\.50 \|/)
  assert.match(text, /\| b \(1 errors\) \| 5 \| {2}\|/)
  assert.match(text, /\| c \| not measured: not \\\| installed here \| {2}\|/)
  assert.equal(markdown(['x'], []), '| x |\n| --- |')
})

test('generated text replaces what stood between the markers, and nothing else', () => {
  const before = `# title\n${START}\nold\n${END}\ntail\n`
  const after = replaceMeasured(before, '\nnew\n')
  assert.equal(after, `# title\n${START}\n\nnew\n\n${END}\ntail\n`)
  assert.equal(replaceMeasured(after, 'new'), after)
  for (const bad of ['', START, `${END}${START}`, `${START}${START}${END}`, `${START}${END}${END}`]) assert.throws(() => replaceMeasured(bad, 'x'), /needs one/)
})

test('the chart has a bar for each value, escapes names and says what is missing', () => {
  const svg = chart([
    result('hot', [row('relay', [{ mbPerSecond: 100, serverCpuMsPerMb: 1 }]), row('<other> & "co"', [{ mbPerSecond: 50, serverCpuMsPerMb: 2 }]), { contender: 'gone', label: 'gone', runs: [], unavailable: 'x' }]),
    result('memory', [row('relay', [{ kbPerSession: 1 }])], ['kbPerSession'])
  ], 'a < b')
  const widths = [...svg.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map(match => Number(match[1]))
  assert.equal(widths.length, 4)
  const [fast = 0, slow = 0, cheap = 0, dear = 0] = widths
  assert.ok(Math.abs(fast / slow - 2) < 0.01 && Math.abs(dear / cheap - 2) < 0.01, widths.join(' '))
  assert.equal(svg.match(/>not measured</g)?.length, 2)
  assert.ok(svg.includes('&lt;other&gt; &amp; &quot;co&quot;') && svg.includes('<title>a &lt; b</title>') && !svg.includes('title of memory'))
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/)
})

test('goals are judged by ratios of the same run and tell why they could not be', () => {
  const hot = (relay: number): ScenarioResult => result('hot-1mb', [row('nginx', [{ mbPerSecond: 100, serverCpuMsPerMb: 1 }]), row('relay', [{ mbPerSecond: relay, serverCpuMsPerMb: 2 }]), { contender: 'varnish', label: 'Varnish', runs: [], unavailable: 'not installed' }])
  const [nginx] = judgeGoals([hot(99)])
  assert.deepEqual(nginx, { goal: 'hot hit, 1 MB: MB/s at least 1.0× nginx sendfile', measured: '0.99× (0.99–0.99); server CPU per MB 2.00×', reached: false })
  const goals = judgeGoals([
    hot(100),
    result('viewers', [row('relay', [{ firstByteP99Ms: 49, mbPerSecond: 79, ceilingMbPerSecond: 100 }])]),
    result('memory', [row('webtransport', [{ kbPerSession: 69, sessions: 1_000 }]), row('websocket', [{ kbPerSession: 99, sessions: 999 }])]),
    result('sessions-1mb', [row('webtransport', [{ serverCpuMsPerMb: 14 }]), { contender: 'fails', label: 'fails', runs: [], unavailable: 'not installed' }])
  ])
  const find = (start: string): string[] => goals.filter(({ goal }) => goal.startsWith(start)).map(({ measured, reached }) => `${String(reached)} ${measured}`)
  assert.deepEqual(find('hot hit, 1 MB'), ['true 1.00× (1.00–1.00); server CPU per MB 2.00×', 'undefined Varnish: not installed'])
  assert.deepEqual(find('hot hit, 8 MB')[0], 'undefined was not asked for')
  assert.deepEqual(find('100 viewers'), ['true 49.0 ms at 79 MB/s, 79 % of the ceiling', 'undefined was not asked for'])
  assert.deepEqual(find('1,000 sessions'), ['true 69.0 KB each, 1000 sessions', 'false 99.0 KB each, 999 sessions'])
  assert.deepEqual(find('WebTransport'), ['undefined fails: not installed; against 28 ms/MB measured elsewhere 2.0×'])
  assert.match(goalsText(goals), /\| yes \|\n[^\n]*\| not measured \|/)
})

test('options: defaults, quick, names, and one line for what is wrong', () => {
  const parse = (...args: string[]): ReturnType<typeof parseOptions> => parseOptions(args, namesOf())
  assert.deepEqual(parse(), { quick: false, runs: 5, only: [], json: undefined, write: true, install: true, help: false })
  assert.deepEqual([parse('--quick').runs, parse('--quick').write, parse('--quick', '--runs', '3').runs], [1, false, 3])
  assert.deepEqual([parse('--only', 'hot,relay', '--only', ' nginx ').only, parse('--only', 'hot').write], [['hot', 'relay', 'nginx'], false])
  for (const runs of ['0', '-1', 'five', '1.5', '100']) assert.throws(() => parse(`--runs=${runs}`), /--runs is an integer from 1 to 99/)
  assert.throws(() => parse('--only', 'apache'), /--only knows hot, .*not "apache"/)
  assert.throws(() => parse('--fast'), /--fast/)
})

test('templates take values for all names or none', () => {
  assert.equal(fillTemplate('listen {{PORT}}; root {{DIR}};', { PORT: 80, DIR: '/x$&' }), 'listen 80; root /x$&;')
  assert.throws(() => fillTemplate('{{NOPE}}', {}), /wants NOPE/)
})

function contender (id: string, peer: string, measure: () => Promise<Sample>, prepare?: () => Promise<void>): Contender {
  return { id, peer, label: id, prepare: async () => { await prepare?.(); return measure } }
}

const scenario = (id: string, contenders: readonly Contender[]): Scenario => ({ id, title: id, method: '', columns: ['mbPerSecond'], contenders })

test('contenders take turns, every second run backwards', async () => {
  const order: string[] = []
  const one = (id: string): Contender => contender(id, id, async () => {
    order.push(id)
    return sample({ mbPerSecond: order.length })
  })
  const { rows } = await runScenario(scenario('s', [one('a'), one('b'), { ...one('c'), maxRuns: 1 }]), { runs: 3, warmUps: 0, log: () => {}, signal: new AbortController().signal })
  assert.equal(order.join(''), 'abcbaab')
  assert.deepEqual(rows.map(({ runs }) => runs.map(({ metrics }) => metrics.mbPerSecond)), [[1, 5, 6], [2, 4, 7], [3]])
  assert.deepEqual([orderOf(0, [1, 2]), orderOf(1, [1, 2])], [[1, 2], [2, 1]])
})

test('runs before the first are not kept, and not made where every run is fresh', async () => {
  const order: string[] = []
  const one = (id: string): Contender => contender(id, id, async () => sample({ mbPerSecond: order.push(id) }))
  const { rows } = await runScenario(scenario('s', [one('a'), { ...one('b'), fresh: true }]), { runs: 2, warmUps: 1, log: () => {}, signal: new AbortController().signal })
  assert.equal(order.join(''), 'aabba')
  assert.deepEqual(rows.map(({ runs }) => runs.map(({ metrics }) => metrics.mbPerSecond)), [[2, 5], [3, 4]])
})

test('a contender that cannot start is a row with the reason, one that fails once keeps its other runs', async () => {
  let calls = 0
  const lines: string[] = []
  const { rows } = await runScenario(scenario('s', [
    contender('missing', 'x', async () => sample({}), async () => { throw new Error('nginx is not installed') }),
    contender('flaky', 'x', async () => {
      if (calls++ === 0) throw new Error('reset')
      return sample({ mbPerSecond: 7 })
    }),
    contender('broken', 'x', async () => { throw new Error('always') })
  ]), { runs: 2, warmUps: 0, log: line => { lines.push(line) }, signal: new AbortController().signal })
  assert.deepEqual(rows.map(({ unavailable }) => unavailable), ['nginx is not installed', undefined, 'always'])
  assert.deepEqual(rows[1]?.runs, [sample({}, ['reset']), sample({ mbPerSecond: 7 })])
  assert.deepEqual(lines, ['  missing: nginx is not installed', '  flaky: reset', '  broken: always', '  broken: always'])
})

test('an abort ends a comparison between two runs', async () => {
  const stop = new AbortController()
  let calls = 0
  const running = runScenario(scenario('s', [contender('a', 'a', async () => {
    calls++
    stop.abort(new Error('ended by SIGINT'))
    return sample({})
  })]), { runs: 5, warmUps: 0, log: () => {}, signal: stop.signal })
  await assert.rejects(running, /ended by SIGINT/)
  assert.equal(calls, 1)
})

test('--only names scenarios, with or without size, and peers', () => {
  const idle = async (): Promise<Sample> => sample({})
  const all = [scenario('hot-1mb', [contender('a', 'nginx', idle), contender('b', 'relay', idle)]), scenario('hot-8mb', [contender('a', 'nginx', idle)]), scenario('memory', [contender('b', 'relay', idle)])]
  const shown = (...only: string[]): string => select(all, only).map(({ id, contenders }) => `${id}:${contenders.map(each => each.id).join('')}`).join(' ')
  assert.equal(shown(), 'hot-1mb:ab hot-8mb:a memory:b')
  assert.equal(shown('hot'), 'hot-1mb:ab hot-8mb:a')
  assert.equal(shown('hot-8mb', 'memory'), 'hot-8mb:a memory:b')
  assert.equal(shown('relay'), 'hot-1mb:b memory:b')
  assert.equal(shown('hot', 'nginx'), 'hot-1mb:a hot-8mb:a')
})

/** Time that moves only when somebody waits or a request takes some. */
class HandClock implements LoadClock {
  time = 0
  now (): number { return this.time }
  async until (time: number): Promise<void> { this.time = Math.max(this.time, time) }
}

test('an open loop asks at even distances and counts the waiting of a late request', async () => {
  const clock = new HandClock()
  const asked: number[] = []
  const durations = [25, 1, 1, 1, 1, 1, 1, 1, 1, 1]
  const fetcher: Fetcher = {
    get: async () => {
      const wholeMs = durations[asked.push(clock.time) - 1] ?? 1
      clock.time += wholeMs
      return { firstByteMs: wholeMs, wholeMs, bytes: 10 }
    }
  }
  const outcome = await runLoad([fetcher], { paths: ['/'], connections: 1, pace: { kind: 'open', milliseconds: 100, perSecond: 100 } }, clock)
  assert.deepEqual(asked, [0, 25, 26, 30, 40, 50, 60, 70, 80, 90])
  // The requests due at 10 and 20 ms waited 15 and 6 ms for the first.
  assert.deepEqual([outcome.requests, outcome.bytes, outcome.wholeMs, outcome.seconds], [10, 100, { p50: 1, p99: 25 }, 0.091])
  assert.deepEqual([0, 1, 2].map(index => dueMs(index, 1, 4, 1_000)), [4, 5, 6])
})

test('once: every path is asked for once, a failing connection stops and is counted', async () => {
  const clock = new HandClock()
  const asked: string[] = []
  const get = (fails: boolean) => async (path: string) => {
    asked.push(path)
    await Promise.resolve()
    if (fails) throw new Error('reset')
    return { firstByteMs: 1, wholeMs: 2, bytes: 1 }
  }
  const paths = Array.from({ length: 20 }, (_, index) => `/${index}`)
  const outcome = await runLoad([{ get: get(false) }, { get: get(true) }, { get: get(false) }], { paths, connections: 3, pace: { kind: 'once' } }, clock)
  assert.deepEqual(asked.toSorted(), paths.toSorted())
  assert.equal(outcome.requests, 19)
  assert.match(outcome.errors.join(), /^\/\d+: reset$/)
})

test('what h2load and times print', () => {
  const summary = `
finished in 2.10s, 377.00 req/s, 360.24MB/s
requests: 754 total, 786 started, 754 done, 754 succeeded, 3 failed, 0 errored, 0 timeout
status codes: 759 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 720.49MB (755485140) total, 83.76KB (85767) headers (space savings 38.59%), 719.60MB (754557056) data
0m0.000000s 0m0.010000s
1m0.420000s 0m0.450000s
`
  assert.deepEqual(parseSummary(summary), { bytes: 754_557_056, seconds: 2.1, failed: 3 })
  assert.equal(parseSummary(summary.replace('2.10s,', '850.5ms,')).seconds, 0.8505)
  assert.equal(parseTimes(summary), 60_870)
  assert.throws(() => parseSummary('no such host'), /h2load said: no such host/)
})
