import type { GoalResult, Metric, Row, ScenarioResult } from './result.ts'
import { series } from './result.ts'
import { pairedRatio, type Ratio } from './statistics.ts'
import { medianOf } from './table.ts'

/** Server CPU of the fails-components HTTP/3 engine on 1 MB shards, ms per MB, measured on another machine. */
const FAILS_HTTP3_CPU = 28

class Results {
  readonly #scenarios: readonly ScenarioResult[]

  constructor (scenarios: readonly ScenarioResult[]) {
    this.#scenarios = scenarios
  }

  row (scenario: string, contender: string): Row | undefined {
    return this.#scenarios.find(({ id }) => id === scenario)?.rows.find(row => row.contender === contender)
  }

  /** One contender over another, run by run. */
  ratio (scenario: string, metric: Metric, numerator: string, denominator: string): Ratio | undefined {
    const [above, below] = [this.row(scenario, numerator), this.row(scenario, denominator)]
    return above === undefined || below === undefined ? undefined : pairedRatio(series(above, metric), series(below, metric))
  }

  /** Why a ratio is missing. */
  reason (scenario: string, contenders: readonly string[]): string {
    for (const contender of contenders) {
      const row = this.row(scenario, contender)
      if (row === undefined) return 'was not asked for'
      if (row.unavailable !== undefined) return `${row.label}: ${row.unavailable}`
    }
    return 'no complete run'
  }
}

const times = ({ median, min, max }: Ratio): string => `${median.toFixed(2)}× (${min.toFixed(2)}–${max.toFixed(2)})`

interface RatioGoal {
  readonly goal: string
  readonly scenario: string
  readonly metric: Metric
  readonly above: string
  readonly below: string
  readonly atLeast?: number
  readonly atMost?: number
  /** Shown beside it: the same pair by another metric. */
  readonly beside?: { readonly metric: Metric, readonly name: string }
}

const CPU = { metric: 'serverCpuMsPerMb', name: 'server CPU per MB' } as const

const RATIO_GOALS: readonly RatioGoal[] = [
  { goal: 'hot hit, 1 MB: MB/s at least 1.0× nginx sendfile', scenario: 'hot-1mb', metric: 'mbPerSecond', above: 'relay', below: 'nginx', atLeast: 1, beside: CPU },
  { goal: 'hot hit, 8 MB: MB/s at least 1.0× nginx sendfile', scenario: 'hot-8mb', metric: 'mbPerSecond', above: 'relay', below: 'nginx', atLeast: 1, beside: CPU },
  { goal: 'hot hit, 1 MB: MB/s at least 1.5× Varnish', scenario: 'hot-1mb', metric: 'mbPerSecond', above: 'relay', below: 'varnish', atLeast: 1.5, beside: CPU },
  { goal: 'hot hit, 8 MB: MB/s at least 1.5× Varnish', scenario: 'hot-8mb', metric: 'mbPerSecond', above: 'relay', below: 'varnish', atLeast: 1.5, beside: CPU },
  { goal: 'cold disk hit, 1 MB: MB/s at least 0.8× nginx', scenario: 'cold-1mb', metric: 'mbPerSecond', above: 'relay-disk', below: 'nginx', atLeast: 0.8, beside: CPU },
  { goal: 'cold disk hit, 8 MB: MB/s at least 0.8× nginx', scenario: 'cold-8mb', metric: 'mbPerSecond', above: 'relay-disk', below: 'nginx', atLeast: 0.8, beside: CPU },
  { goal: 'miss, 1 MB, super-node 50 ms away: p50 at most 1.10× a direct fetch', scenario: 'miss-1mb', metric: 'wholeP50Ms', above: 'relay', below: 'direct', atMost: 1.1 },
  { goal: 'miss, 8 MB, super-node 50 ms away: p50 at most 1.10× a direct fetch', scenario: 'miss-8mb', metric: 'wholeP50Ms', above: 'relay', below: 'direct', atMost: 1.1 },
  { goal: 'Chromium, 8 MB: MB per CPU second over WebTransport at least 3× Caddy over HTTP/3', scenario: 'browser-8mb', metric: 'serverCpuMsPerMb', above: 'caddy-h3', below: 'relay-webtransport', atLeast: 3 },
  { goal: 'Chromium, 8 MB: receives over WebTransport within 10 % of what it receives over HTTP/2 from the same relay', scenario: 'browser-8mb', metric: 'mbPerSecond', above: 'relay-webtransport', below: 'relay-h2', atLeast: 0.9 }
]

