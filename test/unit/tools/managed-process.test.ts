import assert from 'node:assert/strict'
import test, { suite, type TestContext } from 'node:test'
import { ManagedProcess, type ProcessOptions } from '../../../tools/harness/managed-process.ts'

/** A Node that runs `script`, killed with the test. */
function start (t: TestContext, script: string, options: ProcessOptions = {}): ManagedProcess {
  const started = ManagedProcess.start([process.execPath, '--eval', script], { name: 'it', ...options })
  t.after(async () => { await started.kill() })
  return started
}

suite('a process of the tools', () => {
  test('its lines of JSON are events, also for those who ask late; how it ended says what it said last', async t => {
    const process = start(t, 'console.log(\'{"event":"one","n":1}\\nwords\\n{half\\n{"event":"two"}\'); console.error(\'a remark\'); process.exitCode = 3')
    const heard: unknown[] = []
    const forget = process.onEvent(({ event }) => { heard.push(event) })
    assert.deepEqual(await process.waitFor(({ event }) => event === 'two'), { event: 'two' })
    assert.deepEqual(await process.waitFor(({ n }) => n === 1), { event: 'one', n: 1 })
    forget()
    assert.deepEqual(await process.exit, { code: 3, signal: null })
    assert.deepEqual(heard, ['one', 'two'])
    assert.equal(process.stderr(), 'a remark\n')
    assert.equal(process.running, false)
    assert.match(await process.ended, /^it exited with code 3; it said:\n(?:.*\n)*.*words/)
    await assert.rejects(process.waitFor(({ event }) => event === 'three'), /^Error: it exited with code 3/)
    await assert.rejects(process.usage(), /^Error: it exited/)
  })

  test('orders over the channel are answered one by one, and an end instead of an answer is an error', async t => {
    const process = start(t, 'process.on(\'message\', ({ n }) => { if (n === 0) process.exit(5); process.send({ twice: 2 * n }) }); process.on(\'disconnect\', () => process.exit(7)); process.send(\'ready\')', { ipc: true })
    assert.equal(await process.answer(), 'ready')
    assert.deepEqual(await process.ask({ n: 4 }), { twice: 8 })
    await assert.rejects(process.ask({ n: 0 }), /^Error: it exited with code 5$/)
    const other = start(t, 'process.on(\'disconnect\', () => process.exit(7)); process.send(\'ready\')', { ipc: true })
    await other.answer()
    await other.disconnect()
    assert.deepEqual(await other.exit, { code: 7, signal: null })
  })

  test('stop asks first, kill does not', async t => {
    const asked = start(t, 'process.on(\'SIGTERM\', () => process.exit(6)); setInterval(() => {}, 1000); console.log(\'{"event":"up"}\')')
    await asked.waitFor(({ event }) => event === 'up')
    await asked.stop()
    assert.deepEqual(await asked.exit, { code: 6, signal: null })
    await asked.stop()
    const killed = start(t, 'setInterval(() => {}, 1000)')
    await killed.kill()
    assert.equal(await killed.ended, 'it was ended by SIGKILL')
  })

  test('one that cannot be started has ended', async () => {
    const nothing = ManagedProcess.start(['/no/such/program'])
    assert.match(await nothing.ended, /^\/no\/such\/program could not be started: .*ENOENT/)
    await assert.rejects(nothing.waitFor(() => true), /could not be started/)
    await nothing.stop()
  })

  test('what it says is kept in bounds', async t => {
    const process = start(t, 'console.error(\'x\'.repeat(50000)); for (let n = 0; n <= 40000; n++) console.log(JSON.stringify({ n }))')
    await process.exit
    assert.equal(process.events.length, 20_001)
    assert.deepEqual(process.events.at(-1), { n: 40_000 })
    assert.equal(process.stderr().length, 20_000)
    assert.ok((await process.ended).length < 12 * 600)
  })

  test('settings of the user\'s relay do not reach it', async t => {
    process.env['ICN_RELAY_LOG_LEVEL'] = 'error'
    t.after(() => { delete process.env['ICN_RELAY_LOG_LEVEL'] })
    const child = start(t, 'console.log(JSON.stringify({ inherited: process.env.ICN_RELAY_LOG_LEVEL ?? null, own: process.env.ICN_RELAY_CACHE_PATH }))', { env: { ICN_RELAY_CACHE_PATH: '/x' } })
    assert.deepEqual(await child.waitFor(() => true), { inherited: null, own: '/x' })
  })
})
