import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { CacheEntry } from '../../../../src/plugins/shard-cache/cache-entry.ts'
import { EntryTable } from '../../../../src/plugins/shard-cache/entry-table.ts'
import type { EntryRecord } from '../../../../src/plugins/shard-cache/entry.ts'
import { encodeRecord, RecordBytes } from '../../../../src/plugins/shard-cache/record-bytes.ts'
import { LeasedStore } from '../../../../src/storage/leased-store.ts'
import { EVICTION_POLICIES, makeOrder, type EvictionPolicy } from '../../../../src/storage/orders/orders.ts'

const GENERATIONS = ['a', 'boot1', 'z'.repeat(23), '0'.repeat(24)]

function recordOf (n: number, size = 1 + n % 40): EntryRecord {
  return {
    size,
    sha256: n.toString(16).padStart(64, '0'),
    storedAt: 1_700_000_000_000 + n / 8,
    lastAccess: 1_700_000_000_000 + n / 16,
    hits: n % 7,
    generation: GENERATIONS[n % GENERATIONS.length] ?? '',
    ...n % 3 === 0 ? { verified: true } : {},
    ...n % 5 === 0 ? { staleSince: 1_700_000_000_000 + n * 1_000 } : {}
  }
}

/** What an entry says, as a record and a few words more. */
function factsOf ({ id, size, sha256, storedAt, lastAccess, hits, generation, verified, staleSince, confirmed, intact }: CacheEntry): object {
  return { id, size, sha256, storedAt, lastAccess, hits, generation, verified, staleSince, confirmed, intact }
}

function expectedOf (id: string, record: EntryRecord, confirmed = true): object {
  return { id, verified: false, staleSince: 0, ...record, confirmed, intact: confirmed }
}

function storeOf (table: EntryTable, policy: EvictionPolicy, maxBytes: number, onFree: (entry: CacheEntry) => void = () => {}): LeasedStore<CacheEntry> {
  return new LeasedStore<CacheEntry>({ maxBytes, order: makeOrder(policy, table), onFree })
}

const id = fc.tuple(fc.constantFrom('Qm1', 'Qm2', 'bafy-_3', 'x'), fc.constantFrom('0', '1', '9', '13', 'manifest')).map(parts => parts.join('/'))
const action = fc.record({ kind: fc.constantFrom('store' as const, 'use' as const, 'read' as const, 'done' as const, 'purge' as const, 'mark' as const), id, n: fc.nat(10_000) })

for (const policy of EVICTION_POLICIES) {
  test(`${policy}: whatever is stored, used, read and purged, rows say what objects would, and readers have one handle`, () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 150, size: 'max' }), actions => {
      const table = new EntryTable()
      /** What is indexed, and what readers hold. */
      const model = new Map<string, { facts: object }>()
      const readers: { entry: CacheEntry, facts: { facts: object } }[] = []
      const store = storeOf(table, policy, 200, entry => {
        assert.deepEqual([entry.leases, entry.indexed, typeof entry.generation], [0, false, 'string'])
      })
      for (const { kind, id: name, n } of actions) {
        const found = store.peek(name)
        if (kind === 'store') {
          const record = recordOf(n)
          const reservation = store.reserve(record.size)
          if (reservation === undefined) continue
          const entry = table.make(name, record, true)
          assert.deepEqual(factsOf(entry), expectedOf(name, record))
          store.commit(reservation, entry)
          model.set(name, { facts: expectedOf(name, record) })
          assert.ok(entry.indexed)
        } else if (kind === 'use') {
          const entry = store.get(name)
          if (entry === undefined) continue
          entry.hits++
          entry.lastAccess = n
          Object.assign(model.get(name)?.facts ?? {}, { hits: entry.hits, lastAccess: n })
        } else if (kind === 'mark' && found !== undefined) {
          found.verified = n % 2 === 0
          found.staleSince = n % 3 * 1_000
          found.intact = n % 4 < 2
          Object.assign(model.get(name)?.facts ?? {}, { verified: n % 2 === 0, staleSince: n % 3 * 1_000, intact: n % 4 < 2 })
        } else if (kind === 'read' && found !== undefined) {
          store.lease(found)
          const facts = model.get(name)
          if (facts !== undefined) readers.push({ entry: found, facts })
        } else if (kind === 'done') {
          const [reader] = readers.splice(n % Math.max(1, readers.length), 1)
          if (reader !== undefined) store.release(reader.entry)
        } else if (kind === 'purge') {
          assert.equal(store.delete(name, 'purge'), found !== undefined)
          model.delete(name)
        }

        for (const [each, { facts }] of model) {
          const entry = store.peek(each)
          // Which ones are evicted, the policy decides.
          if (entry === undefined) model.delete(each)
          else assert.deepEqual(factsOf(entry), facts)
        }
        assert.deepEqual([store.count, table.count], [model.size, model.size])
        assert.deepEqual(Array.from(store.firstOut(), entry => entry.id).sort(), Array.from(model.keys()).sort())
        for (const { entry, facts } of readers) {
          assert.deepEqual(factsOf(entry), facts.facts, 'also of one that has left the cache')
          assert.equal(entry.indexed, model.get(entry.id) === facts)
          if (entry.indexed) assert.equal(store.peek(entry.id), entry, 'one handle while it is leased')
        }
        assert.equal(table.held, new Set(readers.filter(({ entry }) => entry.indexed).map(({ entry }) => entry)).size)
        const recent = Array.from(table.byLastAccess(), entry => entry.lastAccess)
        assert.deepEqual([recent.length, recent], [model.size, recent.toSorted((one, other) => one - other)])
      }
      for (const { entry } of readers) store.release(entry)
      store.resize(0)
      assert.deepEqual([table.count, table.held, store.usedBytes], [0, 0, 0])
    }), { numRuns: 15 })
  })
}

