import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { RelayError } from '../../../src/base/errors.ts'
import { parseCommandLine } from '../../../src/cli/arguments.ts'
import { COMMANDS, GENERAL, RELAY } from '../../../src/cli/command-table.ts'
import { usage, usageOf } from '../../../src/cli/help.ts'

const asked = (...args: readonly string[]): unknown => parseCommandLine(args).asked

/** The line of the error of these arguments. */
function refusal (args: readonly string[]): string {
  try {
    parseCommandLine(args)
  } catch (error) {
    assert.ok(error instanceof RelayError, String(error))
    assert.equal(error.code, 'RELAY_ERR_CONFIG')
    return error.message
  }
  return assert.fail(`accepted: ${args.join(' ')}`)
}

suite('command line', () => {
  test('without a command it says how a relay is run', () => {
    const { name, flags, help, version } = parseCommandLine(['--config=a', '--cache-path', 'b', '--region', 'c', '-h', '-v'])
    assert.deepEqual({ name, flags, help, version }, { name: undefined, flags: { config: 'a', cachePath: 'b', region: 'c' }, help: true, version: true })
    assert.deepEqual(asked(), { validate: false, hashToken: false, signUrl: undefined })
    assert.deepEqual(asked('--validate'), { validate: true, hashToken: false, signUrl: undefined })
    assert.deepEqual(asked('--hash-token'), { validate: false, hashToken: true, signUrl: undefined })
    assert.deepEqual(asked('--sign-url', '/a'), { validate: false, hashToken: false, signUrl: { path: '/a', expiresInSeconds: 3_600, viewer: undefined, ip: undefined } })
    assert.deepEqual(asked('--sign-url', '/a', '--expires-in', '60', '--viewer', 'v', '--ip', '::1'), { validate: false, hashToken: false, signUrl: { path: '/a', expiresInSeconds: 60, viewer: 'v', ip: '::1' } })
  })

  test('each command has what it is asked for, and all have the options of the configuration', () => {
    assert.deepEqual(asked('doctor'), { json: false })
    assert.deepEqual(asked('doctor', '--json'), { json: true })
    assert.deepEqual(parseCommandLine(['repair', 'QmVideo', '--config', 'a', '--admin', 'http://127.0.0.1:9']).flags.config, 'a')
    assert.deepEqual(asked('repair', 'QmVideo', '--admin', 'http://127.0.0.1:9'), { cid: 'QmVideo', json: false, admin: 'http://127.0.0.1:9' })
    assert.deepEqual(asked('warm', 'QmA', 'QmB', '--parity', '--concurrency', '16'), { cids: ['QmA', 'QmB'], manifest: undefined, parity: true, concurrency: 16, admin: undefined, json: false })
    assert.deepEqual(asked('warm', '--admin', 'http://127.0.0.1:9', 'http://a/shards/QmA/manifest.json'), { cids: [], manifest: 'http://a/shards/QmA/manifest.json', parity: false, concurrency: undefined, admin: 'http://127.0.0.1:9', json: false })
    assert.deepEqual(asked('tail', '--object', 'QmA', '--status', '5xx', '--slower', '500', '--json'), { filter: { object: 'QmA', status: '5xx', slowerThanMs: '500' }, json: true, admin: undefined })
    assert.deepEqual(asked('block', 'QmA', 'tv-*', '--reason', 'order 12'), { entries: ['QmA', 'tv-*'], reason: 'order 12', json: false, admin: undefined })
    assert.deepEqual(asked('unblock', 'QmA', '--admin', 'http://a'), { entries: ['QmA'], json: false, admin: 'http://a' })
    assert.deepEqual(asked('purge', 'QmA', 'QmB'), { cids: ['QmA', 'QmB'], prefix: undefined, tag: undefined, all: false, soft: false, json: false, admin: undefined })
    assert.deepEqual(asked('purge', '--prefix', 'tv-*', '--soft', '--admin', 'http://a'), { cids: [], prefix: 'tv-*', tag: undefined, all: false, soft: true, json: false, admin: 'http://a' })
    assert.deepEqual(asked('drain', 'https://b', '--deadline', '60', '--wait'), { alternates: ['https://b'], deadlineMs: 60_000, wait: true, undo: false, json: false, admin: undefined })
    assert.deepEqual(asked('top', '--json', '--seconds', '5'), { once: true, ms: 5_000, json: true, admin: undefined })
    assert.deepEqual(asked('config', 'check', 'relay.toml'), { check: 'relay.toml', running: false, changed: false, json: false, admin: undefined })
    assert.equal(asked('completion', 'zsh'), 'zsh')
    assert.deepEqual(asked('reload', '--admin', 'http://relay:9103'), { admin: 'http://relay:9103', json: false })
  })

  test('what is wrong is one line that names it', () => {
    const wrong: readonly (readonly [line: string, word: string])[] = [
      ['purge', 'CIDs'], ['purge QmA --all', 'CIDs'], ['purge Qm.A', 'CIDs'], ['purge --tag a/b', '--tag'], ['purge --prefix *', '--prefix'], ['purge --prefix', '--prefix'],
      ['warm', 'CIDs'], ['warm QmA Qm.B', 'CIDs'], ['warm QmA http://a/shards/QmA/manifest.json', 'CIDs'], ['warm QmA --concurrency 17', '--concurrency'], ['warm QmA --all', '--all belongs to purge'], ['warm QmA --validate', '--validate stands beside no command'],
      ['block', 'entries'], ['unblock', 'entries'], ['unblock --reason x', '--reason belongs to block'], ['block QmA --parity', '--parity belongs to warm'], [`block QmA --reason ${'x'.repeat(201)}`, '--reason'],
      ['repair', 'CID'], ['repair ../x', 'CID'], ['repair Qm more', 'more'], ['repair Qm --admin host', '--admin must be a URL'], ['repair Qm --concurrency 2', '--concurrency'],
      ['tail QmA', 'QmA'], ['tail --status 6xx', '--status'], ['tail --slower 1s', '--slower'], ['doctor now', 'now'], ['doctor --admin http://a', '--admin'], ['reload now', 'now'], ['reload --parity', '--parity'],
      ['drain b', 'URLs'], ['drain --undo --wait', '--undo'], ['drain --deadline 3601', '--deadline'], ['top --seconds 0', '--seconds'], ['config check', 'check'], ['config show', 'check'], ['config --admin http://a', '--running'], ['completion fish', 'bash or zsh'], ['status now', 'now'], ['--reason x', '--reason belongs to block'], ['--cofnig x', '--cofnig'], ['--config', '--config'], ['--validate=yes', '--validate'], ['--config --validate', '--config'], ['--admin http://a', '--admin'], ['--parity', '--parity'], ['--status 404', '--status'],
      ['--viewer x', '--viewer belongs to --sign-url'], ['--sign-url /a --expires-in 0', '--expires-in'], ['relay.toml', 'relay.toml'], ['prge QmA', 'did you mean purge?'], ['--config a extra', 'extra']
    ]
    for (const [line, word] of wrong) {
      const message = refusal(line.split(' '))
      assert.match(message, /^command line: [^\n]*; see --help$/, line)
      assert.ok(message.includes(word), `${line}: ${message}`)
    }
  })

  test('no token that stands where it must not is repeated', () => {
    for (const args of [['--hash-token', 'secret-secret-secret'], ['--hash-token=secret-secret-secret'], ['secret-secret-secret', '--hash-token']]) {
      assert.equal(refusal(args), 'command line: --hash-token takes no argument: it reads the token from standard input; see --help')
    }
  })
})