function ratioGoal (results: Results, { goal, scenario, metric, above, below, atLeast, atMost, beside }: RatioGoal): GoalResult {
  const ratio = results.ratio(scenario, metric, above, below)
  if (ratio === undefined) return { goal, measured: results.reason(scenario, [above, below]), reached: undefined }
  const also = beside === undefined ? undefined : results.ratio(scenario, beside.metric, above, below)
  return {
    goal,
    measured: `${times(ratio)}${also === undefined || beside === undefined ? '' : `; ${beside.name} ${also.median.toFixed(2)}×`}`,
    reached: (atLeast === undefined || ratio.median >= atLeast) && (atMost === undefined || ratio.median <= atMost)
  }
}

function failsGoal (results: Results): GoalResult {
  const goal = 'WebTransport, 1 MB, Node viewers: MB per CPU second at least 2.5× the fails-components HTTP/3 engine'
  const ratio = results.ratio('sessions-1mb', 'serverCpuMsPerMb', 'fails', 'webtransport')
  if (ratio !== undefined) return { goal, measured: times(ratio), reached: ratio.median >= 2.5 }
  const row = results.row('sessions-1mb', 'webtransport')
  const cpu = row === undefined ? undefined : medianOf(row, 'serverCpuMsPerMb')
  // A number from another run says how far, but proves nothing.
  const against = cpu === undefined ? '' : `; against ${FAILS_HTTP3_CPU} ms/MB measured elsewhere ${(FAILS_HTTP3_CPU / cpu).toFixed(1)}×`
  return { goal, measured: `${results.reason('sessions-1mb', ['webtransport', 'fails'])}${against}`, reached: undefined }
}

function viewersGoal (results: Results, contender: string, name: string, limitMs: number): GoalResult {
  const goal = `100 viewers at the same time over ${name}, below 80 % of the ceiling: p99 to the first byte of a hit below ${limitMs} ms`
  const row = results.row('viewers', contender)
  const [p99, rate, ceiling] = (['firstByteP99Ms', 'mbPerSecond', 'ceilingMbPerSecond'] as const).map(metric => row === undefined ? undefined : medianOf(row, metric))
  if (p99 === undefined || rate === undefined || ceiling === undefined) return { goal, measured: results.reason('viewers', [contender]), reached: undefined }
  return { goal, measured: `${p99.toFixed(1)} ms at ${rate.toFixed(0)} MB/s, ${(rate / ceiling * 100).toFixed(0)} % of the ceiling`, reached: p99 < limitMs && rate < 0.8 * ceiling }
}

function memoryGoal (results: Results, contender: string, name: string, limitKb: number): GoalResult {
  const goal = `1,000 sessions over ${name}: less than ${limitKb} KB each`
  const row = results.row('memory', contender)
  const size = row === undefined ? undefined : medianOf(row, 'kbPerSession')
  const sessions = row === undefined ? undefined : medianOf(row, 'sessions')
  if (size === undefined || sessions === undefined) return { goal, measured: results.reason('memory', [contender]), reached: undefined }
  return { goal, measured: `${size.toFixed(1)} KB each, ${sessions} sessions`, reached: size < limitKb && sessions >= 1_000 }
}

/** What of the goals these results reach; each as a ratio within one run, or a number that no machine should miss. */
export function judgeGoals (scenarios: readonly ScenarioResult[]): GoalResult[] {
  const results = new Results(scenarios)
  return [
    ...RATIO_GOALS.map(goal => ratioGoal(results, goal)),
    failsGoal(results),
    viewersGoal(results, 'relay', 'HTTP/1.1', 50),
    viewersGoal(results, 'relay-webtransport', 'WebTransport', 30),
    memoryGoal(results, 'webtransport', 'WebTransport', 70),
    memoryGoal(results, 'websocket', 'WebSocket', 100)
  ]
}
