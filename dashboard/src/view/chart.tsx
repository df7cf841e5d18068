import uPlot from 'uplot'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { markText, UNKNOWN } from '../model/format.ts'

export interface Line {
  readonly name: string
  /** Number of its colour, 1 to 4. */
  readonly colour: 1 | 2 | 3 | 4
  readonly dashed?: boolean
}

export interface ChartProps {
  /** What is drawn, for whoever cannot see it. */
  readonly label: string
  readonly lines: readonly Line[]
  /** Positions, then the values of each line. */
  readonly data: readonly (readonly (number | null)[])[]
  /** Of values, on the axis and in the legend. */
  readonly text: (value: number | null | undefined) => string
  /** Of positions. */
  readonly at: (value: number) => string
  /** How much of the end is shown at most, s; everything where nothing is said. */
  readonly seconds?: number
  /** Greatest value that the axis has. */
  readonly max?: number
  /** Where the line of now is, for plots over something else than time. */
  readonly mark?: number
}

const HEIGHT = 180
/** A plot over time is not stretched over less, s. */
const LEAST_SECONDS = 60
/** Steps of clocks, s. */
const WHOLE_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300]

/** Colours of the style sheet, which has others in the dark. */
function colours (element: Element): (name: string) => string {
  const style = getComputedStyle(element)
  return name => style.getPropertyValue(`--${name}`).trim()
}

/** Three to six lines across, and none through numbers that nobody counts in. */
function optionsOf ({ lines, text, at, seconds, max, mark }: ChartProps, element: HTMLElement, hovered: (place: number | null) => void): uPlot.Options {
  const colour = colours(element)
  const axis = { stroke: colour('soft'), font: '12px system-ui, sans-serif', grid: { stroke: colour('line'), width: 1 }, ticks: { show: false } }
  return {
    width: Math.max(200, element.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    padding: [10, 28, 0, 0],
    scales: {
      x: { time: false, range: (_plot, low, high) => seconds === undefined ? [low, high === low ? low + 1 : high] : [Math.max(high - seconds, Math.min(low, high - LEAST_SECONDS)), high] },
      y: { range: (_plot, _low, high) => [0, max ?? (Number.isFinite(high) && high > 0 ? high * 1.1 : 2)] }
    },
    axes: [
      { ...axis, size: 28, space: 90, ...seconds === undefined ? {} : { incrs: WHOLE_SECONDS }, values: (_plot, splits) => splits.map(split => markText(at(split))) },
      { ...axis, size: 72, space: 36, values: (_plot, splits) => splits.map(split => markText(text(split))) }
    ],
    series: [{}, ...lines.map((line): uPlot.Series => ({
      label: line.name,
      stroke: colour(`line-${line.colour}`),
      width: 2,
      points: { show: false },
      spanGaps: false,
      ...line.dashed === true ? { dash: [6, 4] } : {}
    }))],
    hooks: {
      setCursor: [plot => { hovered(plot.cursor.idx ?? null) }],
      draw: mark === undefined
        ? []
        : [plot => {
            const x = Math.round(plot.valToPos(mark, 'x', true))
            const { ctx, bbox } = plot
            ctx.save()
            ctx.strokeStyle = colour('soft')
            ctx.setLineDash([4, 4])
            ctx.beginPath()
            ctx.moveTo(x, bbox.top)
            ctx.lineTo(x, bbox.top + bbox.height)
            ctx.stroke()
            ctx.restore()
          }]
    }
  }
}

/** A plot, with a legend that has the numbers of the moment, or of where the pointer is. */
export function Chart (props: ChartProps) {
  const { label, lines, data, text, at, mark } = props
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const [place, setPlace] = useState<number | null>(null)
  const [scheme, setScheme] = useState(0)
  const names = lines.map(({ name }) => name).join()
  const aligned = useMemo(() => data as uPlot.AlignedData, [data])

  useEffect(() => {
    const media = window.matchMedia('(prefers-color-scheme: dark)')
    const change = (): void => { setScheme(count => count + 1) }
    media.addEventListener('change', change)
    return () => { media.removeEventListener('change', change) }
  }, [])

  useEffect(() => {
    const element = box.current
    if (element === null) return
    // eslint-disable-next-line new-cap -- its name
    const made = new uPlot(optionsOf(props, element, setPlace), aligned, element)
    plot.current = made
    const observer = new ResizeObserver(() => { made.setSize({ width: Math.max(200, element.clientWidth), height: HEIGHT }) })
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
    }
    // What it is made of, besides the data that follow.
  }, [names, scheme, mark])

  useEffect(() => { plot.current?.setData(aligned) }, [aligned])

  const [positions = []] = data
  const shown = place === null || place >= positions.length ? positions.length - 1 : place
  const position = positions[shown]
  return (
    <figure class='chart'>
      <figcaption class='legend'>
        <span class='read-out'>{label}</span>
        {lines.map(({ name, colour, dashed = false }, line) => (
          <span key={name} class='key'><i class={`swatch line-${colour}${dashed ? ' dashed' : ''}`} />{name} <b>{text(data[line + 1]?.[shown])}</b></span>
        ))}
        <span class='key when'>{place === null || position === undefined || position === null ? '' : at(position)}</span>
      </figcaption>
      <div ref={box} class='plot' role='img' aria-label={label} />
      {positions.length === 0 ? <p class='empty'>{UNKNOWN}</p> : null}
    </figure>
  )
}