test('a handle that nobody leased tells when its entry has left, and does not tell of the next one in its row', () => {
  const table = new EntryTable()
  const store = storeOf(table, 'lru', 1_000)
  store.restore(table.make('a/0', recordOf(1, 10), true))
  const old = store.peek('a/0') ?? assert.fail()
  store.delete('a/0', 'purge')
  store.restore(table.make('b/1', recordOf(2, 20), true))
  assert.deepEqual([old.indexed, old.id, old.size, old.leases], [false, 'a/0', 10, 0])
  assert.throws(() => old.sha256, /a\/0 has left the cache/)
  assert.throws(() => { old.hits++ }, /has left/)
  assert.equal(store.peek('b/1')?.hits, 2)
})

test('what leaves while entries are walked by their last use is left out, also when another one has its row', () => {
  const table = new EntryTable()
  const store = storeOf(table, 'lru', 1_000)
  for (const n of [3, 1, 2]) store.restore(table.make(`a/${n}`, recordOf(n), true))
  const walked: string[] = []
  for (const entry of table.byLastAccess()) {
    walked.push(entry.id)
    if (walked.length > 1) continue
    store.delete('a/2', 'purge')
    store.restore(table.make('b/0', recordOf(9), true))
  }
  assert.deepEqual(walked, ['a/1', 'a/3'])
})

test('two handles on one entry cannot both be leased', () => {
  const table = new EntryTable()
  const store = storeOf(table, 'lru', 1_000)
  store.restore(table.make('a/0', recordOf(1, 10), true))
  const [one, other] = [store.peek('a/0') ?? assert.fail(), store.peek('a/0') ?? assert.fail()]
  store.lease(one)
  assert.throws(() => { store.lease(other) }, /leased by another handle/)
})

test('what a record of the index says is put back bit by bit, and its times are not later than now', () => {
  fc.assert(fc.property(fc.array(fc.nat(10_000), { maxLength: 100, size: 'max' }), numbers => {
    const table = new EntryTable()
    const order = makeOrder('s3-fifo', table)
    const ids = new Map(numbers.map(n => [`Qm${n % 5}${'x'.repeat(n % 20)}/${n % 14}`, recordOf(n)]))
    const bytes = new RecordBytes()
    const now = 1_700_000_000_100
    for (const [each, record] of ids) {
      assert.ok(bytes.read(encodeRecord(record)))
      const slot = table.restore(each, bytes, now)
      if (record.size % 4 === 0) table.close(slot, table.valueAt(slot))
      else order.putBack(slot)
    }
    for (const [each, record] of ids) {
      const entry = order.find(each)
      const expected = { ...record, storedAt: Math.min(record.storedAt, now), lastAccess: Math.min(record.lastAccess, now) }
      assert.deepEqual(entry === undefined ? undefined : factsOf(entry), record.size % 4 === 0 ? undefined : expectedOf(each, expected, false))
    }
  }), { numRuns: 60 })
})

test('what is no id of a key is not found', () => {
  const table = new EntryTable()
  storeOf(table, 'lru', 100).restore(table.make('a/1', recordOf(1), true))
  assert.deepEqual(['', '/', 'a', 'a/', 'a/01', 'a/14', '/1', 'a/1/', 'A/1', 'a/1'].map(each => table.slotOf(each) !== 0), [...Array.from({ length: 9 }, () => false), true])
})
