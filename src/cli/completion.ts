import type { CliCommand, CommandTable, Option, Options } from './command.ts'

/* Scripts that complete the command line, made of the table of commands. */

const optionsOf = ({ options }: CliCommand, general: Options): [string, Option][] => Object.entries<Option>({ ...options, ...general })

/** A word between single quotes, for any shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const DASHES = (options: readonly [string, Option][]): string => options.flatMap(([name, { short }]) => [`--${name}`, ...short === undefined ? [] : [`-${short}`]]).join(' ')

/** How bash completes the value of an option. */
function bashValue ({ choice, value }: Option): string | undefined {
  if (value === undefined) return undefined
  if (choice === 'file') return 'COMPREPLY=($(compgen -f -- "$current"))'
  if (choice === 'directory') return 'COMPREPLY=($(compgen -d -- "$current"))'
  return choice === undefined ? ':' : `COMPREPLY=($(compgen -W ${quoted(choice.join(' '))} -- "$current"))`
}

/** For `source <(icn-relay completion bash)`, or a file in /usr/share/bash-completion/completions. */
export function bashCompletion ({ relay, commands, general }: CommandTable): string {
  const branch = (command: CliCommand, first: boolean): string => {
    const values = optionsOf(command, general).flatMap(([name, option]) => {
      const complete = bashValue(option)
      return complete === undefined ? [] : [`        --${name}) ${complete}; return ;;`]
    })
    const words = command.operands?.choice === undefined || command.operands.choice === 'file' ? [] : command.operands.choice
    return `    ${first ? '*' : command.name})
      case $previous in
${values.join('\n')}
      esac
      words=${quoted([DASHES(optionsOf(command, general)), ...words, ...first ? commands.map(({ name }) => name) : []].join(' '))}
      ;;`
  }
  return `# bash completion of icn-relay, made by "icn-relay completion bash"
_icn_relay () {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words
  COMPREPLY=()
  case \${COMP_CWORD}:\${COMP_WORDS[1]} in
    1:*) words=${quoted([DASHES(optionsOf(relay, general)), ...commands.map(({ name }) => name)].join(' '))}; COMPREPLY=($(compgen -W "$words" -- "$current")); return ;;
  esac
  case \${COMP_WORDS[1]} in
${commands.map(command => branch(command, false)).join('\n')}
${branch(relay, true)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ \${#COMPREPLY[@]} -eq 0 && $current != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _icn_relay icn-relay
`
}

/** Text between brackets of a zsh specification. */
const zshText = (text: string): string => text.replace(/[[\]\\:]/g, '\\$&')

function zshOption ([name, { value, short, says, choice }]: [string, Option]): string {
  const action = choice === 'file' ? '_files' : choice === 'directory' ? '_files -/' : choice === undefined ? '' : `(${choice.join(' ')})`
  const spec = (dashed: string): string => quoted(`${dashed}[${zshText(says)}]${value === undefined ? '' : `:${value}:${action}`}`)
  return [spec(`--${name}`), ...short === undefined ? [] : [spec(`-${short}`)]].map(text => `        ${text} \\`).join('\n')
}

function zshOperands ({ operands }: CliCommand): string {
  if (operands === undefined) return '        && return'
  const { choice, shown } = operands
  const action = choice === undefined ? '' : choice === 'file' ? '_files' : `{ compadd -- ${choice.join(' ')}; _files }`
  return `        ${quoted(`*:${zshText(shown)}:${action}`)} && return`
}

/** For a file called `_icn-relay` in a directory of `$fpath`. */
export function zshCompletion ({ relay, commands, general }: CommandTable): string {
  const branch = (command: CliCommand): string => `    ${command.name})
      _arguments -s \\
${optionsOf(command, general).map(zshOption).join('\n')}
${zshOperands(command)}
      ;;`
  return `#compdef icn-relay
# zsh completion of icn-relay, made by "icn-relay completion zsh"
_icn_relay () {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${zshText(summary)}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command commands
    return
  fi
  case $words[2] in
${commands.map(command => branch(command).replace('_arguments -s', 'shift words; (( CURRENT-- )); _arguments -s')).join('\n')}
    *)
      _arguments -s \\
${optionsOf(relay, general).map(zshOption).join('\n')}
        && return
      ;;
  esac
}
_icn_relay "$@"
`
}