suite('the table of commands', () => {
  test('has each name once, and no command has an option of all under another meaning', () => {
    assert.equal(new Set(COMMANDS.map(({ name }) => name)).size, COMMANDS.length)
    for (const { name, options } of [RELAY, ...COMMANDS]) {
      for (const option of Object.keys(options)) assert.ok(!Object.hasOwn(GENERAL, option), `${name} --${option}`)
      for (const [option, { of }] of Object.entries(options)) assert.ok(of === undefined || Object.hasOwn(options, of), `${name} --${option}`)
    }
  })

  test('is what --help prints: every command, option and exit code, in lines of 100 columns', () => {
    const all = usage()
    for (const { name } of COMMANDS) assert.match(all, new RegExp(`^  ${name} `, 'm'))
    for (const option of Object.keys({ ...GENERAL, ...RELAY.options })) assert.ok(all.includes(`--${option}`), option)
    for (const command of COMMANDS) {
      const text = usageOf(command)
      assert.ok(text.startsWith(`Usage: icn-relay ${command.name} `), command.name)
      for (const option of Object.keys({ ...GENERAL, ...command.options })) assert.match(text, new RegExp(`^ +(?:-\\w, )?--${option}\\b`, 'm'))
      for (const code of Object.keys(command.exits ?? {})) assert.match(text, new RegExp(`^  ${code} `, 'm'))
    }
    for (const line of [all, ...COMMANDS.map(usageOf)].join('\n').split('\n')) assert.ok(line.length <= 120, line)
  })

  test('--help beside a command needs nothing else of it', () => {
    for (const { name } of COMMANDS) assert.equal(parseCommandLine([name, '--help']).help, true)
  })
})
