/** `deploy/icn-relay.service`, as systemd itself judges it. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { defaultConfig } from '../../src/config/config.ts'
import { LISTENERS } from '../../src/spawn/listen-sockets.ts'

const UNIT = fileURLToPath(new URL('../../deploy/icn-relay.service', import.meta.url))
/** "OK" begins below 3, of 10. */
const EXPOSURE = 2

function without (): string | false {
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' })
    return false
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error
    return 'needs systemd-analyze (apt-get install systemd)'
  }
}

suite('the unit', () => {
  test('exposes little', { skip: without() }, () => {
    const verdict = execFileSync('systemd-analyze', ['security', '--offline=yes', '--no-pager', UNIT], { encoding: 'utf8' })
    const [, level, word] = /Overall exposure level for icn-relay\.service: ([\d.]+) (\w+)/.exec(verdict) ?? []
    assert.equal(word, 'OK', verdict.slice(-300))
    assert.ok(Number(level) <= EXPOSURE, `${level}`)
  })

  test('its sockets are units that systemd takes, under the names that the relay knows', { skip: without() }, () => {
    for (const name of LISTENERS) {
      const unit = join(dirname(UNIT), `icn-relay-${name}.socket`)
      // It says on standard error what it does not know, and calls that no failure.
      const { stderr, status } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8', env: { ...process.env, SYSTEMD_UNIT_PATH: `${dirname(UNIT)}:` } })
      assert.deepEqual([status, stderr.split('\n').filter(line => line.includes(name))], [0, []])
      assert.match(readFileSync(unit, 'utf8'), new RegExp(`^FileDescriptorName=${name}$`, 'm'))
    }
  })

  test('gives the relay the time to stop, its descriptors, and its credential', () => {
    const text = readFileSync(UNIT, 'utf8')
    const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? assert.fail(`no ${key}`)
    assert.ok(Number(value('TimeoutStopSec')) * 1_000 > defaultConfig().viewer.stop_timeout_ms + 5_000)
    assert.equal(value('LimitNOFILE'), '65536')
    assert.match(value('ExecStart'), / \/opt\/icn-relay\/dist\/start\.cjs --config /)
    const operations = readFileSync(fileURLToPath(new URL('../../docs/operations.md', import.meta.url)), 'utf8')
    assert.ok(operations.includes(`/run/credentials/icn-relay.service/${value('LoadCredential').split(':')[0] ?? ''}`))
  })
})
