import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { test } from 'node:test'
import { SAVE_MS, ScrubRunner } from '../../../../src/plugins/scrub/scrub-runner.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

function rig (stepMs: number): { runner: ScrubRunner, timers: ReturnType<typeof virtualTimers>, counts: { steps: number, saves: number, releases: number, running: number, most: number }, fate: { save: () => Promise<void>, step: () => Promise<void> } } {
  const timers = virtualTimers()
  const counts = { steps: 0, saves: 0, releases: 0, running: 0, most: 0 }
  const fate = { save: async (): Promise<void> => {}, step: async (): Promise<void> => {} }
  const runner = new ScrubRunner({
    timers,
    scrub: {
      step: async () => {
        counts.steps++
        counts.most = Math.max(counts.most, ++counts.running)
        await fate.step()
        counts.running--
        return stepMs
      },
      release: async () => { counts.releases++ }
    },
    save: async () => {
      counts.saves++
      await fate.save()
    }
  })
  return { runner, timers, counts, fate }
}

test('steps come one after the other when they are due, and where it is, is kept now and then, also when that fails', async () => {
  const { runner, timers, counts, fate } = rig(100)
  fate.save = async () => { throw new Error('EIO') }
  runner.start()
  runner.start()
  await timers.pass(2 * SAVE_MS)
  assert.equal(counts.steps, 2 * SAVE_MS / 100 + 1)
  assert.equal(counts.saves, 3)
  assert.deepEqual([counts.most, timers.waiting], [1, 1])
})

test('waking it calls the next step now, and never a second one beside it', async () => {
  const { runner, timers, counts, fate } = rig(1_000)
  runner.wake()
  assert.equal(timers.waiting, 0)
  let end = (): void => {}
  fate.step = async () => { await new Promise<void>(resolve => { end = resolve }) }
  runner.start()
  await timers.pass(0)
  runner.wake()
  assert.deepEqual([counts.steps, timers.waiting], [1, 0])
  fate.step = async () => {}
  end()
  await nextTurn()
  assert.equal(timers.waiting, 1)
  runner.wake()
  await timers.pass(0)
  assert.deepEqual([counts.steps, counts.most], [2, 1])
})

test('stopping waits for the step under way, gives back what it holds, keeps where it is, and begins nothing more', async () => {
  const { runner, timers, counts, fate } = rig(10)
  let end = (): void => {}
  fate.step = async () => { await new Promise<void>(resolve => { end = resolve }) }
  runner.start()
  await timers.pass(0)
  let stopped = false
  const stopping = runner.stop().then(() => { stopped = true })
  await timers.pass(1_000)
  assert.deepEqual([stopped, counts.releases], [false, 0])
  end()
  await stopping
  await runner.stop()
  await timers.pass(1_000)
  assert.deepEqual([counts.steps, counts.releases, counts.saves, timers.waiting], [1, 1, 2, 0])
})
