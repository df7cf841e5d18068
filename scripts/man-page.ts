import { COMMANDS, EXITS, GENERAL, RELAY } from '../src/cli/command-table.ts'
import type { CliCommand, ExitCodes, Option, Options } from '../src/cli/command.ts'
import { exitsOf } from '../src/cli/help.ts'
import { VERSION } from '../src/base/version.ts'

/** The manual page, in the man macros of roff (groff_man(7)), from the same table as `--help`. */
export const MAN_PAGE = new URL('../man/icn-relay.1', import.meta.url)

/** Text as roff takes it: nothing in it is a request, and a hyphen is the one that is typed. */
export function roff (text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('…', '\\&...').replace(/^([.'])/gm, '\\&$1')
}

/** One argument of a macro. */
const argument = (text: string): string => `"${roff(text).replaceAll('"', '\\(dq')}"`

const bold = (text: string): string => `\\fB${roff(text)}\\fR`
const italic = (text: string): string => `\\fI${roff(text)}\\fR`

const sentence = (text: string): string => roff(`${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`)

function optionTag (name: string, { value, short }: Option): string {
  return `${short === undefined ? '' : `${bold(`-${short}`)}, `}${bold(`--${name}`)}${value === undefined ? '' : ` ${italic(value)}`}`
}

const tagged = (tag: string, says: string): string => `.TP\n${tag}\n${says}`

const optionList = (options: Options): string[] => Object.entries(options).map(([name, option]) => tagged(optionTag(name, option), `${sentence(option.says)}${option.of === undefined ? '' : ` Beside ${bold(`--${option.of}`)}.`}`))

const exitList = (exits: ExitCodes): string[] => Object.entries(exits).map(([code, says = '']) => tagged(bold(code), sentence(says)))

function synopsisLine ({ name, operands, options }: CliCommand): string {
  const own = Object.entries(options).filter(([, { of }]) => of === undefined).map(([option, told]) => `[${optionTag(option, told)}]`)
  return [bold(name === RELAY.name ? name : `icn-relay ${name}`), ...operands === undefined ? [] : [italic(operands.shown)], ...own, `[${italic('options')}]`].join(' ')
}

function commandPart (command: CliCommand): string[] {
  const { name, operands, options, summary, says, exits, examples } = command
  return [
    `.SS ${argument(name)}`,
    synopsisLine(command),
    '.PP',
    [sentence(summary), ...says === undefined ? [] : [sentence(says)]].join('\n'),
    ...operands === undefined ? [] : [tagged(italic(operands.shown), sentence(operands.says))],
    ...optionList(options),
    ...exits === undefined ? [] : ['.PP', `Exit codes: ${Object.entries(exitsOf(command)).filter(([code]) => Object.hasOwn(exits, code)).map(([code, text = '']) => `${bold(code)}, ${roff(text)}`).join('; ')}.`],
    ...examples === undefined ? [] : ['.PP', '.nf', ...examples.map(roff), '.fi']
  ]
}

/** Signals as docs/operations.md has them. */
const SIGNALS: Readonly<Record<string, string>> = {
  'SIGTERM, SIGINT': 'the relay stops: viewer.lame_duck_ms, then viewer.stop_timeout_ms for what is under way; a second one ends it immediately',
  SIGHUP: 'the configuration is read again, with all files that it names, and the file of the access log is opened anew',
  SIGUSR1: 'the file of the access log is opened anew'
}

const FILES: Readonly<Record<string, string>> = {
  '/etc/icn-relay/relay.toml': 'where deploy/icn-relay.service has the configuration',
  'cache.path/admin-token': 'the admin token that the relay makes where none is configured; commands that ask a running relay read it'
}

/** The page as it is now. */
export function manPage (): string {
  return [
    `.TH ICN\\-RELAY 1 "" ${argument(`icn-relay ${VERSION}`)} "System Administration"`,
    '.SH NAME',
    roff('icn-relay - regional edge relay for sharded video'),
    '.SH SYNOPSIS',
    `${bold('icn-relay')} [${italic('options')}]`,
    '.br',
    `${bold('icn-relay')} ${italic('command')} [${italic('options')}]`,
    '.SH DESCRIPTION',
    sentence('Caches immutable shards of videos from super-nodes on its disk, and serves them to viewers over HTTP, WebTransport and WebSocket.'),
    sentence('Without a command it runs a relay.'),
    sentence('The commands ask one that runs, over its admin API, or look at its configuration.'),
    '.SH OPTIONS',
    'Of every command:',
    ...optionList(GENERAL),
    '.PP',
    'Without a command:',
    ...optionList(RELAY.options),
    '.SH COMMANDS',
    ...COMMANDS.flatMap(commandPart),
    '.SH EXIT STATUS',
    ...exitList(EXITS),
    '.SH ENVIRONMENT',
    tagged(bold('ICN_RELAY_CONFIG'), sentence('the configuration file, where no --config names it')),
    tagged(`${bold('ICN_RELAY_')}${italic('SECTION_KEY')}`, sentence('every key of the configuration: [cache] max_bytes is ICN_RELAY_CACHE_MAX_BYTES; lists are written as JSON; the command line beats the environment, and the environment the file')),
    '.SH FILES',
    ...Object.entries(FILES).map(([path, says]) => tagged(italic(path), sentence(says))),
    '.SH SIGNALS',
    ...Object.entries(SIGNALS).map(([name, says]) => tagged(bold(name), sentence(says))),
    '.SH SEE ALSO',
    sentence('docs/operations.md and docs/runbook.md of the package'),
    ''
  ].join('\n')
}
