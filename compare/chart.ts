import { FAINT, svgDocument, text } from '../tools/harness/svg.ts'
import { METRICS, type Metric, type ScenarioResult } from './result.ts'
import { medianOf } from './table.ts'

/** Pixels. */
const WIDTH = 960
const MARGIN = 24
const LABEL = 250
const BAR = 14
const STEP = 21
const NUMBER = 52
const GAP = 24
const HEAD = 78

/** Side by side, the first better when longer, the second when shorter. */
const PANELS: ReadonlyArray<readonly [metric: Metric, note: string]> = [['mbPerSecond', 'more is better'], ['serverCpuMsPerMb', 'less is better']]
const PANEL = (WIDTH - 2 * MARGIN - LABEL - GAP) / PANELS.length

const OURS = '#0b62d6'
const THEIRS = '#9aa4b2'

const isOurs = (contender: string): boolean => /^(?:relay|webtransport|websocket)/.test(contender)

function panel (scenario: ScenarioResult, metric: Metric, left: number, top: number): string[] {
  const values = scenario.rows.map(row => medianOf(row, metric))
  const largest = Math.max(...values.map(value => value ?? 0))
  return scenario.rows.flatMap(({ contender }, index) => {
    const value = values[index]
    const y = top + index * STEP
    if (value === undefined || !(largest > 0)) return [text(left, y + BAR - 3, 'not measured', ` fill="${FAINT}"`)]
    const width = Math.max(1, value / largest * (PANEL - NUMBER - 8))
    return [
      `<rect x="${left}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${isOurs(contender) ? OURS : THEIRS}"/>`,
      text(Math.round(left + width + 6), y + BAR - 3, value.toFixed(METRICS[metric].decimals))
    ]
  })
}

function section (scenario: ScenarioResult, top: number): { lines: string[], height: number } {
  const rowsTop = top + 20
  const lines = [text(MARGIN, top + 8, scenario.title, ' font-weight="600"')]
  for (const [index, row] of scenario.rows.entries()) {
    lines.push(text(MARGIN + 8, rowsTop + index * STEP + BAR - 3, row.label, isOurs(row.contender) ? ' font-weight="600"' : ''))
  }
  for (const [index, [metric]] of PANELS.entries()) lines.push(...panel(scenario, metric, MARGIN + LABEL + index * (PANEL + GAP), rowsTop))
  return { lines, height: 20 + scenario.rows.length * STEP + GAP }
}

/** Bars of throughput and server CPU, one group per scenario that has both, as an SVG document of its own. */
export function chart (scenarios: readonly ScenarioResult[], title: string): string {
  const shown = scenarios.filter(({ columns }) => PANELS.every(([metric]) => columns.includes(metric)))
  const lines: string[] = []
  let top = HEAD
  for (const scenario of shown) {
    const { lines: drawn, height } = section(scenario, top)
    lines.push(...drawn)
    top += height
  }
  const headings = PANELS.map(([metric, note], index) => text(MARGIN + LABEL + index * (PANEL + GAP), 54, `${METRICS[metric].heading}, ${note}`, ` fill="${FAINT}"`))
  return svgDocument(WIDTH, top, title, [text(MARGIN, 30, title, ' font-size="16" font-weight="600"'), ...headings, ...lines])
}
