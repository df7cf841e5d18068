import { parseArgs } from 'node:util'

export interface Options {
  /** Short runs of everything, once: a smoke test whose numbers mean little. */
  readonly quick: boolean
  readonly runs: number
  /** Scenarios and peers to measure; empty for all. */
  readonly only: readonly string[]
  /** File for the whole report as JSON. */
  readonly json: string | undefined
  /** Whether docs/performance.md and .svg are renewed. */
  readonly write: boolean
  /** Whether missing Debian packages are installed when root. */
  readonly install: boolean
  readonly help: boolean
}

export const USAGE = `Usage: npm run compare -- [options]

Compares the relay with nginx, Varnish, Caddy and a bare Node server on 127.0.0.1 and renews docs/performance.md and docs/performance.svg.

  --only <a,b>     only these scenarios and peers; docs/ stays as it is
  --runs <n>       runs of each, of which the median counts (5)
  --quick          one short run of each, a smoke test; docs/ stays as it is
  --json <file>    the whole report as JSON
  --no-write       leave docs/ as it is
  --no-install     never install Debian packages; what is missing becomes a row with the reason
  --help           this text
`

/**
 * Reads the command line.
 * @param known scenarios and peers that `--only` may name
 * @throws Error with one line
 */
export function parseOptions (args: readonly string[], known: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      runs: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      json: { type: 'string' },
      'no-write': { type: 'boolean', default: false },
      'no-install': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false }
    }
  })
  const { quick } = values
  const text = values.runs ?? (quick ? '1' : '5')
  if (!/^[1-9]\d?$/.test(text)) throw new Error(`--runs is an integer from 1 to 99, not "${text}"`)
  const only = values.only.flatMap(list => list.split(',')).map(name => name.trim()).filter(name => name !== '')
  const unknown = only.find(name => !known.includes(name))
  if (unknown !== undefined) throw new Error(`--only knows ${known.join(', ')}; not "${unknown}"`)
  return {
    quick,
    runs: Number(text),
    only,
    json: values.json,
    write: !values['no-write'] && !quick && only.length === 0,
    install: !values['no-install'],
    help: values.help
  }
}
