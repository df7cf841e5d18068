import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryBudget } from '../../../../src/plugins/shard-cache/memory-budget.ts'
import { MAX_KINDS, REPEAT_MS, watchStore } from '../../../../src/plugins/shard-cache/store-watch.ts'
import { LeasedStore, type Leasable } from '../../../../src/storage/leased-store.ts'
import { never, sha256, storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { bytesOf, recordingObserver, testStore } from '../../../support/cache.ts'

const MB = 1024 * 1024
const key = (n: number): { cid: string, part: number } => ({ cid: `grow${n}`, part: 0 })

test('four bodies of ten bytes whose length nobody told evict nothing', async t => {
  const { store, observer } = await testStore(t, { maxBytes: 50 * MB })
  for (let n = 0; n < 50; n++) assert.ok(await storeBytes(store, key(n), Buffer.alloc(MB - 1, n)))
  const bodies = await Promise.all([100, 101, 102, 103].map(async n => ({ n, ...await store.createSpool(key(n), 16 * MB, true, true) })))
  assert.equal(store.reservedBytes, 0)
  for (const { n, spool, commit } of bodies) {
    const body = bytesOf(`small${n}`, 10)
    await spool.append(body, never)
    assert.ok(await commit(sha256(body)))
    await spool.close()
  }
  assert.deepEqual([store.count, store.usedBytes, observer.removals], [54, 50 * (MB - 1) + 40, []])
})

test('room is taken as a body comes, and one that outgrows it goes on in memory and is not stored', async t => {
  const { store, observer } = await testStore(t, { maxBytes: 10_000, passThroughBytes: 1_000_000 })
  const body = bytesOf('long', 200_000)
  const { spool, commit } = await store.createSpool(key(0), 500_000, true, true)
  for (let at = 0; at < body.length; at += 4_000) {
    await spool.append(body.subarray(at, at + 4_000), never)
    assert.ok(store.usedBytes <= 10_000)
    assert.ok(store.passThrough.usedBytes <= 2 * Math.max(64 * 1024, spool.length), 'memory is claimed as it comes too')
    const middle = at / 2
    assert.ok(Buffer.from(await spool.read(middle, 10)).equals(body.subarray(middle, middle + 10)))
  }
  for (let at = 0; at < body.length;) {
    const piece = await spool.read(at, 7_000)
    assert.ok(Buffer.from(piece).equals(body.subarray(at, at + piece.length)))
    at += piece.length
  }
  assert.equal(await commit(sha256(body)), false)
  await spool.close()
  assert.deepEqual([store.count, store.usedBytes, store.passThrough.usedBytes, observer.bypassed], [0, 0, 0, ['no-room']])
})

test('a small body that passes through claims little memory; one that wants more than is free is refused and does not wait', async t => {
  const { store } = await testStore(t, { passThroughBytes: 200_000 })
  const small = await store.createSpool(key(0), 16 * MB, false, true)
  await small.spool.append(Buffer.alloc(10), never)
  assert.equal(store.passThrough.usedBytes, 64 * 1024)
  const large = await store.createSpool(key(1), 16 * MB, false, true)
  await large.spool.append(Buffer.alloc(60_000), never)
  await assert.rejects(large.spool.append(Buffer.alloc(100_000), never), { code: 'RELAY_ERR_FILLS_BUSY' })
  await Promise.all([small.spool.close(), large.spool.close()])
  assert.equal(store.passThrough.usedBytes, 0)
})

test('reservations that grow never pass the bound, whatever is stored beside them', () => {
  const step = fc.record({ do: fc.constantFrom('grow' as const, 'cancel' as const, 'commit' as const), slot: fc.nat(3), bytes: fc.nat(400) })
  fc.assert(fc.property(fc.array(step, { maxLength: 100 }), steps => {
    const lru = new LeasedStore<Leasable>({ maxBytes: 1_000, onFree: () => {} })
    const slots = [0, 1, 2, 3].map(() => lru.reserve(0))
    for (const [n, { do: what, slot, bytes }] of steps.entries()) {
      const reservation = slots[slot]
      assert.ok(reservation)
      const before = reservation.bytes
      if (what === 'grow') {
        const grown = lru.grow(reservation, bytes)
        assert.equal(reservation.bytes, grown ? Math.max(before, bytes) : before)
      } else {
        if (what === 'cancel') lru.cancel(reservation)
        else lru.commit(reservation, { id: `${n}`, size: before, leases: 0, indexed: false })
        slots[slot] = lru.reserve(0)
      }
      assert.ok(lru.usedBytes <= 1_000)
      assert.equal(lru.reservedBytes, slots.reduce((sum, held) => sum + (held?.bytes ?? 0), 0))
    }
  }))
})

test('a grant is exchanged for a larger one only while nobody waits and there is room', async () => {
  const budget = new MemoryBudget(100)
  const first = await budget.acquire(40, never)
  assert.ok(first)
  const second = budget.exchange(first, 90)
  assert.ok(second)
  assert.deepEqual([budget.exchange(second, 101), budget.usedBytes], [undefined, 90])
  const waiting = budget.acquire(50, never)
  assert.equal(budget.exchange(second, 95), undefined)
  second.release()
  const third = await waiting
  first.release()
  assert.equal(budget.usedBytes, 50)
  third?.release()
  assert.equal(budget.usedBytes, 0)
})

test('what goes wrong on the disk is told once, once a minute while it lasts, and when it is over', async t => {
  let now = 0
  const logs: string[] = []
  const observer = recordingObserver()
  const watched = watchStore(observer, { monotonic: () => now, log: (level, message, { times, ...fields }) => { logs.push([level, message, JSON.stringify(fields), ...typeof times === 'number' ? [times] : []].join(' ')) } })
  watched.stored()
  for (let n = 0; n < 1_000; n++) {
    watched.diskError('open', 'EROFS')
    watched.storeBypassed('disk-error')
  }
  assert.deepEqual(logs, ['warn cache disk fails {"operation":"open","code":"EROFS"} 1', 'warn object is served without being stored {"reason":"disk-error"} 1'])
  assert.deepEqual([observer.errors.length, observer.bypassed.length], [1_000, 1_000])
  logs.length = 0
  now += REPEAT_MS
  watched.diskError('open', 'EROFS')
  watched.stored()
  watched.stored()
  watched.diskError('index', 'ENOSPC')
  watched.storeBypassed('no-room')
  assert.deepEqual(logs, [
    'warn cache disk fails {"operation":"open","code":"EROFS"} 1000',
    'info objects are stored again {}',
    'warn cache index cannot be written {"operation":"index","code":"ENOSPC"} 1',
    'warn object is served without being stored {"reason":"no-room"} 1'
  ])
  for (let n = 0; n < 2 * MAX_KINDS; n++) watched.diskError('read', `E${n}`)
  assert.ok(logs.length <= MAX_KINDS + 4)
  t.diagnostic(`${logs.length} lines`)
})
