/** What is measured, with the heading and the number of decimals of its column. MB are 10^6 bytes. */
export const METRICS = {
  ceilingMbPerSecond: { heading: 'ceiling MB/s', decimals: 0 },
  mbPerSecond: { heading: 'MB/s', decimals: 0 },
  serverCpuMsPerMb: { heading: 'server CPU ms/MB', decimals: 2 },
  serverBusyPercent: { heading: 'server core %', decimals: 0 },
  clientBusyPercent: { heading: 'client core %', decimals: 0 },
  firstByteP50Ms: { heading: 'first byte p50 ms', decimals: 2 },
  firstByteP99Ms: { heading: 'first byte p99 ms', decimals: 2 },
  wholeP50Ms: { heading: 'whole p50 ms', decimals: 2 },
  wholeP99Ms: { heading: 'whole p99 ms', decimals: 2 },
  residentMb: { heading: 'RSS MB', decimals: 0 },
  sessions: { heading: 'sessions', decimals: 0 },
  kbPerSession: { heading: 'KB per session', decimals: 1 }
} as const satisfies Record<string, { heading: string, decimals: number }>

export type Metric = keyof typeof METRICS

/** One run of one contender. */
export interface Sample {
  readonly metrics: Readonly<Partial<Record<Metric, number>>>
  /** What went wrong; the numbers then say little. */
  readonly errors: readonly string[]
}

/** All runs of one contender in one scenario, in order; run n of every contender of a scenario belongs together. */
export interface Row {
  readonly contender: string
  /** Shown name. */
  readonly label: string
  readonly runs: readonly Sample[]
  /** Why there are no runs. */
  readonly unavailable?: string
}

export interface ScenarioResult {
  readonly id: string
  readonly title: string
  /** What the client does, in a sentence or two. */
  readonly method: string
  readonly columns: readonly Metric[]
  readonly rows: readonly Row[]
}

/** A goal of the project and whether this run reached it. */
export interface GoalResult {
  readonly goal: string
  /** As text with its unit, or why there is none. */
  readonly measured: string
  /** Undefined when it could not be measured. */
  readonly reached: boolean | undefined
}

export interface Report {
  readonly command: string
  readonly startedAt: string
  readonly minutes: number
  readonly runs: number
  readonly machine: Readonly<Record<string, string>>
  readonly scenarios: readonly ScenarioResult[]
  readonly goals: readonly GoalResult[]
}

/** Values of one metric over the runs; undefined where a run has none. */
export function series (row: Row, metric: Metric): (number | undefined)[] {
  return row.runs.map(run => run.metrics[metric])
}
