import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { glibcVersion, isNewer } from '../../src/quinn/glibc-shim.ts'
import { newerGlibc } from '../../tools/harness/newer-glibc.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import type { EngineSmoke } from '../support/engine-smoke.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PACKAGE = `@moq/web-transport-linux-${process.arch}-gnu`
const CONTRACT = 'test/contracts/transport-quinn.test.ts'
const TIMEOUT_MS = 240_000

function withoutPackage (): string | undefined {
  try {
    createRequire(import.meta.url).resolve(PACKAGE)
    return undefined
  } catch {
    return `optional package ${PACKAGE} is not installed`
  }
}

const node = await newerGlibc()
const without = 'without' in node ? node.without : withoutPackage()

/** What Node under the newer glibc prints; a failure has all of it. Not as a part of this test run, whose reports have another form. */
async function run (...args: string[]): Promise<string> {
  const [program = process.execPath, ...before] = 'command' in node ? node.command : []
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env
  try {
    const { stdout } = await promisify(execFile)(program, [...before, '--import', 'tsx', ...args], { cwd: ROOT, env, timeout: TIMEOUT_MS, maxBuffer: 64 * 1_048_576 })
    return stdout
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string, stderr?: string }
    return assert.fail(`${String(error)}\n${stdout}\n${stderr}`)
  }
}

suite('the unchanged engine on glibc 2.38 or later', { skip: without ?? false }, () => {
  test('is loaded from its package, and serves a session', async t => {
    const directory = join(await temporaryDirectory(t), 'engine')
    const seen = JSON.parse(await run('test/support/engine-smoke.ts', directory)) as EngineSmoke
    assert.ok(!isNewer([2, 38], glibcVersion(seen.glibc ?? '') ?? []), `glibc ${seen.glibc}`)
    assert.equal(seen.file, createRequire(import.meta.url).resolve(PACKAGE))
    assert.deepEqual(seen.log, [])
    assert.ok(!existsSync(directory))
  })

  // Started as a program: `--test` would start another Node for it, by a path that is that of the loader here.
  test('passes the contract of viewer transports', { skip: existsSync(join(ROOT, CONTRACT)) ? false : 'engine limit: it has no contract suite yet' }, async () => {
    const output = await run('--test-reporter', 'tap', CONTRACT)
    const [passed, failed] = ['pass', 'fail'].map(name => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(output)?.[1]))
    assert.equal(failed, 0)
    assert.ok(passed !== undefined && passed > 0, `${passed} tests passed`)
  })
})
