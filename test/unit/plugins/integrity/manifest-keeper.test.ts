import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { deferred } from '../../../../src/base/deferred.ts'
import { KEEP_AFTER_MS, ManifestKeeper, MAX_KEEPING, MAX_KEEPING_BYTES } from '../../../../src/plugins/integrity/manifest-keeper.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const TEXT = Buffer.from('manifest')

function setUp (write: (cid: string) => Promise<void> = async () => {}): { keeper: ManifestKeeper, timers: VirtualTimers, told: string[] } {
  const timers = virtualTimers()
  const told: string[] = []
  const keeper = new ManifestKeeper({
    write: async cid => {
      told.push(cid)
      await write(cid)
    },
    timers,
    failed: cid => { told.push(`${cid} failed`) }
  })
  return { keeper, timers, told }
}

suite('believed manifests that are to be kept', () => {
  test('are written after a while, one after the other, whatever became of the one before, and not when they were purged meanwhile', async () => {
    const gate = deferred<undefined>()
    const { keeper, timers, told } = setUp(async cid => {
      if (cid === 'a') await gate.promise
      if (cid === 'b') throw new Error('disk')
    })
    for (const cid of ['a', 'b', 'c', 'd']) assert.equal(keeper.keep(cid, TEXT, cid), true)
    await timers.pass(KEEP_AFTER_MS - 1)
    assert.deepEqual(told, [])
    await timers.pass(1)
    assert.deepEqual(told, ['a'])
    keeper.forget(cid => cid === 'c')
    keeper.keep('e', TEXT, 'e')
    gate.resolve(undefined)
    await keeper.close()
    assert.deepEqual(told, ['a', 'b', 'b failed', 'd', 'e'])
    assert.deepEqual([keeper.waiting, timers.waiting, keeper.keep('f', TEXT, 'f')], [0, 0, false])
  })

  test('are a bounded number with a bounded number of bytes, and room comes back', async () => {
    const { keeper, timers, told } = setUp()
    for (let n = 0; n < MAX_KEEPING; n++) assert.equal(keeper.keep(`c${n}`, TEXT, ''), true)
    assert.equal(keeper.keep('more', TEXT, ''), false)
    await timers.pass(KEEP_AFTER_MS)
    await new Promise(resolve => { setImmediate(resolve) })
    assert.deepEqual([keeper.waiting, told.length], [0, MAX_KEEPING])
    const large = Buffer.alloc(MAX_KEEPING_BYTES / 2)
    assert.deepEqual(['x', 'y', 'z'].map(cid => keeper.keep(cid, large, '')), [true, true, false])
    keeper.forget(cid => cid === 'x')
    assert.equal(keeper.keep('z', large, ''), true)
    await keeper.close()
  })
})
