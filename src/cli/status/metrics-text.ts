/** Longest text of metrics that is looked at, characters: many times what a relay with hundreds of super-nodes has. */
const MAX_TEXT = 16_777_216

/** One value of a metric. */
export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g
const ESCAPES: Readonly<Record<string, string>> = { n: '\n' }

function numberOf (text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text)
}

/** What `/metrics` says, by name; the text format of Prometheus, version 0.0.4. Lines that are none are left out. */
export class MetricsText {
  readonly #samples = new Map<string, MetricSample[]>()

  constructor (text: string) {
    for (const line of text.slice(0, MAX_TEXT).split('\n')) {
      const [, name = '', labels = '', value = ''] = LINE.exec(line) ?? []
      if (name === '') continue
      const sample = { labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, label = '', text = '']) => [label, text.replace(/\\(.)/g, (_all, of: string) => ESCAPES[of] ?? of)])), value: numberOf(value) }
      const known = this.#samples.get(name)
      if (known === undefined) this.#samples.set(name, [sample])
      else known.push(sample)
    }
  }

  /** All values of a metric. */
  of (name: string): readonly MetricSample[] { return this.#samples.get(name) ?? [] }

  /** Their sum; 0 where there are none. */
  sum (name: string): number { return this.of(name).reduce((sum, { value }) => sum + value, 0) }

  /** The first; undefined where there is none. */
  first (name: string): number | undefined { return this.of(name)[0]?.value }
}
