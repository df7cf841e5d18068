import { METRICS, series, type GoalResult, type Metric, type Row, type ScenarioResult } from './result.ts'
import { median } from '../tools/harness/median.ts'

function cells (texts: readonly string[]): string {
  return `| ${texts.map(text => text.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
}

/** A Markdown table. */
export function markdown (head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [cells(head), cells(head.map((_, column) => column === 0 ? '---' : '---:')), ...rows.map(cells)].join('\n')
}

/** Median of a metric over the runs of a row; undefined when no run has it. */
export function medianOf (row: Row, metric: Metric): number | undefined {
  const values = series(row, metric).filter(value => value !== undefined)
  return values.length === 0 ? undefined : median(values)
}

function cell (row: Row, metric: Metric): string {
  const value = medianOf(row, metric)
  if (value === undefined) return ''
  const { decimals } = METRICS[metric]
  // Throughput is what noise moves most, so its spread stands beside it.
  if (metric !== 'mbPerSecond' || row.runs.length === 1) return value.toFixed(decimals)
  const values = series(row, metric).filter(each => each !== undefined)
  return `${value.toFixed(decimals)} (${Math.min(...values).toFixed(decimals)}–${Math.max(...values).toFixed(decimals)})`
}

function rowCells (row: Row, columns: readonly Metric[]): string[] {
  if (row.unavailable !== undefined) return [row.label, `not measured: ${row.unavailable}`, ...columns.slice(1).map(() => '')]
  const failed = row.runs.reduce((sum, run) => sum + run.errors.length, 0)
  return [failed === 0 ? row.label : `${row.label} (${failed} errors)`, ...columns.map(metric => cell(row, metric))]
}

/** Title, method and medians of a scenario as Markdown. */
export function scenarioText ({ title, method, columns, rows }: ScenarioResult): string {
  const table = markdown(['server', ...columns.map(metric => METRICS[metric].heading)], rows.map(row => rowCells(row, columns)))
  return `### ${title}\n\n${method}\n\n${table}\n`
}

/** The goals as Markdown. */
export function goalsText (goals: readonly GoalResult[]): string {
  const verdict = (reached: boolean | undefined): string => reached === undefined ? 'not measured' : reached ? 'yes' : '**no**'
  return markdown(['goal', 'measured', 'reached'], goals.map(({ goal, measured, reached }) => [goal, measured, verdict(reached)]))
}
