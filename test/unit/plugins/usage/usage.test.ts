import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { AccessRecord } from '../../../../src/channel/access-record.ts'
import { Usage } from '../../../../src/plugins/usage/usage.ts'
import { limitedRows, SLACK, UsageTable } from '../../../../src/plugins/usage/usage-table.ts'

const HOUR = 3_600_000
const record = (fields: Partial<AccessRecord>): AccessRecord => ({ time: 0, kind: 'hit', reqId: 'a', remote: '192.0.2.1', transport: 'http', method: 'GET', url: '/', status: 200, complete: true, bytes: 100, ms: 1, ...fields })

suite('a table of usage', () => {
  test('however many keys there are, memory has its bound, the sum is exact, and no row says too much', () => {
    const step = fc.record({ key: fc.integer({ min: 0, max: 40 }).map(String), bytes: fc.nat({ max: 1_000 }), hit: fc.boolean(), failed: fc.boolean() })
    fc.assert(fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 6 }), (steps, rows) => {
      const table = new UsageTable(rows)
      const exact = new Map<string, number>()
      for (const { key, ...used } of steps) {
        table.count(key, used)
        exact.set(key, (exact.get(key) ?? 0) + used.bytes)
        assert.ok(table.size <= rows * SLACK)
      }
      for (const report of [table.report(), limitedRows(table.report(), 2)]) {
        assert.ok(report.length <= rows + 1)
        assert.equal(report.reduce((sum, { bytes }) => sum + bytes, 0), steps.reduce((sum, { bytes }) => sum + bytes, 0))
        assert.equal(report.reduce((sum, { requests }) => sum + requests, 0), steps.length)
        for (const { key, bytes } of report) if (key !== null) assert.ok(bytes <= (exact.get(key) ?? 0))
      }
    }))
  })

  test('who is busiest has a row, also when he comes after thousands of others', () => {
    const table = new UsageTable(10)
    for (let key = 0; key < 5_000; key++) table.count(`small-${key}`, { bytes: 10, hit: false, failed: false })
    for (let count = 0; count < 5_000; count++) {
      table.count('large', { bytes: 1_000, hit: true, failed: false })
      table.count(`late-${count}`, { bytes: 10, hit: false, failed: false })
    }
    assert.deepEqual(table.report()[0], { key: 'large', requests: 5_000, hits: 5_000, errors: 0, bytes: 5_000_000, hitBytes: 5_000_000 })
  })
})

suite('usage', () => {
  function lab (start = 10 * HOUR + 60_000) {
    let now = start
    const written: string[] = []
    const failures: unknown[] = []
    const usage = new Usage({ rows: 2, now: () => now, write: async lines => { if (lines.includes('bad')) throw new Error('full'); written.push(lines) }, failed: error => { failures.push(error) } })
    return { usage, written, failures, lines: () => written.join('').split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Record<string, unknown>), pass: (ms: number) => { now += ms } }
  }

  test('an hour ends by the clock, with a line for each CID and each subject; the admin API and scrapes do not count', async () => {
    const { usage, lines, pass } = lab()
    usage.take(record({ object: 'QmA/3', subject: 'alice' }))
    usage.take(record({ object: 'QmA/4', kind: 'miss', bytes: 50, complete: false }))
    usage.take(record({ kind: 'other', status: 401, bytes: 7 }))
    usage.take(record({ kind: 'admin', bytes: 1e9 }))
    usage.take(record({ kind: 'scrape', bytes: 1e9 }))
    usage.missed(3)
    assert.equal(usage.previous, undefined)
    pass(HOUR - 60_000)
    usage.turn()
    pass(HOUR)
    usage.take(record({ object: 'QmB/0' }))
    pass(1_000)
    await usage.close()
    const head = { from: '1970-01-01T10:01:00.000Z', to: '1970-01-01T11:00:00.000Z', whole: false, missed: 3 }
    assert.deepEqual(lines(), [
      { ...head, by: 'cid', key: 'QmA', requests: 2, hits: 1, errors: 1, bytes: 150, hitBytes: 100 },
      { ...head, by: 'subject', key: 'alice', requests: 1, hits: 1, errors: 0, bytes: 100, hitBytes: 100 },
      { ...head, by: 'subject', key: '', requests: 2, hits: 0, errors: 2, bytes: 57, hitBytes: 0 },
      { from: '1970-01-01T12:00:00.000Z', to: '1970-01-01T12:00:01.000Z', whole: false, by: 'cid', key: 'QmB', requests: 1, hits: 1, errors: 0, bytes: 100, hitBytes: 100 },
      { from: '1970-01-01T12:00:00.000Z', to: '1970-01-01T12:00:01.000Z', whole: false, by: 'subject', key: '', requests: 1, hits: 1, errors: 0, bytes: 100, hitBytes: 100 }
    ])
  })

  test('a whole hour is one, a clock that is set back ends none, and a disk that refuses one does not lose the next', async () => {
    const { usage, lines, failures, pass } = lab(10 * HOUR)
    usage.take(record({ object: 'bad/1' }))
    pass(-2 * HOUR)
    usage.turn()
    assert.deepEqual([usage.previous], [undefined])
    pass(3 * HOUR)
    usage.take(record({ object: 'QmA/1' }))
    assert.deepEqual([usage.previous?.whole, usage.previous?.rows.cid[0]?.key, usage.current.rows.cid[0]?.key], [true, 'bad', 'QmA'])
    pass(HOUR)
    usage.turn()
    await usage.close()
    assert.deepEqual([failures.length, lines().map(({ key, whole }) => [key, whole])], [1, [['QmA', true], ['', true]]])
  })
})
