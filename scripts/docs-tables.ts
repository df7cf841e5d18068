import { ERRORS } from '../src/base/errors.ts'
import { environmentName } from '../src/config/config.ts'
import { configTables } from '../src/config/schema.ts'
import { COMMANDS, EXITS } from '../src/cli/command-table.ts'
import { METRICS, type MetricDefinition } from '../src/plugins/metrics/definitions.ts'

/** The parts of `docs/operations.md` that come from the code, between `<!-- generated:NAME -->` and `<!-- /generated:NAME -->`. */
export const FILE = new URL('../docs/operations.md', import.meta.url)

interface KeySchema {
  readonly type?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly anyOf?: readonly { readonly const: string }[]
  readonly items?: { readonly type?: string | readonly string[] }
  readonly default?: unknown
  readonly description?: string
  readonly unit?: 'size' | 'time'
}

/** A table in Markdown. */
export function table (head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function typeOf ({ type, minimum, maximum, anyOf, items, unit }: KeySchema): string {
  if (anyOf !== undefined) return anyOf.map(option => `\`${option.const}\``).join(', ')
  if (type === 'array') return items?.type === 'object' ? 'list of tables' : items?.type === 'string' ? 'list of strings' : 'list of strings or tables'
  if (type === 'object') return 'table'
  if (type === 'number') return `number ${minimum ?? ''} to ${maximum ?? ''}`
  if (type !== 'integer') return type ?? ''
  const range = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? `integer ≥ ${minimum ?? 0}` : `integer ${minimum ?? 0} to ${maximum}`
  return unit === undefined ? range : `${range}, or a ${unit}`
}

function configuration (): string {
  return configTables().map(({ path, description, keys }) => {
    const rows = keys.map(({ path: names, schema, live }) => {
      const property = schema as KeySchema
      return [`\`${names.at(-1) ?? ''}\``, `\`${environmentName(...names)}\``, typeOf(property), `\`${JSON.stringify(property.default)}\``, (property.description ?? '') + (live ? ' (live)' : '')]
    })
    return `### [${path.join('.')}]\n\n${description}\n\n${table(['Key', 'Environment', 'Type', 'Default', 'Meaning'], rows)}`
  }).join('\n\n')
}

function metrics (): string {
  const rows = Object.entries<MetricDefinition>(METRICS).map(([name, { type, labels, help }]) => [`\`${name}\``, type, (labels ?? []).map(label => `\`${label}\``).join(', '), help])
  return table(['Metric', 'Type', 'Labels', 'Meaning'], rows)
}

function errors (): string {
  const rows = Object.entries(ERRORS).map(([code, { status, retryable, source, title }]) => [`\`${code}\``, String(status), retryable ? 'yes' : 'no', source, title])
  return table(['Code', 'Status', 'Retryable', 'Source', 'Title'], rows)
}

function commands (): string {
  const exits = (own: Readonly<Partial<Record<number, string>>>): string => Object.entries(own).map(([code, says]) => `${code}: ${says}`).join('; ')
  const rows = COMMANDS.map(({ name, operands, summary, exits: own = {} }) => [`\`${operands === undefined ? name : `${name} ${operands.shown}`}\``, summary, exits(own)])
  return `${table(['Command', 'What it does', 'Exit codes of its own'], rows)}\n\nExit codes of all: ${exits(EXITS)}.`
}

/** `text` of `file` with every generated part as `parts` make it now. @throws Error when one has no markers */
export function withParts (file: string, text: string, parts: Readonly<Record<string, () => string>>): string {
  return Object.entries(parts).reduce((result, [name, make]) => {
    const [begin, end] = [`<!-- generated:${name} -->`, `<!-- /generated:${name} -->`]
    const [from, to] = [result.indexOf(begin), result.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`${file} has no ${begin} … ${end}`)
    return `${result.slice(0, from)}${begin}\n\n${make()}\n\n${result.slice(to)}`
  }, text)
}

/** `text` with every generated part as the code has it now. @throws Error when a part has no markers */
export function withTables (text: string): string {
  return withParts('docs/operations.md', text, { commands, configuration, metrics, errors })
}
