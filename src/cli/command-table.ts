import type { CliCommand, CommandTable, Options } from './command.ts'
import { block, unblock } from './commands/block.ts'
import { completion } from './commands/completion.ts'
import { config } from './commands/config.ts'
import { doctor } from './commands/doctor.ts'
import { drain } from './commands/drain.ts'
import { purge } from './commands/purge.ts'
import { reload } from './commands/reload.ts'
import { repair } from './commands/repair.ts'
import { relay } from './commands/relay.ts'
import { status } from './commands/status.ts'
import { tail } from './commands/tail.ts'
import { top } from './commands/top.ts'
import { warm } from './commands/warm.ts'

/** Options that every command has. */
export const GENERAL = {
  config: { value: 'FILE', says: 'TOML configuration (also ICN_RELAY_CONFIG)', choice: 'file' },
  'cache-path': { value: 'DIR', says: 'directory of the cache, overrides [cache] path', choice: 'directory' },
  region: { value: 'NAME', says: 'own region, overrides [region] override' },
  help: { short: 'h', says: 'print what a command takes' },
  version: { short: 'v', says: 'print the version' }
} as const satisfies Options

/** Exit codes of every command. */
export const EXITS = {
  0: 'what was asked for is done',
  1: 'it was refused, or failed, or the command line or the configuration is wrong; standard error says what',
  3: 'no relay answers where one is asked'
} as const

/** What the program does when no command is named. */
export const RELAY: CliCommand = relay as CliCommand

/** The others, in the order in which they are told. */
export const COMMANDS = [status, top, tail, warm, purge, block, unblock, repair, drain, reload, config, doctor, completion] as readonly CliCommand[]

export const TABLE: CommandTable = { relay: RELAY, commands: COMMANDS, general: GENERAL }
