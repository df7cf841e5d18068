import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../../autocannon/arguments.ts'
import { baselineCommand } from '../../autocannon/baseline/commands.ts'
import { buildRelay, runToEnd, type Ended } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const SLOW = fileURLToPath(new URL('../support/slow-relay.mjs', import.meta.url))

const baseline = async (...args: string[]): Promise<Ended> => await runToEnd('autocannon/baseline/main.ts', args)

test('the gate passes the relay it was measured with, and fails one that a change made slow', { timeout: 280_000 }, async t => {
  const file = join(await temporaryDirectory(t), 'baseline.json')
  // CPU, not time: what else this machine does must decide nothing here. A round is a third of a second of CPU on either side, and the slow relay is worse by more than rounds differ.
  const options = ['--baseline', file, '--only', 'hit-cpu', '--rounds', '1', '--program', await buildRelay(t)]
  const renewed = await baseline('renew', ...options, '--repetitions', '3')
  assert.equal(renewed.code, 0, renewed.stderr)
  assert.match(renewed.stdout, /^hit-cpu +\d/m)
  const passed = await baseline('gate', ...options)
  assert.equal(passed.code, 0, passed.stdout + passed.stderr)
  assert.match(passed.stdout, /^ok +hit-cpu .*\ngate: 1 ratios within their noise\n$/m)
  const failed = await baseline('gate', ...options, '--preload', SLOW)
  assert.equal(failed.code, 1, failed.stdout + failed.stderr)
  assert.match(failed.stdout, /^measured again: hit-cpu \(×\d/m)
  assert.match(failed.stdout, /^FAIL hit-cpu .* \d+ % worse, allowed \d+ %$/m)
  t.diagnostic(failed.stdout.split('\n').find(line => line.startsWith('FAIL')) ?? '')
})

test('what it does not understand it names, and ends with 2', async t => {
  for (const [args, message] of [[['gate', '--only', 'speed'], /no ratio or group of ratios "speed"/], [['watch'], /gate, renew or help, not watch/], [['gate', '--rounds', '0'], /--rounds is a whole number/]] as const) {
    await assert.rejects(baselineCommand(args), error => error instanceof UsageError && message.test(error.message))
  }
  await assert.rejects(baselineCommand(['gate', '--baseline', join(await temporaryDirectory(t), 'none.json')]), { code: 'ENOENT' })
  const { code, stderr } = await baseline('watch')
  assert.deepEqual([code, stderr], [2, 'load: gate, renew or help, not watch\n'])
})
