import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import type { EntryRecord } from '../../../../src/plugins/shard-cache/entry.ts'
import { WriteBehind } from '../../../../src/plugins/shard-cache/write-behind.ts'
import { MemoryIndexDb } from '../../../fakes/index-db.ts'
import { virtualTimers } from '../../../fakes/timers.ts'
import { draw } from '../../../support/cache.ts'

function record (hits = 0): EntryRecord {
  return { size: 1, sha256: '0'.repeat(64), storedAt: 1, lastAccess: 1, hits, generation: 'g1' }
}

function setUp (limits: { batchSize?: number, maxPending?: number } = {}): { db: MemoryIndexDb, index: WriteBehind, errors: unknown[] } {
  const db = new MemoryIndexDb()
  const errors: unknown[] = []
  const index = new WriteBehind(db, { batchSize: 1_000, maxPending: 10_000, ...limits, onError: error => { errors.push(error) } })
  return { db, index, errors }
}

const refuse = (): never => { throw new Error('disk full') }

test('the last change of an id wins', async () => {
  const { db, index } = setUp()
  index.stored('a/1', record(1))
  index.removed('a/1')
  index.stored('b/1', record(1))
  index.removed('b/1')
  index.stored('b/1', record(2))
  await index.flush()
  assert.equal(db.get('a/1'), undefined)
  assert.equal(db.get('b/1')?.hits, 2)
  assert.equal(db.batches.length, 1)
})

test('a record is written as it is when its batch starts, and again when it changes after that', async () => {
  const { db, index } = setUp()
  const gate = deferred<undefined>()
  db.beforeWrite = async () => { await gate.promise }
  const entry = record(1)
  index.stored('a/1', entry)
  entry.hits = 2
  const flushed = index.flush()
  entry.hits = 3
  index.touched('a/1', entry)
  gate.resolve(undefined)
  await flushed
  assert.equal(db.get('a/1')?.hits, 2)
  await index.flush()
  assert.equal(db.get('a/1')?.hits, 3)
})

test('a failed batch is kept, reported, and written by the next flush, newer changes winning', async () => {
  const { db, index, errors } = setUp()
  db.beforeWrite = refuse
  index.stored('a/1', record(1))
  index.stored('b/1', record(1))
  await index.flush()
  assert.equal(errors.length, 1)
  assert.equal(index.pending, 2)
  index.removed('a/1')
  index.stored('b/1', record(2))
  db.beforeWrite = () => {}
  await index.flush()
  assert.equal(db.get('a/1'), undefined)
  assert.equal(db.get('b/1')?.hits, 2)
  assert.equal(index.pending, 0)
})

test('a change made while its id is in a failing batch is not overwritten by the batch', async () => {
  const { db, index } = setUp()
  const gate = deferred<undefined>()
  db.beforeWrite = async () => { await gate.promise }
  index.stored('a/1', record(1))
  const flushed = index.flush()
  index.removed('a/1')
  gate.reject(new Error('disk full'))
  await flushed
  db.beforeWrite = () => {}
  await index.flush()
  assert.equal(db.get('a/1'), undefined)
})

test('batches do not overlap, and a flush waits for the one under way and then for its own', async () => {
  const { db, index } = setUp({ batchSize: 2 })
  let running = 0
  let most = 0
  db.beforeWrite = async () => {
    most = Math.max(most, ++running)
    await nextTurn()
    running--
  }
  for (let n = 0; n < 20; n++) index.stored(`a${n}/1`, record())
  const flushes = [index.flush(), index.flush(), index.flush()]
  index.stored('late/1', record())
  flushes.push(index.flush())
  await Promise.all(flushes)
  assert.equal(most, 1)
  assert.equal(index.pending, 0)
  assert.equal(db.ids({ prefix: '', after: '', limit: 100 }).length, 21)
})

test('a full batch is written without being asked', async () => {
  const { db, index } = setUp({ batchSize: 3 })
  for (let n = 0; n < 3; n++) index.touched(`a${n}/1`, record())
  await nextTurn()
  assert.deepEqual(db.batches, [['a0/1', 'a1/1', 'a2/1']])
})

