import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import test, { type TestContext } from 'node:test'
import { gatewayPid } from '../../../tools/harness/gateway-process.ts'
import { until } from '../../../tools/harness/http.ts'

/** A process with the gateway among its arguments, under the name of `program`. */
function pretend (t: TestContext, program: string): ChildProcess {
  const child = spawn(process.execPath, ['--eval', 'process.stdin.resume()', 'dist/gateway/main.js'], { argv0: program, stdio: ['pipe', 'ignore', 'ignore'] })
  t.after(() => { child.kill('SIGKILL') })
  return child
}

test('what is about to become the gateway, as another user, is not taken for it', { skip: process.platform === 'linux' ? false : 'reads /proc' }, async t => {
  // Both have their names as soon as they have been started.
  pretend(t, '/usr/bin/setpriv')
  assert.equal(await gatewayPid(process.pid), undefined)
  const { pid } = pretend(t, process.execPath)
  assert.equal(await until(async () => await gatewayPid(process.pid), found => found !== undefined), pid)
})
