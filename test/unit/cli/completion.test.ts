import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { suite, test } from 'node:test'
import { COMMANDS, TABLE } from '../../../src/cli/command-table.ts'
import { bashCompletion, zshCompletion } from '../../../src/cli/completion.ts'

/** What bash offers for each command line, the last word of which is being typed. */
function offered (lines: readonly (readonly string[])[]): string[][] {
  const asks = lines.map(words => `COMP_WORDS=(icn-relay ${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _icn_relay; printf '%s ' "\${COMPREPLY[@]}"; echo`)
  const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', `${bashCompletion(TABLE)}\n${asks.join('\n')}`], { encoding: 'utf8', timeout: 20_000 })
  assert.deepEqual([status, stderr], [0, ''])
  return stdout.split('\n').slice(0, lines.length).map(line => line.split(' ').filter(word => word !== ''))
}

suite('completion', () => {
  test('bash offers commands, options of the command, and values', () => {
    const [commands = [], beginning, options = [], shells, check, value, own = []] = offered([[''], ['re'], ['purge', '--'], ['completion', ''], ['config', 'ch'], ['purge', '--tag', ''], ['--val']])
    for (const { name } of COMMANDS) assert.ok(commands.includes(name), name)
    assert.deepEqual(beginning, ['repair', 'reload'])
    for (const option of ['--prefix', '--tag', '--config', '--help']) assert.ok(options.includes(option), option)
    assert.ok(!options.includes('--concurrency'))
    assert.deepEqual(shells?.slice(-2), ['bash', 'zsh'])
    assert.deepEqual([check, value, own], [['check'], [], ['--validate']])
  })

  test('zsh is told the same, and its shell takes the script where it is installed', t => {
    const script = zshCompletion(TABLE)
    for (const { name, options } of COMMANDS) {
      assert.ok(script.includes(`    ${name})`), name)
      for (const option of Object.keys(options)) assert.ok(script.includes(`'--${option}[`), option)
    }
    const { error, status, stderr } = spawnSync('zsh', ['-n'], { input: script, encoding: 'utf8', timeout: 20_000 })
    if (error !== undefined) return t.diagnostic('zsh is not installed')
    assert.deepEqual([status, stderr], [0, ''])
  })
})
