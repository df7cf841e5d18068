import assert from 'node:assert/strict'
import test from 'node:test'
import { inheritedArguments, inheritedEnvironment } from '../../../src/spawn/exec-arguments.ts'

test('loaders are taken over in both spellings', () => {
  assert.deepEqual(inheritedArguments(['--import', 'tsx']), ['--import', 'tsx'])
  assert.deepEqual(inheritedArguments(['--import=tsx', '--enable-source-maps', '-C', 'dev']), ['--import=tsx', '--enable-source-maps', '-C', 'dev'])
  assert.deepEqual(inheritedArguments(['--cpu-prof', '--cpu-prof-dir=/tmp/p']), ['--cpu-prof', '--cpu-prof-dir=/tmp/p'])
})

test('a debugger port, evaluated code and options of the test runner are not', () => {
  assert.deepEqual(inheritedArguments(['--inspect-brk=9229', '--import', 'tsx', '--test', '--test-reporter', 'spec', '--max-old-space-size=99']), ['--import', 'tsx'])
  assert.deepEqual(inheritedArguments(['--input-type=module', '-e', 'await import("./x.js")']), [])
  assert.deepEqual(inheritedArguments(['--import']), ['--import'])
})

test('the environment of the gateway holds none of the configuration, and a thread pool that survives a disk that hangs', () => {
  assert.deepEqual(inheritedEnvironment({ PATH: '/bin', ICN_RELAY_AUTH_TOKENS: '["secret"]', ICN_RELAY_CONFIG: 'x' }), { PATH: '/bin', UV_THREADPOOL_SIZE: '16' })
  assert.equal(inheritedEnvironment({ UV_THREADPOOL_SIZE: '32' }).UV_THREADPOOL_SIZE, '32')
})
