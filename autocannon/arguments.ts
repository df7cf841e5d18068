import { parseArgs } from 'node:util'

/** What was typed cannot be meant; the message says which word and what would be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

interface Described { readonly help: string }

export type OptionDefinition =
  | Described & { readonly kind: 'number', readonly min: number, readonly max: number, readonly whole?: boolean, readonly default?: number }
  | Described & { readonly kind: 'choice', readonly choices: readonly string[], readonly default: string }
  | Described & { readonly kind: 'text', readonly default?: string }
  | Described & { readonly kind: 'list' }
  | Described & { readonly kind: 'flag' }

export type OptionDefinitions = Readonly<Record<string, OptionDefinition>>

type ValueOf<D extends OptionDefinition> =
  D extends { kind: 'number' } ? (D extends { default: number } ? number : number | undefined)
    : D extends { kind: 'choice', choices: ReadonlyArray<infer C> } ? C
      : D extends { kind: 'text' } ? (D extends { default: string } ? string : string | undefined)
        : D extends { kind: 'list' } ? readonly string[]
          : boolean

export type OptionValues<T extends OptionDefinitions> = { readonly [K in keyof T]: ValueOf<T[K]> }

export interface Parsed<T extends OptionDefinitions> {
  readonly words: readonly string[]
  readonly options: OptionValues<T>
}

function numberOf (name: string, text: string, { min, max, whole = false }: Extract<OptionDefinition, { kind: 'number' }>): number {
  const value = text.trim() === '' ? NaN : Number(text)
  if (Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isInteger(value))) return value
  throw new UsageError(`--${name} is ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}, not ${JSON.stringify(text)}`)
}

function valueOf (name: string, definition: OptionDefinition, given: string | boolean | readonly (string | boolean)[] | undefined): unknown {
  switch (definition.kind) {
    case 'flag': return given === true
    case 'list': return given ?? []
    case 'text': return given ?? definition.default
    case 'number': return typeof given === 'string' ? numberOf(name, given, definition) : definition.default
    case 'choice': {
      const value = given ?? definition.default
      if (typeof value === 'string' && definition.choices.includes(value)) return value
      throw new UsageError(`--${name} is ${definition.choices.join(' or ')}, not ${JSON.stringify(given)}`)
    }
  }
}

/** Reads a command line by its definitions. @throws UsageError for unknown options, missing or impossible values */
export function readArguments<const T extends OptionDefinitions> (args: readonly string[], definitions: T): Parsed<T> {
  const config = Object.fromEntries(Object.entries(definitions).map(([name, { kind }]) =>
    [name, { type: kind === 'flag' ? 'boolean' as const : 'string' as const, multiple: kind === 'list' }]))
  const { values, positionals, tokens } = parseArgs({ args: [...args], options: config, strict: false, allowPositionals: true, tokens: true })
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const definition = definitions[token.name]
    if (definition === undefined) throw new UsageError(`unknown option ${token.rawName}; known are ${Object.keys(definitions).map(name => `--${name}`).join(' ')}`)
    if (definition.kind === 'flag' && token.value !== undefined) throw new UsageError(`--${token.name} takes no value`)
    if (definition.kind !== 'flag' && token.value === undefined) throw new UsageError(`--${token.name} needs a value`)
  }
  const options = Object.fromEntries(Object.entries(definitions).map(([name, definition]) => [name, valueOf(name, definition, values[name])]))
  return { words: positionals, options: options as OptionValues<T> }
}

/** Runs a program: what its command line is wrong about is one line and exit code 2, everything else its own affair. @param main its exit code */
export async function runProgram (name: string, main: (args: readonly string[]) => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`${name}: ${error.message}\n`)
    process.exitCode = 2
  }
}

/** Help of options, one line each. */
export function optionHelp (definitions: OptionDefinitions): string {
  return Object.entries(definitions).map(([name, definition]) => {
    const value = definition.kind === 'flag' ? '' : definition.kind === 'choice' ? ` <${definition.choices.join('|')}>` : definition.kind === 'number' ? ' <n>' : ' <text>'
    const fallback = 'default' in definition && definition.default !== undefined ? ` (${String(definition.default)})` : ''
    return `  --${name}${value}`.padEnd(34) + definition.help + fallback
  }).join('\n')
}

/** `--set cache.ram_bytes=0`: keys of the relay's configuration; values are read as JSON where they are, else as text. @throws UsageError */
export function settingsOf (texts: readonly string[]): Record<string, Record<string, unknown>> {
  const settings: Record<string, Record<string, unknown>> = {}
  for (const text of texts) {
    const [, section, key, value] = /^([a-z_]+)\.([a-z_]+)=(.*)$/s.exec(text) ?? []
    if (section === undefined || key === undefined || value === undefined) throw new UsageError(`--set has the form section.key=value, not ${JSON.stringify(text)}`)
    settings[section] = { ...settings[section], [key]: jsonOrText(value) }
  }
  return settings
}

function jsonOrText (text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
