import { FAINT, svgDocument, text } from '../harness/svg.ts'
import { requestRatio, size, type Row, type Simulation } from './table.ts'

/** Pixels of one drawing of a trace, and around it. */
const PANEL = { width: 300, height: 220, left: 44, top: 44, gap: 28, bottom: 52 } as const
const COLUMNS = 3
const COLOURS = ['#9aa4b2', '#0b62d6', '#c4500b', '#2a8f4f', '#1b1f24'] as const
const LEGEND = 40

/** Request miss ratio over capacity, a panel for each trace. */
export function plotOf (simulations: readonly Simulation[]): string {
  const columns = Math.min(COLUMNS, simulations.length)
  const names = [...simulations[0]?.rows[0]?.outcomes.keys() ?? [], 'optimum']
  const width = Math.max(520, columns * (PANEL.width + PANEL.left + PANEL.gap))
  const height = LEGEND + Math.ceil(simulations.length / columns) * (PANEL.height + PANEL.top + PANEL.bottom)
  const lines = [text(16, 24, 'Requests that miss, percent, by capacity', ' font-weight="600"')]
  for (const [n, name] of names.entries()) {
    const x = 16 + n * 96
    lines.push(`<line x1="${x}" y1="42" x2="${x + 18}" y2="42" stroke="${colourOf(n)}" stroke-width="2"${dashOf(name)}/>`, text(x + 23, 46, name))
  }
  for (const [n, simulation] of simulations.entries()) {
    const x = (n % columns) * (PANEL.width + PANEL.left + PANEL.gap) + PANEL.left
    const y = LEGEND + Math.floor(n / columns) * (PANEL.height + PANEL.top + PANEL.bottom) + PANEL.top
    lines.push(...panel(simulation, names, x, y))
  }
  return svgDocument(width, height, 'Misses of each eviction policy by capacity', lines)
}

function panel ({ trace, rows }: Simulation, names: readonly string[], left: number, top: number): string[] {
  const { width, height } = PANEL
  const bounds = rows.map(({ share }) => Math.log(share))
  const [least, most] = [Math.min(...bounds), Math.max(...bounds)]
  const xOf = (share: number): number => Math.round(left + 12 + (most === least ? 0.5 : (Math.log(share) - least) / (most - least)) * (width - 24))
  const yOf = (ratio: number): number => Math.round((top + ratio * height) * 10) / 10
  const lines = [text(left, top - 10, trace.name, ' font-weight="600"')]
  for (const tick of [0, 25, 50, 75, 100]) {
    const y = yOf(1 - tick / 100)
    lines.push(`<line x1="${left}" y1="${y}" x2="${left + width}" y2="${y}" stroke="#d8dee4"/>`, text(left - 6, y + 4, String(tick), ` text-anchor="end" fill="${FAINT}"`))
  }
  for (const [n, { share, capacity }] of rows.entries()) {
    const x = xOf(share)
    lines.push(text(x, top + height + 16, `${Number((share * 100).toPrecision(2))} %`, ` text-anchor="middle" fill="${FAINT}"`), text(x, top + height + 30 + (n % 2) * 12, size(capacity), ` text-anchor="middle" font-size="10" fill="${FAINT}"`))
  }
  for (const [n, name] of names.entries()) {
    const points = rows.flatMap(row => {
      const ratio = hitsOf(row, name)
      return ratio === undefined ? [] : [`${xOf(row.share)},${yOf(ratio)}`]
    })
    if (points.length === 0) continue
    lines.push(`<polyline points="${points.join(' ')}" fill="none" stroke="${colourOf(n)}" stroke-width="2"${dashOf(name)}/>`)
    for (const point of points) lines.push(`<circle cx="${point.split(',').join('" cy="')}" r="2.5" fill="${colourOf(n)}"/>`)
  }
  return lines
}

function hitsOf ({ outcomes, optimum }: Row, name: string): number | undefined {
  const outcome = name === 'optimum' ? optimum : Array.from(outcomes).find(([policy]) => policy === name)?.[1]
  return outcome === undefined ? undefined : requestRatio(outcome)
}

const colourOf = (n: number): string => COLOURS[n % COLOURS.length] ?? FAINT
const dashOf = (name: string): string => name === 'optimum' ? ' stroke-dasharray="4 3"' : ''
