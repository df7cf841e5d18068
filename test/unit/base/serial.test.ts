import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../../src/base/deferred.ts'
import { Serial } from '../../../src/base/serial.ts'

test('work is done one after the other, and what fails keeps nothing from being done', async () => {
  const serial = new Serial()
  const said: string[] = []
  const first = deferred<undefined>()
  const one = serial.run(async () => {
    said.push('one begins')
    await first.promise
    said.push('one ends')
    throw new Error('one')
  })
  const two = serial.run(async () => {
    said.push('two')
    return 2
  })
  const ended = serial.ended().then(() => { said.push('ended') })
  const three = serial.run(async () => { said.push('three') })
  first.resolve(undefined)
  await assert.rejects(one, /^Error: one$/)
  assert.equal(await two, 2)
  await Promise.all([ended, three])
  assert.deepEqual(said.slice(0, 3), ['one begins', 'one ends', 'two'])
  assert.deepEqual(said.slice(3).sort(), ['ended', 'three'])
})

test('nobody who failed before is waited for, and nothing is left unhandled', async () => {
  const serial = new Serial()
  await serial.ended()
  await assert.rejects(serial.run(async () => { throw new Error('alone') }), /alone/)
  await serial.ended()
  assert.equal(await serial.run(async () => 'next'), 'next')
})
