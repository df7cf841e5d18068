import assert from 'node:assert/strict'
import test from 'node:test'
import { pino } from 'pino'
import { LazyLogger } from '../../../src/base/lazy-logger.ts'

test('a child is made with its first line, has its bindings, and none is made for a line that the level holds back', t => {
  const lines: Record<string, unknown>[] = []
  const parent = pino({ level: 'info' }, { write: line => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const made = t.mock.method(parent, 'child')
  const lazy = new LazyLogger(parent, { reqId: 'a' }, {})
  lazy.debug('not seen')
  lazy.trace({ key: 1 }, 'not seen either')
  lazy.silent()
  assert.equal(made.mock.callCount(), 0)
  lazy.warn({ key: 1 }, 'of %s', 'one')
  lazy.info('two')
  assert.equal(made.mock.callCount(), 1)
  lazy.child({ more: true }).error('three')
  assert.deepEqual(lines.map(({ level, reqId, key, more, msg }) => ({ level, reqId, key, more, msg })), [
    { level: 40, reqId: 'a', key: 1, more: undefined, msg: 'of one' },
    { level: 30, reqId: 'a', key: undefined, more: undefined, msg: 'two' },
    { level: 50, reqId: 'a', key: undefined, more: true, msg: 'three' }
  ])
})

test('its level is that of its parent until it has one of its own', () => {
  const parent = pino({ level: 'warn' }, { write: () => {} })
  const lazy = new LazyLogger(parent, {}, {})
  assert.equal(lazy.level, 'warn')
  lazy.level = 'debug'
  assert.deepEqual([lazy.level, parent.level], ['debug', 'warn'])
})
