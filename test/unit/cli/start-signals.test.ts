import assert from 'node:assert/strict'
import test from 'node:test'
import { StartSignals } from '../../../src/cli/start-signals.ts'

const NAMES = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

test('while handlers change hands there is always one: a signal that finds none is lost to process 1', t => {
  const first = (): void => {}
  const second = (): void => {}
  for (const name of NAMES) process.on(name, first).on(name, second)
  const fewest = new Map<string, number>()
  const watch = (name: string | symbol): void => { fewest.set(String(name), Math.min(fewest.get(String(name)) ?? Infinity, process.listenerCount(name))) }
  process.on('removeListener', watch)
  t.after(() => { process.off('removeListener', watch) })
  // Its deadline would end this process, and the tests of other files with it.
  const signals = new StartSignals(2_000_000_000)
  for (const name of NAMES) {
    assert.ok(!process.listeners(name).includes(first) && !process.listeners(name).includes(second), name)
    assert.ok((fewest.get(name) ?? 0) > 0, `${name} had no listener for a moment`)
  }
  assert.equal(signals.signal.aborted, false)
  process.emit('SIGHUP')
  assert.equal(signals.signal.aborted, false)
  process.emit('SIGTERM')
  assert.equal(signals.signal.aborted, true)
  const left = NAMES.map(name => process.listenerCount(name))
  signals.end()
  assert.deepEqual(NAMES.map(name => process.listenerCount(name)), left.map(count => count - 1))
})
