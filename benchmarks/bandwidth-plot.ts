/**
 * Test case 6, drawn: 50 viewers over WebTransport share 100 Mbit/s, 10 more join, 30 leave; the rate of each over time, and the fair share.
 * `node --import tsx benchmarks/bandwidth-plot.ts [file]` writes docs/bandwidth-surge.svg and prints what each step came to.
 */
import { writeFile } from 'node:fs/promises'
import { Crowd, machineNow, range, spawnShared } from '../tools/harness/bandwidth-rig.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { FAINT, INK, svgDocument, text } from '../tools/harness/svg.ts'

const TOTAL_BPS = 100e6
const STEP_MS = 6_000
/** A rate is taken over this time, as of its end, ms. */
const WINDOW_MS = 1_000
const POINT_MS = 200

/** Pixels. */
const WIDTH = 960
const HEIGHT = 420
const LEFT = 56
const RIGHT = 24
const TOP = 64
const BOTTOM = 48

interface Group { readonly name: string, readonly ids: readonly number[], readonly colour: string, readonly from: number, readonly to: number }
interface Change { readonly at: number, readonly what: string, readonly viewers: number }
interface Run { readonly crowd: Crowd, readonly start: number, readonly end: number, readonly groups: readonly Group[], readonly changes: readonly Change[] }

async function surge (cleanup: Parameters<typeof spawnShared>[0]): Promise<Run> {
  const relay = await spawnShared(cleanup, TOTAL_BPS)
  const crowd = new Crowd(cleanup, relay)
  const changes: Change[] = []
  const changed = (what: string, viewers: number): void => { changes.push({ at: machineNow(), what, viewers }) }
  await crowd.join('webtransport', range(0, 50))
  changed('50 viewers', 50)
  await crowd.after(STEP_MS)
  await crowd.join('webtransport', range(50, 60))
  changed('10 join', 60)
  await crowd.after(STEP_MS)
  // The sample that comes after they have left knows nothing of them any more.
  const left = crowd.samples.at(-1)?.at ?? machineNow()
  crowd.leave(range(0, 30))
  changed('30 leave', 30)
  const end = await crowd.after(STEP_MS)
  const [first = left] = changes.map(({ at }) => at)
  const joined = changes[1]?.at ?? first
  return {
    crowd,
    start: first,
    end,
    changes,
    groups: [
      { name: 'the 30 that leave', ids: range(0, 30), colour: '#9aa4b2', from: first, to: left },
      { name: '20 that stay', ids: range(30, 50), colour: '#0b62d6', from: first, to: end },
      { name: 'the 10 that join', ids: range(50, 60), colour: '#c4500b', from: joined, to: end }
    ]
  }
}

function draw ({ crowd, start, end, groups, changes }: Run): string {
  const most = TOTAL_BPS / 30 * 1.35
  const x = (at: number): string => (LEFT + (at - start) / (end - start) * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const y = (bps: number): string => (TOP + (1 - Math.min(bps, most) / most) * (HEIGHT - TOP - BOTTOM)).toFixed(1)
  const line = (points: readonly string[], style: string): string => `<polyline points="${points.join(' ')}" fill="none" ${style}/>`
  const lines: string[] = []
  for (let mbps = 0; mbps * 1e6 <= most; mbps++) {
    lines.push(line([`${x(start)},${y(mbps * 1e6)}`, `${x(end)},${y(mbps * 1e6)}`], 'stroke="#e6e9ed"'), text(LEFT - 8, Number(y(mbps * 1e6)) + 4, `${mbps}`, ` text-anchor="end" fill="${FAINT}"`))
  }
  for (let second = 0; second * 1_000 <= end - start; second += 2) lines.push(text(x(start + second * 1_000), HEIGHT - BOTTOM + 18, `${second} s`, ` text-anchor="middle" fill="${FAINT}"`))
  for (const { ids, colour, from, to } of groups) {
    for (const id of ids) {
      const points: string[] = []
      for (let at = from + WINDOW_MS; at <= to; at += POINT_MS) points.push(`${x(at)},${y(crowd.rate(id, at - WINDOW_MS, at))}`)
      lines.push(line(points, `stroke="${colour}" stroke-width="1" stroke-opacity="0.45"`))
    }
  }
  for (const [position, { at, what, viewers }] of changes.entries()) {
    const until = changes[position + 1]?.at ?? end
    const fair = TOTAL_BPS / viewers
    lines.push(
      line([`${x(at)},${y(fair)}`, `${x(until)},${y(fair)}`], `stroke="${INK}" stroke-width="1.5" stroke-dasharray="5 4"`),
      line([`${x(at)},${TOP}`, `${x(at)},${HEIGHT - BOTTOM}`], `stroke="${FAINT}" stroke-dasharray="2 3"`),
      text(Number(x(at)) + 6, TOP + 12, `${what}: ${(fair / 1e6).toFixed(2)} Mbit/s each is fair`)
    )
  }
  const key = (left: number, sign: string, colour: string, name: string): string[] => [text(left, HEIGHT - 10, sign, ` fill="${colour}" font-weight="700"`), text(left + 16, HEIGHT - 10, name)]
  const title = 'A surge of viewers over WebTransport shares 100 Mbit/s'
  return svgDocument(WIDTH, HEIGHT, title, [
    text(LEFT, 26, title, ' font-size="16" font-weight="600"'),
    text(LEFT, 46, 'Mbit/s of each viewer, over the last second; dashed: the fair share', ` fill="${FAINT}"`),
    ...lines,
    ...groups.flatMap(({ name, colour }, position) => key(LEFT + position * 150, '━', colour, name)),
    ...key(LEFT + 450, '┅', INK, 'fair share')
  ])
}

function report ({ crowd, end, changes, groups }: Run): string {
  return changes.map(({ at, what, viewers }, position) => {
    const until = changes[position + 1]?.at ?? end
    // The first two seconds belong to the change.
    const present = groups.filter(({ from, to }) => from <= at && to > at + 2_000)
    const rates = present.flatMap(({ ids, to }) => ids.map(id => crowd.rate(id, at + 2_000, Math.min(to, until)) / 1e6))
    return `${what}: ${rates.length} viewers, ${Math.min(...rates).toFixed(3)} to ${Math.max(...rates).toFixed(3)} Mbit/s, fair ${(TOTAL_BPS / 1e6 / viewers).toFixed(3)}`
  }).join('\n')
}

await withCleanup(async cleanup => {
  const run = await surge(cleanup)
  const file = process.argv[2] ?? 'docs/bandwidth-surge.svg'
  await writeFile(file, draw(run))
  process.stdout.write(`${report(run)}\nrefused or failed: ${run.crowd.failures.length}\n${file}\n`)
})
