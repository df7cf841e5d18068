import { RelayError } from '../base/errors.ts'
import type { Config, ConfigFlags } from '../config/config.ts'
import type { ConfigLayers } from '../config/layers.ts'

/** An option of a command, as it is parsed, told and completed. */
export interface Option {
  /** What stands for its value; an option without one takes none. */
  readonly value?: string
  readonly short?: string
  readonly says: string
  /** What its value looks like, and that in words after "must be". */
  readonly mustBe?: readonly [pattern: RegExp, words: string]
  /** What can be completed: words, or names of files or directories. */
  readonly choice?: readonly string[] | 'file' | 'directory'
  /** Name of the option that it belongs to, and means nothing without. */
  readonly of?: string
}

export type Options = Readonly<Record<string, Option>>

/** What was said of each option. */
export type Values<O extends Options> = { readonly [Name in keyof O]: O[Name] extends { readonly value: string } ? string | undefined : boolean }

/** What a command takes besides options. */
export interface Operands {
  /** As the usage shows it: `CID…`. */
  readonly shown: string
  readonly says: string
  readonly choice?: readonly string[] | 'file'
}

/** All that the program can be asked for. */
export interface CommandTable {
  /** What it does when no command is named. */
  readonly relay: CliCommand
  /** In the order in which they are told. */
  readonly commands: readonly CliCommand[]
  /** Options of all of them. */
  readonly general: Options
}

/** What a command runs in. */
export interface CommandContext {
  /** Reads file, environment and command line, the first time. @throws RelayError RELAY_ERR_CONFIG */
  readonly layers: () => ConfigLayers
  /** The configuration of them. @throws RelayError RELAY_ERR_CONFIG */
  readonly settings: () => Config
  /** Where the layers came from. */
  readonly flags: ConfigFlags
  readonly table: CommandTable
  readonly input: NodeJS.ReadStream
  /** Writes to standard output; resolves when whoever reads has taken enough for more. */
  readonly write: (text: string) => Promise<void>
  /** Whether that is a terminal, on which a line can be written over. */
  readonly terminal: boolean
  /** Columns and rows of the terminal. */
  readonly size: () => { readonly columns: number, readonly rows: number }
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

/** What each exit code means; 0 is that what was asked for is done. */
export type ExitCodes = Readonly<Partial<Record<number, string>>>

/** A command of the program. */
export interface CliCommand<Asked = unknown> {
  readonly name: string
  /** What it does, in a few words. */
  readonly summary: string
  /** The rest of what there is to say. */
  readonly says?: string
  readonly operands?: Operands
  readonly options: Options
  /** Besides those that every command has. */
  readonly exits?: ExitCodes
  readonly examples?: readonly string[]
  /** What is asked for. @throws RelayError RELAY_ERR_CONFIG naming what is wrong */
  readonly take: (values: Values<Options>, operands: readonly string[]) => Asked
  /** @returns the exit code */
  readonly run: (asked: Asked, context: CommandContext) => Promise<number>
}

/** A command, with the types of its options known to its own parts only. */
export function command<const O extends Options, Asked> (told: Omit<CliCommand<Asked>, 'options' | 'take'> & {
  readonly options: O
  readonly take: (values: Values<O>, operands: readonly string[]) => Asked
}): CliCommand<Asked> {
  return told as unknown as CliCommand<Asked>
}

/** @throws RelayError RELAY_ERR_CONFIG */
export function fail (detail: string): never {
  throw new RelayError('RELAY_ERR_CONFIG', `command line: ${detail}; see --help`)
}

/** Options of commands that ask a running relay. */
export const ADMIN = {
  admin: { value: 'URL', says: 'where the admin API of the relay is, if not where the configuration says', mustBe: [/^https?:\/\//, 'a URL, http or https'] }
} as const satisfies Options

/** The option of commands that programs read. */
export const JSON_OPTION = { json: { says: 'print JSON, for programs' } } as const satisfies Options

export const isCid = (text: string): boolean => /^[A-Za-z0-9_-]{1,128}$/.test(text)
export const isUrl = (text: string): boolean => ADMIN.admin.mustBe[0].test(text)
export const CID_HINT = '1 to 128 of A-Z a-z 0-9 _ -'

/** JSON as it is printed: one value, and a line feed at its end. */
export const jsonText = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`
