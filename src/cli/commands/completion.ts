import { command, fail } from '../command.ts'
import { bashCompletion, zshCompletion } from '../completion.ts'

const SHELLS = ['bash', 'zsh'] as const

export const completion = command({
  name: 'completion',
  summary: 'print a script with which a shell completes the command line',
  operands: { shown: 'bash | zsh', says: 'which shell', choice: SHELLS },
  options: {},
  examples: ['source <(icn-relay completion bash)', 'icn-relay completion zsh > /usr/local/share/zsh/site-functions/_icn-relay'],
  take: (_values, [shell, ...more]) => {
    const known = SHELLS.find(name => name === shell)
    return known !== undefined && more.length === 0 ? known : fail('completion takes bash or zsh')
  },
  run: async (shell, { table, write }) => {
    await write(shell === 'bash' ? bashCompletion(table) : zshCompletion(table))
    return 0
  }
})
