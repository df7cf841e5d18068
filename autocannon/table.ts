import { MB, type LoadResult, type Times } from './result.ts'

type Column = readonly [title: string, cell: (result: LoadResult) => string]

const SIDE_BY_SIDE = 3

function round (value: number): string {
  if (value === 0) return '0'
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

function optional (value: number | null | undefined): string {
  return value === null || value === undefined ? '' : round(value)
}

function rss (result: LoadResult, name: string): string {
  const use = result.servers.find(server => server.name === name)
  return use === undefined ? '' : round(use.rssMaxBytes / MB)
}

const times = (title: string, of: (result: LoadResult) => Times | null | undefined, shares: ReadonlyArray<readonly [label: string, key: keyof Times]>): Column[] =>
  shares.map(([label, key]): Column => [`${title}${label}`, result => optional(of(result)?.[key])])

const COLUMNS: readonly Column[] = [
  ['scenario', result => result.scenario],
  ['req/s', result => round(result.requestsPerSecond)],
  ['MB/s', result => round(result.mbPerSecond)],
  ...times('', result => result.latencyMs, [['p50', 'p50'], ['p95', 'p95'], ['p99', 'p99'], ['p99.9', 'p999']]),
  ...times('first byte ', result => result.firstByteMs, [['p50', 'p50'], ['p99', 'p99']]),
  ['errors', result => String(result.errors)],
  ['non-2xx', result => String(result.non2xx)],
  ['unexpected', result => String(result.unexpected)],
  ['hit ratio', result => result.hitRatio === null ? '' : result.hitRatio.toFixed(3)],
  ['CPU ms/MB', result => optional(result.serverCpuMsPerMb)],
  ['CPU ms/req', result => optional(result.serverCpuMsPerRequest)],
  ['RSS relay, MB', result => rss(result, 'relay')],
  ['RSS gateway, MB', result => rss(result, 'gateway')],
  ['client core', result => `${(result.generator.busiest * 100).toFixed(0)} %`]
]

const SESSION_COLUMNS: readonly Column[] = [
  ['sessions', result => String(result.sessions?.opened ?? '')],
  ['failed', result => String(result.sessions?.failed ?? '')],
  ['lost', result => String(result.sessions?.lost ?? '')],
  ...times('handshake ', result => result.sessions?.handshakeMs, [['p50', 'p50'], ['p99', 'p99']]),
  ['RSS/session, KB', result => optional(result.sessions === undefined ? undefined : result.sessions.rssPerSessionBytes / 1_000)]
]

const PLAYBACK_COLUMNS: readonly Column[] = [
  ...times('startup ', result => result.playback?.startupMs, [['p50', 'p50'], ['p99', 'p99']]),
  ['stalls', result => String(result.playback?.stalls ?? '')],
  ['viewers stalled', result => String(result.playback?.viewersStalled ?? '')],
  ['stalled, s', result => optional(result.playback === undefined ? undefined : result.playback.stalledMs / 1_000)],
  ['played, s', result => optional(result.playback?.playedSeconds)]
]

/** Where the time of the servers went, a table for each of their processes; empty without profiles. */
export function profileTables (results: readonly LoadResult[]): string {
  return results.flatMap(({ scenario, profiles = [] }) => profiles.map(({ name, file, hotSpots }) =>
    `\n${scenario}: ${name}, time in the function itself (${file})\n\n${markdownTable(['share', 'function'], hotSpots.map(({ place, share }) => [`${(share * 100).toFixed(1)} %`, place]))}\n`)).join('')
}

/** A Markdown table that is also readable in a terminal; times are in milliseconds. */
export function markdownTable (header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map(row => row[column]?.length ?? 0)))
  const line = (cells: readonly string[], fill = ' '): string => `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width, fill)).join(' | ')} |`
  return [line(header), line(widths.map(() => '-'), '-'), ...rows.map(row => line(row))].join('\n')
}

/** Results as one table, with the columns that any of them fills. Up to three stand side by side, which a terminal has the width for. */
export function resultTable (results: readonly LoadResult[]): string {
  const all = [
    ...COLUMNS,
    ...(results.some(result => result.sessions !== undefined) ? SESSION_COLUMNS : []),
    ...(results.some(result => result.playback !== undefined) ? PLAYBACK_COLUMNS : [])
  ]
  const columns = all.filter(([, cell]) => results.some(result => cell(result) !== ''))
  const titles = columns.map(([title]) => title)
  const cells = results.map(result => columns.map(([, cell]) => cell(result)))
  if (results.length > SIDE_BY_SIDE) return markdownTable(titles, cells)
  const [header = [], ...rows] = titles.map((title, column) => [title, ...cells.map(row => row[column] ?? '')])
  return markdownTable(header, rows)
}
