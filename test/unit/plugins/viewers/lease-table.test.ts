import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import { LeaseTable } from '../../../../src/plugins/viewers/lease-table.ts'

function shardCounting (releases: number[], position: number): OpenShard {
  releases[position] = 0
  return {
    key: { cid: 'c', part: 0 },
    size: 1,
    sha256: undefined,
    origin: { hit: true, tier: 'disk', storedAt: 0 },
    verified: true,
    lasting: true,
    buffer: undefined,
    file: undefined,
    read: async () => new Uint8Array(1),
    whenRevoked: () => {},
    release: () => { releases[position] = (releases[position] ?? 0) + 1 }
  }
}

test('every object given to the table is released exactly once, in whatever order leases are given back and the gateway ends', () => {
  fc.assert(fc.property(fc.array(fc.oneof(
    fc.constant('add' as const),
    fc.constant('end' as const),
    fc.nat({ max: 30 })
  ), { maxLength: 60 }), steps => {
    const table = new LeaseTable()
    const releases: number[] = []
    const held = new Set<number>()
    let over = false
    for (const step of steps) {
      if (step === 'add') {
        const shard = shardCounting(releases, releases.length)
        if (over) assert.throws(() => table.add(shard), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_STOPPING')
        else held.add(table.add(shard))
      } else if (step === 'end') {
        table.end()
        held.clear()
        over = true
      } else {
        table.release(step)
        held.delete(step)
      }
      assert.equal(table.size, held.size)
      for (const lease of held) assert.ok(table.has(lease))
    }
    table.end()
    assert.equal(table.size, 0)
    assert.deepEqual(releases, releases.map(() => 1))
  }))
})

test('a lease number is never used twice, and unknown ones are ignored', () => {
  const table = new LeaseTable()
  const releases: number[] = []
  const first = table.add(shardCounting(releases, 0))
  table.release(first)
  table.release(first)
  const second = table.add(shardCounting(releases, 1))
  assert.notEqual(second, first)
  table.release(first)
  assert.equal(table.get(first), undefined)
  assert.ok(table.get(second))
  assert.deepEqual(releases, [1, 0])
})

test('a full table refuses and releases what it refuses', () => {
  const table = new LeaseTable()
  const releases: number[] = []
  for (let count = 0; count < 65_536; count++) table.add(shardCounting(releases, 0))
  const refused: number[] = []
  assert.throws(() => table.add(shardCounting(refused, 0)), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_FILLS_BUSY')
  assert.deepEqual(refused, [1])
  assert.equal(table.size, 65_536)
})
