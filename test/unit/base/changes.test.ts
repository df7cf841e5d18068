import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Changes } from '../../../src/base/changes.ts'

test('everyone who waits is woken by the next change, and by no earlier one', async () => {
  const changes = new Changes()
  changes.tell()
  const woken: number[] = []
  for (const one of [1, 2]) void changes.next().then(() => { woken.push(one) })
  await nextTurn()
  assert.deepEqual(woken, [])
  changes.tell()
  await nextTurn()
  assert.deepEqual(woken, [1, 2])
})

test('an abort ends one wait, before and during it, and leaves no listener; the others go on', async () => {
  const changes = new Changes()
  const abort = new AbortController()
  let other = false
  void changes.next().then(() => { other = true })
  const waiting = changes.next(abort.signal)
  abort.abort()
  await waiting
  await changes.next(abort.signal)
  assert.equal(other, false)
  const { signal } = new AbortController()
  const woken = changes.next(signal)
  changes.tell()
  await woken
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})
