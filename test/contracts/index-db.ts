import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { EntryRecord } from '../../src/plugins/shard-cache/entry.ts'
import type { IndexDb } from '../../src/plugins/shard-cache/index-db.ts'

/** An index that can be closed and opened again over the same data. */
export interface IndexUnderTest {
  readonly open: () => IndexDb
}

export const recordOf = (fields: Partial<EntryRecord> = {}): EntryRecord =>
  ({ size: 1_000, sha256: 'ab'.repeat(32), storedAt: 1_700_000_000_000.5, lastAccess: 1_700_000_000_001.25, hits: 3, generation: 'g1', ...fields })

const recordsOf = (db: IndexDb): [string, EntryRecord][] => Array.from(db.load(), ([id, record]) => [id, record.copy()])

/** What every IndexDb promises. */
export function indexDbContract (name: string, create: (t: TestContext) => Promise<IndexUnderTest>): void {
  test(`${name}: what is written is loaded, ordered by id, field by field`, async t => {
    const { open } = await create(t)
    const db = open()
    const records = new Map([['b/1', recordOf({ hits: 0 })], ['a/13', recordOf({ size: 0 })], ['a/manifest', recordOf({ generation: 'z'.repeat(24) })], ['B/1', recordOf()]])
    await db.write(records)
    assert.deepEqual(recordsOf(db), Array.from(records).sort(([a], [b]) => a < b ? -1 : 1))
    await db.close()
    const again = open()
    assert.deepEqual(new Map(recordsOf(again)), new Map(Array.from(records).sort(([a], [b]) => a < b ? -1 : 1)))
    assert.equal(again.corrupt, 0)
    await again.close()
  })

  test(`${name}: null deletes, also what is not there, and a write may be empty`, async t => {
    const { open } = await create(t)
    const db = open()
    await db.write(new Map([['a/1', recordOf()], ['b/1', recordOf()]]))
    await db.write(new Map([['a/1', null], ['c/1', null]]))
    await db.write(new Map())
    assert.deepEqual(Array.from(db.load(), ([id]) => id), ['b/1'])
    await db.close()
  })

  test(`${name}: a record is taken as it is at the call of write`, async t => {
    const { open } = await create(t)
    const db = open()
    const record = recordOf({ hits: 1 })
    const written = db.write(new Map([['a/1', record]]))
    record.hits = 2
    await written
    assert.equal(recordsOf(db)[0]?.[1].hits, 1)
    await db.close()
  })

  test(`${name}: closed and opened again in its place it has what it had, and takes what is written meanwhile`, async t => {
    const { open } = await create(t)
    const db = open()
    const records: [string, EntryRecord][] = [['a/1', recordOf()], ['b/1', recordOf({ hits: 7 })]]
    await db.write(new Map(records.slice(0, 1)))
    assert.equal(recordsOf(db).length, 1)
    await Promise.all([db.reopen(), db.write(new Map(records.slice(1)))])
    assert.deepEqual(recordsOf(db), records)
    await db.close()
  })

  test(`${name}: the longest CID fits`, async t => {
    const { open } = await create(t)
    const db = open()
    const ids = [`${'a'.repeat(128)}/manifest`, `${'_'.repeat(128)}/13`, `${'-'.repeat(128)}/0`]
    await db.write(new Map(ids.map(id => [id, recordOf()])))
    assert.deepEqual(Array.from(db.load(), ([id]) => id), ids.sort())
    await db.close()
  })

  test(`${name}: ids page through a prefix in order, whatever the cursor`, async t => {
    const { open } = await create(t)
    const db = open()
    const key = fc.tuple(fc.constantFrom('a', 'ab', 'b', 'B', '-', '_', '0'), fc.constantFrom('0', '1', '10', '13', 'manifest')).map(parts => parts.join('/'))
    const cursor = fc.oneof(key, fc.string({ maxLength: 20 }), fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom('', '~', '\0', '\x1b', '\u{10ffff}', 'a/1\0'))
    const all = new Set<string>()
    await fc.assert(fc.asyncProperty(fc.array(key, { maxLength: 4 }), fc.constantFrom('', 'a/', 'ab/', 'b/', 'x/', '0/'), cursor, fc.integer({ min: 0, max: 6 }), async (added, prefix, after, limit) => {
      await db.write(new Map(added.map(id => [id, recordOf()])))
      for (const id of added) all.add(id)
      const expected = Array.from(all).sort().filter(id => id.startsWith(prefix) && id > after).slice(0, limit)
      assert.deepEqual(db.ids({ prefix, after, limit }), expected)
    }), { numRuns: 150 })
    const paged: string[] = []
    for (let page = db.ids({ prefix: '', after: '', limit: 3 }); page.length > 0; page = db.ids({ prefix: '', after: page.at(-1) ?? '', limit: 3 })) paged.push(...page)
    assert.deepEqual(paged, Array.from(all).sort())
    await db.close()
  })

  test(`${name}: any sequence of batches leaves the last state of every id, and it survives closing`, async t => {
    const { open } = await create(t)
    let db = open()
    const state = new Map<string, EntryRecord>()
    const change = fc.tuple(fc.constantFrom('a/1', 'b/1', 'c/1', 'c/manifest'), fc.option(fc.nat(1_000_000)))
    await fc.assert(fc.asyncProperty(fc.array(change, { maxLength: 8 }), fc.boolean(), async (changes, reopen) => {
      const batch = new Map(changes.map(([id, hits]) => [id, hits === null ? null : recordOf({ hits })]))
      await db.write(batch)
      for (const [id, record] of batch) {
        if (record === null) state.delete(id)
        else state.set(id, record)
      }
      if (reopen) {
        await db.close()
        db = open()
      }
      assert.deepEqual(new Map(recordsOf(db)), new Map(Array.from(state).sort(([a], [b]) => a < b ? -1 : 1)))
    }), { numRuns: 25 })
    await db.close()
  })
}
