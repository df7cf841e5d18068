import assert from 'node:assert/strict'
import test from 'node:test'
import { LogLevel } from '../../../src/base/log-level.ts'
import { createLogger } from '../../../src/base/log.ts'

test('a changed level is that of the logger, of its children and of theirs', () => {
  const lines: string[] = []
  const logger = createLogger('info', { write: line => { lines.push((JSON.parse(line) as { msg: string }).msg) } })
  const level = new LogLevel(logger)
  const child = logger.child({ plugin: 'a' }, { redact: [] })
  const grandchild = child.child({ of: 'b' })
  let told = 0
  level.onChange(() => { told++ })
  const write = (): void => { for (const [name, one] of Object.entries({ logger, child, grandchild })) one.debug(name) }
  write()
  level.change('debug')
  write()
  level.change('silent')
  write()
  assert.deepEqual([lines, told, level.current, level.debug], [['logger', 'child', 'grandchild'], 2, 'silent', false])
})