test('recency updates beyond the bound are dropped and counted, the batch being written included; stores and removals never are', async () => {
  const { db, index } = setUp({ batchSize: 5, maxPending: 8 })
  const gate = deferred<undefined>()
  db.beforeWrite = async () => { await gate.promise }
  for (let n = 0; n < 20; n++) index.touched(`touched${n}/1`, record())
  assert.equal(index.pending, 8)
  assert.equal(index.dropped, 12)
  index.touched('touched7/1', record())
  assert.equal(index.dropped, 12, 'an id that is pending anyway costs nothing')
  index.stored('stored/1', record())
  index.removed('removed/1')
  assert.equal(index.pending, 10)
  gate.resolve(undefined)
  await index.flush()
  assert.ok(db.get('stored/1'))
})

test('after a failure only a flush tries again, not every change', async () => {
  const { db, index } = setUp({ batchSize: 3 })
  let tries = 0
  db.beforeWrite = () => {
    tries++
    throw new Error('disk full')
  }
  for (let n = 0; n < 50; n++) {
    index.stored(`a${n}/1`, record())
    await nextTurn()
  }
  assert.equal(tries, 1)
  await index.flush()
  assert.equal(tries, 2)
  db.beforeWrite = () => {}
  await index.flush()
  assert.equal(db.ids({ prefix: '', after: '', limit: 100 }).length, 50)
  for (let n = 0; n < 3; n++) index.removed(`a${n}/1`)
  await nextTurn()
  assert.equal(db.ids({ prefix: '', after: '', limit: 100 }).length, 47)
})

test('whatever fails and whenever, once a flush succeeds the db holds the last state of every id', async () => {
  const id = fc.constantFrom('a/1', 'b/1', 'c/1', 'd/1', 'e/1')
  const step = fc.oneof(
    fc.record({ kind: fc.constantFrom('stored' as const, 'removed' as const), id }),
    fc.record({ kind: fc.constantFrom('flush' as const, 'turn' as const) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), fc.infiniteStream(fc.boolean()), async (steps, outcomes) => {
    const { db, index } = setUp({ batchSize: 3 })
    const state = new Map<string, number>()
    let hits = 0
    db.beforeWrite = async () => {
      await nextTurn()
      if (draw(outcomes)) throw new Error('disk full')
    }
    for (const action of steps) {
      if (action.kind === 'stored') {
        state.set(action.id, ++hits)
        index.stored(action.id, record(hits))
      } else if (action.kind === 'removed') {
        state.delete(action.id)
        index.removed(action.id)
      } else if (action.kind === 'flush') {
        void index.flush()
      } else {
        await nextTurn()
      }
      assert.ok(index.pending <= 10)
    }
    await index.flush()
    db.beforeWrite = () => {}
    await index.flush()
    assert.equal(index.pending, 0)
    assert.deepEqual(new Map(Array.from(db.load(), ([key, { hits: stored }]) => [key, stored])), new Map(Array.from(state).sort()))
  }), { numRuns: 100 })
})

test('a batch that does not end is late: nobody waits for it, none begins beside it, and when it ends everything is written', async () => {
  const timers = virtualTimers()
  const db = new MemoryIndexDb()
  const errors: unknown[] = []
  const index = new WriteBehind(db, { batchSize: 2, maxPending: 100, timeoutMs: 10_000, timers, onError: error => { errors.push((error as { code?: string }).code) } })
  const hang = deferred<undefined>()
  db.beforeWrite = async () => { await hang.promise }
  index.stored('a/1', record())
  const flushed = Promise.all([index.flush(), index.flush()])
  await timers.pass(9_999)
  assert.deepEqual([index.writing, index.late, errors], [true, false, []])
  await timers.pass(1)
  await flushed
  assert.deepEqual([index.writing, index.late, errors], [true, true, ['TIMEOUT']])
  for (let n = 0; n < 10; n++) index.stored(`b/${n}`, record())
  await index.flush()
  assert.deepEqual([db.batches, index.pending, timers.waiting], [[], 11, 0])
  hang.resolve(undefined)
  await nextTurn()
  assert.deepEqual([index.writing, index.late], [false, false])
  await index.flush()
  assert.deepEqual([db.batches.map(ids => ids.length), index.pending, timers.waiting], [[1, 10], 0, 0])
})
