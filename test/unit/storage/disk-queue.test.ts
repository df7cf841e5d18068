import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { DiskHangsError, DiskQueue } from '../../../src/storage/disk-queue.ts'
import { guardedFiles, isLost } from '../../../src/storage/guarded-files.ts'
import { deferred, type Deferred } from '../../../src/base/deferred.ts'
import { ChunkMemory } from '../../../src/plugins/viewer-http/chunk-memory.ts'
import { diskThreads } from '../../../src/base/thread-pool.ts'
import type { Timers } from '../../../src/base/clock.ts'
import { virtualTimers } from '../../fakes/timers.ts'
import { faultyFs } from '../../fakes/faulty-fs.ts'

const codeOf = async (work: Promise<unknown>): Promise<string> => await work.then(() => 'ok', (error: unknown) => error instanceof DiskHangsError ? error.code : 'other')

suite('a disk that hangs', () => {
  test('keeps nobody longer than the deadline, and others go on beside it', async () => {
    const timers = virtualTimers()
    const told: number[] = []
    const queue = new DiskQueue({ width: 8, timeoutMs: 1_000, timers, onLate: late => { told.push(late) } })
    const hung = [1, 2, 3, 4].map(() => deferred<string>())
    const results = hung.map(({ promise }) => codeOf(queue.run('read', () => promise)))
    assert.equal(await queue.run('read', async () => 'other'), 'other')
    await timers.pass(1_200)
    assert.deepEqual(await Promise.all(results), ['TIMEOUT', 'TIMEOUT', 'TIMEOUT', 'TIMEOUT'])
    assert.equal(queue.late, 4)
    assert.equal(await queue.run('read', async () => 'other'), 'other')
    for (const { resolve } of hung) resolve('late')
    await nextTurn()
    assert.deepEqual([queue.late, queue.running], [0, 0])
    assert.deepEqual(told, [1, 2, 3, 4, 3, 2, 1, 0])
  })

  test('with all its threads gone: nobody waits, neither those in line nor those who come', async () => {
    const timers = virtualTimers()
    const queue = new DiskQueue({ width: 2, timeoutMs: 1_000, timers })
    const hung = [1, 2].map(() => deferred<string>())
    const results = [...hung.map(({ promise }) => codeOf(queue.run('read', () => promise))), codeOf(queue.run('read', async () => 'in line'))]
    await timers.pass(1_200)
    assert.deepEqual(await Promise.all(results), ['TIMEOUT', 'TIMEOUT', 'HUNG'])
    assert.equal(await codeOf(queue.run('read', async () => 'later')), 'HUNG')
    hung[0]?.resolve('back')
    await nextTurn()
    assert.equal(await queue.run('read', async () => 'again'), 'again')
  })

  test('stores nothing while a write hangs, which has more time than a read', async () => {
    const timers = virtualTimers()
    const queue = new DiskQueue({ width: 8, timeoutMs: 1_000, timers })
    const write = deferred<string>()
    const result = codeOf(queue.run('write', () => write.promise))
    await timers.pass(1_200)
    assert.equal(queue.takesWrites, true)
    await timers.pass(4_200)
    assert.equal(await result, 'TIMEOUT')
    assert.equal(queue.takesWrites, false)
    write.resolve('late')
    await nextTurn()
    assert.equal(queue.takesWrites, true)
  })

  test('does not keep a relay that stops: after one operation that is late no other is tried', async () => {
    const timers = virtualTimers()
    const queue = new DiskQueue({ width: 8, timeoutMs: 1_000, timers })
    queue.shut()
    const result = codeOf(queue.run('write', () => deferred<string>().promise))
    await timers.pass(1_200)
    assert.deepEqual([await result, await codeOf(queue.run('write', async () => 'next'))], ['TIMEOUT', 'HUNG'])
  })

  test('is not blamed for the time in which this process did not run', async () => {
    let now = 0
    let look = (): void => {}
    const timers: Timers = { now: () => now, after: (_ms, callback) => { look = callback; return () => {} } }
    const queue = new DiskQueue({ width: 2, timeoutMs: 800, timers })
    const [slow, hung] = [deferred<string>(), deferred<string>()]
    const [first, second] = [codeOf(queue.run('read', () => slow.promise)), codeOf(queue.run('read', () => hung.promise))]
    // The loop stands for a minute, and its timers come before what has happened meanwhile.
    now = 60_000
    look()
    assert.equal(queue.late, 0)
    slow.resolve('answered')
    assert.equal(await first, 'ok')
    for (let looks = 0; looks < 8; looks++) {
      now += 100
      look()
    }
    assert.equal(queue.late, 1)
    assert.equal(await second, 'TIMEOUT')
  })

  test('leaves no open file, no file and no memory in use behind', async () => {
    const timers = virtualTimers()
    const faulty = faultyFs()
    const files = guardedFiles(faulty.fs, new DiskQueue({ width: 4, timeoutMs: 1_000, timers }))
    let gate: Deferred<undefined> | undefined = deferred<undefined>()
    faulty.decide = async () => { await gate?.promise }
    const opened = codeOf(files.open('/dev/null', 'r'))
    await timers.pass(1_200)
    assert.equal(await opened, 'TIMEOUT')
    gate.resolve(undefined)
    gate = undefined
    while (faulty.counts.get('close') !== 1) await nextTurn()
    assert.equal(faulty.openHandles, 0)
    const file = await files.open('/dev/zero', 'r')
    gate = deferred<undefined>()
    const memory = new ChunkMemory()
    const buffer = memory.take(1_024)
    const read = codeOf(file.read(buffer, 0, 1_024, 0))
    await timers.pass(1_200)
    assert.equal(await read, 'TIMEOUT')
    assert.equal(isLost(buffer), true)
    memory.giveBack(buffer)
    assert.equal(memory.freeBytes, 0, 'a read that was given up may fill it any time')
    await file.close()
    gate.resolve(undefined)
    await nextTurn()
  })

  test('whatever hangs and ends: never more at the same time than there are threads, and everybody hears', async () => {
    const step = fc.oneof(fc.constantFrom('read' as const, 'write' as const), fc.record({ settle: fc.nat(20) }), fc.record({ pass: fc.integer({ min: 1, max: 3_000 }) }))
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const timers = virtualTimers()
      const queue = new DiskQueue({ width: 3, timeoutMs: 1_000, timers })
      const begun: Deferred<string>[] = []
      const results: Promise<string>[] = []
      for (const next of steps) {
        if (typeof next === 'string') {
          results.push(codeOf(queue.run(next, async () => {
            const work = deferred<string>()
            begun.push(work)
            return await work.promise
          })))
        } else if ('settle' in next) begun[next.settle]?.resolve('done')
        else await timers.pass(next.pass)
        assert.ok(queue.running <= 3 && queue.late <= queue.running)
      }
      await timers.pass(10_000)
      for (const work of begun) work.resolve('done')
      while (queue.running > 0) {
        await nextTurn()
        for (const work of begun) work.resolve('done')
      }
      await Promise.all(results)
      assert.deepEqual([queue.late, queue.waiting, queue.takesWrites], [0, 0, true])
    }), { numRuns: 60 })
  })

  test('the pool keeps threads for everybody else, whatever its size', () => {
    assert.deepEqual([1, 2, 4, 16, 128].map(diskThreads), [1, 1, 3, 14, 112])
  })
})
