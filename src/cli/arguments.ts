import { parseArgs, type ParseArgsConfig } from 'node:util'
import { RelayError } from '../base/errors.ts'
import type { ConfigFlags } from '../config/config.ts'
import { nearest } from '../config/text.ts'
import { fail, type CliCommand, type CommandContext, type Options, type Values } from './command.ts'
import { COMMANDS, GENERAL, RELAY } from './command-table.ts'

/** What the command line asks for. */
export interface Invocation {
  /** Undefined where it is not named: then a relay is run. */
  readonly name: string | undefined
  readonly command: CliCommand
  /** As the command takes it; undefined beside `help` and `version`. */
  readonly asked: unknown
  readonly flags: ConfigFlags
  readonly help: boolean
  readonly version: boolean
  readonly run: (context: CommandContext) => Promise<number>
}

const parserOptions = (options: Options): NonNullable<ParseArgsConfig['options']> =>
  Object.fromEntries(Object.entries(options).map(([name, { value, short }]) => [name, { type: value === undefined ? 'boolean' : 'string', ...short === undefined ? {} : { short } }] as const))

const isHashToken = (argument: string): boolean => argument.startsWith('--hash-token')
const HASH_TOKEN_HINT = '--hash-token takes no argument: it reads the token from standard input'

const inWords = new Intl.ListFormat('en-GB')

/** An option that this command does not know: whose it is. */
function refuseForeign (command: CliCommand, args: readonly string[]): void {
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, options: parserOptions({ ...GENERAL, ...command.options }) })
  for (const token of tokens) {
    if (token.kind !== 'option' || Object.hasOwn(GENERAL, token.name) || Object.hasOwn(command.options, token.name)) continue
    const owners = COMMANDS.filter(({ options }) => Object.hasOwn(options, token.name)).map(({ name }) => name)
    if (owners.length > 0) fail(`--${token.name} belongs to ${inWords.format(owners)}`)
    if (Object.hasOwn(RELAY.options, token.name)) fail(`--${token.name} stands beside no command`)
  }
}

function checkValues (options: Options, values: Values<Options>): void {
  for (const [name, { mustBe, of }] of Object.entries(options)) {
    const value = values[name]
    if (value === undefined || value === false) continue
    if (of !== undefined && (values[of] === undefined || values[of] === false)) fail(`--${name} belongs to --${of}`)
    if (mustBe !== undefined && !mustBe[0].test(String(value))) fail(`--${name} must be ${mustBe[1]}`)
  }
}

/** The command that is named, and what stands behind its name. */
function named ([first, ...rest]: readonly string[]): { command: CliCommand, name: string | undefined, args: readonly string[] } {
  const command = COMMANDS.find(({ name }) => name === first)
  if (command !== undefined) return { command, name: command.name, args: rest }
  if (first === undefined || first.startsWith('-')) return { command: RELAY, name: undefined, args: first === undefined ? [] : [first, ...rest] }
  // What stands beside it may be a token.
  if (rest.some(isHashToken)) return fail(HASH_TOKEN_HINT)
  const meant = nearest(first, COMMANDS.map(({ name }) => name))
  return fail(`"${first}" is no command${meant === undefined ? '' : `, did you mean ${meant}?`}`)
}

/** @throws RelayError RELAY_ERR_CONFIG naming the argument */
export function parseCommandLine (line: readonly string[]): Invocation {
  try {
    const { command, name, args } = named(line)
    refuseForeign(command, args)
    const options: Options = { ...GENERAL, ...command.options }
    const parsed = parseArgs({ args: [...args], strict: true, allowPositionals: command.operands !== undefined, options: parserOptions(options) })
    const values = Object.fromEntries(Object.entries(options).map(([option, { value }]) => [option, parsed.values[option] ?? (value === undefined ? false : undefined)])) as Values<Options> & Values<typeof GENERAL>
    const { config, 'cache-path': cachePath, region, help, version } = values
    const asked = (): unknown => {
      checkValues(command.options, values)
      return command.take(values, parsed.positionals)
    }
    const whatFor = help || version ? undefined : asked()
    return { name, command, asked: whatFor, flags: { config, cachePath, region }, help, version, run: async context => await command.run(whatFor, context) }
  } catch (error) {
    if (error instanceof RelayError) throw error
    // Node would repeat the argument, and here that is a token.
    if (line.some(isHashToken)) return fail(HASH_TOKEN_HINT)
    return fail(error instanceof Error ? error.message.split(/\.?\s*\n|\. |\.$/)[0] ?? '' : String(error))
  }
}
