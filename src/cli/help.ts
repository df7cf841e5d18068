import type { CliCommand, ExitCodes, Option, Options } from './command.ts'
import { COMMANDS, EXITS, GENERAL, RELAY } from './command-table.ts'

/** Columns of the text. */
const WIDTH = 100

/** An option as it is written. */
export function optionText (name: string, { value, short }: Option): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`
}

/** How a command is called. */
function synopsis ({ name, operands, options }: CliCommand): string {
  const belonging = Object.entries(options).filter(([, { of }]) => of === undefined).map(([option, told]) => `[${optionText(option, told)}]`)
  return ['icn-relay', ...name === RELAY.name ? [] : [name], ...operands === undefined ? [] : [operands.shown], ...belonging, '[options]'].join(' ')
}

/** Exit codes of a command, those of every command among them. */
export function exitsOf ({ exits = {} }: Pick<CliCommand, 'exits'>): ExitCodes {
  const merged = { ...EXITS, ...exits[1] === undefined ? {} : { 1: `${exits[1]}; or ${EXITS[1]}` } }
  return { ...exits, ...merged }
}

/** Words in lines of at most so many columns. @param indent columns before every line but the first */
function wrapped (text: string, width: number, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width - indent) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`)
}

function rows (entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length)) + 4
  return entries.map(([name, says]) => `  ${name.padEnd(width - 2)}${wrapped(says, WIDTH, width)}\n`).join('')
}

const optionRows = (options: Options): string => rows(Object.entries(options).map(([name, option]) => [`${option.of === undefined ? '' : '  '}${optionText(name, option)}`, option.says]))

const exitRows = (told: ExitCodes): string => rows(Object.entries(told).map(([code, says]) => [code, says ?? '']))

/** What `--help` prints without a command. */
export function usage (): string {
  return `Usage: icn-relay [options]
       icn-relay COMMAND [options]

Without a command it runs a relay. "icn-relay COMMAND --help" has what a command takes.

Commands:
${rows(COMMANDS.map(({ name, operands, summary }) => [operands === undefined ? name : `${name} ${operands.shown}`, summary]))}
Options:
${optionRows(GENERAL)}
Without a command:
${optionRows(RELAY.options)}
Exit codes:
${exitRows(EXITS)}
Every key is also an environment variable: [cache] max_bytes is ICN_RELAY_CACHE_MAX_BYTES; lists are written as JSON.
Command line beats environment, environment beats file. docs/operations.md lists every key.
`
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

/** What `--help` prints beside a command. */
export function usageOf (command: CliCommand): string {
  const { operands, options, summary, says, examples } = command
  const parts = [
    `Usage: ${wrapped(synopsis(command), WIDTH, 7)}\n`,
    `${wrapped([sentence(summary), ...says === undefined ? [] : [says]].join(' '), WIDTH, 0)}\n`,
    ...operands === undefined ? [] : [rows([[operands.shown, operands.says]])],
    ...Object.keys(options).length === 0 ? [] : [`Options:\n${optionRows(options)}`],
    `Of every command:\n${optionRows(GENERAL)}`,
    `Exit codes:\n${exitRows(exitsOf(command))}`,
    ...examples === undefined ? [] : [`Examples:\n${examples.map(example => `  ${example}\n`).join('')}`]
  ]
  return parts.join('\n')
}
