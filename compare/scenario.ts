import type { Metric, Row, Sample, ScenarioResult } from './result.ts'

/** One of those compared in a scenario. */
export interface Contender {
  /** Unique in its scenario. */
  readonly id: string
  /** Peer it belongs to, as `--only` names it. */
  readonly peer: string
  readonly label: string
  /**
   * Starts what it needs and brings it into the state that is measured.
   * @throws Error with the reason why it cannot be compared here
   */
  readonly prepare: () => Promise<() => Promise<Sample>>
  /** Runs of its own, where all would take too long. */
  readonly maxRuns?: number
  /** Each run starts everything anew, so one that does not count would change nothing. */
  readonly fresh?: boolean
}

export interface Scenario {
  readonly id: string
  readonly title: string
  /** What the client does, in a sentence or two. */
  readonly method: string
  readonly columns: readonly Metric[]
  readonly contenders: readonly Contender[]
}

export interface RunnerOptions {
  readonly runs: number
  /** Runs before them that do not count: code has to be compiled, files opened, windows grown. */
  readonly warmUps: number
  /** Told in a line what happens. */
  readonly log: (line: string) => void
  /** Ends everything between two runs. */
  readonly signal: AbortSignal
}

const reasonOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** The order of a run: every second one backwards, so that nobody always comes after the same neighbour. */
export function orderOf<T> (run: number, contenders: readonly T[]): T[] {
  return run % 2 === 0 ? [...contenders] : contenders.toReversed()
}

/**
 * Measures the contenders in turns. One that cannot be prepared becomes a row with the reason; one whose run fails keeps its place and
 * is tried again in the next.
 * @throws the reason of the signal
 */
export async function runScenario ({ id, title, method, columns, contenders }: Scenario, { runs, warmUps, log, signal }: RunnerOptions): Promise<ScenarioResult> {
  const ready: { contender: Contender, measure: () => Promise<Sample>, samples: Sample[] }[] = []
  const reasons = new Map<string, string>()
  for (const contender of contenders) {
    signal.throwIfAborted()
    try {
      ready.push({ contender, measure: await contender.prepare(), samples: [] })
    } catch (error) {
      log(`  ${contender.label}: ${reasonOf(error)}`)
      reasons.set(contender.id, reasonOf(error))
    }
  }
  for (let run = -warmUps; run < runs; run++) {
    for (const { contender, measure, samples } of orderOf(run, ready)) {
      if (run >= (contender.maxRuns ?? runs) || (run < 0 && contender.fresh === true)) continue
      signal.throwIfAborted()
      const sample = await measure().catch((error: unknown): Sample => ({ metrics: {}, errors: [reasonOf(error)] }))
      if (run < 0) continue
      samples.push(sample)
      for (const text of sample.errors.slice(0, 1)) log(`  ${contender.label}: ${text}`)
    }
  }
  return { id, title, method, columns, rows: contenders.map(contender => rowOf(contender, ready.find(one => one.contender === contender)?.samples, reasons.get(contender.id))) }
}

function rowOf ({ id, label }: Contender, samples: readonly Sample[] | undefined, reason: string | undefined): Row {
  if (samples === undefined) return { contender: id, label, runs: [], unavailable: reason ?? 'unknown' }
  const empty = samples.every(({ metrics }) => Object.keys(metrics).length === 0)
  return { contender: id, label, runs: samples, ...empty ? { unavailable: samples[0]?.errors[0] ?? 'no run' } : {} }
}
