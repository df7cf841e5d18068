import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { encodeShards } from '../../../../demo/super-node/erasure.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { rebuildPieces, type Pieces } from '../../../../src/plugins/repair/erasure-code.ts'
import { HOPELESS_MS, Repair, ROW_BYTES, type RepairOptions, type RepairRequest, type OpenSibling } from '../../../../src/plugins/repair/repair.ts'
import type { UpstreamObject } from '../../../../src/plugins/upstream/upstream-types.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'
import { bytesOf, until } from '../../../support/cache.ts'

const CID = 'QmRepair'
/** Two whole rows and a part of a third. */
const SIZE = 2 * ROW_BYTES + 777
const VIDEO = encodeShards(bytesOf('repair', SIZE * 10))
const CAUSE = new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it')

interface Lab {
  readonly repair: Repair
  readonly timers: VirtualTimers
  readonly outcomes: string[]
  readonly held: Set<number>
  /** Most bytes of pieces in one call of the code. */
  readonly widest: () => number
  readonly request: RepairRequest
  readonly abort: AbortController
}

/** A repair whose siblings are those of `there`, in memory. */
function setUp ({ there = () => true, open, cached = () => false, ...options }: { there?: (shard: number) => boolean, open?: RepairRequest['open'], cached?: (key: ShardKey) => boolean } & Partial<RepairOptions> = {}): Lab {
  const timers = virtualTimers()
  const outcomes: string[] = []
  const held = new Set<number>()
  const abort = new AbortController()
  let widest = 0
  const repair = new Repair({
    erasure: {
      rebuild: async (pieces: Pieces, wanted) => {
        widest = Math.max(widest, ...pieces.map(piece => piece?.length ?? 0))
        assert.equal(pieces.filter(piece => piece !== undefined).length, 10)
        return rebuildPieces(pieces, wanted)
      }
    },
    expects: async ({ part }) => ({ size: SIZE, sha256: sha256(VIDEO[Number(part)] ?? Buffer.alloc(0)) }),
    cached,
    concurrency: 2,
    timeoutMs: 5_000,
    clock: { now: () => 0, monotonic: () => timers.now() },
    timers,
    observer: { ended: outcome => { outcomes.push(outcome) } },
    log: () => {},
    ...options
  })
  const whole = (shard: number): OpenSibling => {
    held.add(shard)
    const bytes = VIDEO[shard] ?? Buffer.alloc(0)
    // A little less than asked for, as disks and spools do.
    return { size: SIZE, verified: true, read: async (position, length) => bytes.subarray(position, position + Math.min(length, 100_000)), release: () => { held.delete(shard) } }
  }
  const request: RepairRequest = {
    via: [],
    cause: CAUSE,
    signal: abort.signal,
    mayBegin: () => {},
    open: open ?? (async ({ part }) => {
      if (!there(Number(part))) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'gone')
      return whole(Number(part))
    })
  }
  return { repair, timers, outcomes, held, widest: () => widest, request, abort }
}

async function bytesIn (object: UpstreamObject): Promise<Buffer> {
  const rows: Buffer[] = []
  for await (const row of object.body) {
    assert.ok(row.length <= ROW_BYTES)
    rows.push(row)
  }
  return Buffer.concat(rows)
}

function atRest ({ repair, held, timers }: Lab): void {
  assert.deepEqual([repair.running, repair.waiting, held.size, timers.waiting], [0, 0, 0, 0])
}

suite('repair of a shard', { concurrency: false }, () => {
  test('whatever four shards are gone, each comes back byte for byte, row by row, and nothing stays held', async () => {
    await fc.assert(fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 0, max: 13 }), { minLength: 1, maxLength: 4 }), fc.uniqueArray(fc.integer({ min: 0, max: 13 })), async (gone, cached) => {
      const lab = setUp({ there: shard => !gone.includes(shard), cached: ({ part }) => cached.includes(Number(part)) })
      for (const part of gone) {
        const object = await lab.repair.fetch({ cid: CID, part }, lab.request)
        assert.deepEqual([object.size, object.repaired, object.storable], [SIZE, true, true])
        assert.ok((await bytesIn(object)).equals(VIDEO[part] ?? Buffer.alloc(0)))
      }
      assert.ok(lab.widest() <= ROW_BYTES)
      assert.deepEqual(lab.outcomes, gone.map(() => 'repaired'))
      atRest(lab)
    }), { numRuns: 10 })
  })

  test('with five gone it is as if there were no repair, and the siblings are not asked for again for a while', async () => {
    let asked = 0
    const lab = setUp({ there: shard => { asked++; return shard >= 5 } })
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 0 }, lab.request), CAUSE)
    const first = asked
    assert.ok(first >= 4 && first <= 13)
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 1 }, lab.request), CAUSE)
    assert.equal(asked, first)
    await lab.timers.pass(HOPELESS_MS)
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 1 }, lab.request), CAUSE)
    assert.ok(asked > first)
    const second = asked
    lab.repair.forget(id => id.startsWith(`${CID}/`))
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 1 }, lab.request), CAUSE)
    assert.ok(asked > second)
    assert.deepEqual(lab.outcomes, ['siblings', 'siblings', 'siblings'])
    atRest(lab)
  })

  test('without a believed manifest, for a manifest, and for a node that asks to come back later nothing is begun', async () => {
    const open = async (): Promise<never> => { throw new Error('nobody should be asked') }
    const lab = setUp({ open, expects: async () => undefined })
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 1 }, lab.request), CAUSE)
    assert.deepEqual(lab.outcomes, ['no_manifest'])
    const other = setUp({ open })
    await assert.rejects(other.repair.fetch({ cid: CID, part: 'manifest' }, other.request), CAUSE)
    const busy = new RelayError('RELAY_ERR_UPSTREAM_BUSY', 'later')
    await assert.rejects(other.repair.fetch({ cid: CID, part: 1 }, { ...other.request, cause: busy }), busy)
    const refusal = new RelayError('RELAY_ERR_OVERLOADED', 'shed')
    await assert.rejects(other.repair.fetch({ cid: CID, part: 1 }, { ...other.request, mayBegin: () => { throw refusal } }), refusal)
    assert.deepEqual(other.outcomes, [])
    for (const each of [lab, other]) atRest(each)
  })

  test('siblings that are unverified, or of another size, are not used', async () => {
    const released: number[] = []
    const lab = setUp({ open: async ({ part }) => ({ size: Number(part) < 5 ? SIZE - 1 : SIZE, verified: false, read: async () => Buffer.alloc(1), release: () => { released.push(Number(part)) } }) })
    await assert.rejects(lab.repair.fetch({ cid: CID, part: 13 }, lab.request), CAUSE)
    assert.ok(released.length >= 11)
    atRest(lab)
  })

  test('what is rebuilt of a sibling that has rotted never ends well', async () => {
    const lab = setUp({ expects: async () => ({ size: SIZE, sha256: sha256(Buffer.from('another')) }) })
    await assert.rejects(bytesIn(await lab.repair.fetch({ cid: CID, part: 2 }, lab.request)), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    assert.deepEqual(lab.outcomes, ['wrong'])
    atRest(lab)
  })

  test('one late sibling is not waited for, and is let go when it comes after all', async () => {
    const late = deferred<OpenSibling>()
    const base = setUp()
    const lab = setUp({ open: async (key, signal) => key.part === 0 ? await late.promise : await base.request.open(key, signal) })
    const object = await lab.repair.fetch({ cid: CID, part: 13 }, lab.request)
    assert.ok((await bytesIn(object)).equals(VIDEO[13] ?? Buffer.alloc(0)))
    let released = 0
    late.resolve({ size: SIZE, verified: true, read: async () => Buffer.alloc(1), release: () => { released++ } })
    await until(() => released === 1)
    assert.equal(base.held.size, 0)
    atRest(lab)
  })

  test('time, an abort, and a body that nobody reads end it, and everything is let go', async () => {
    const never = async (): Promise<never> => await new Promise<never>(() => {})
    const slow = setUp({ open: never })
    const waiting = slow.repair.fetch({ cid: CID, part: 1 }, slow.request)
    const failed = assert.rejects(waiting, CAUSE)
    await until(() => slow.timers.waiting === 1)
    await slow.timers.pass(5_000)
    await failed
    const left = setUp({ open: never })
    const reason = new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    const stopped = assert.rejects(left.repair.fetch({ cid: CID, part: 1 }, left.request), reason)
    await until(() => left.timers.waiting === 1)
    left.abort.abort(reason)
    await stopped
    const unread = setUp()
    const object = await unread.repair.fetch({ cid: CID, part: 1 }, unread.request)
    assert.equal(unread.held.size, 10)
    object.body.destroy()
    assert.deepEqual([slow.outcomes, left.outcomes, unread.outcomes], [['timeout'], ['aborted'], ['aborted']])
    for (const lab of [slow, left, unread]) atRest(lab)
  })

  test('of a part only the same columns of siblings are read, whatever part it is', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 13 }), fc.integer({ min: 0, max: SIZE - 1 }), fc.integer({ min: 1, max: SIZE }), async (part, from, length) => {
      const to = Math.min(SIZE, from + length)
      const base = setUp()
      const lab = setUp({
        open: async (key, signal) => {
          const sibling = await base.request.open(key, signal)
          return {
            ...sibling,
            read: async (position, most) => {
              assert.ok(position >= from && position + most <= to, 'outside of what is rebuilt')
              return await sibling.read(position, most)
            }
          }
        }
      })
      const object = await lab.repair.fetch({ cid: CID, part }, { ...lab.request, part: { from, to } })
      assert.deepEqual([object.offset, object.size], [from, SIZE])
      assert.ok((await bytesIn(object)).equals(VIDEO[part]?.subarray(from, to) ?? Buffer.alloc(0)))
      assert.deepEqual(lab.outcomes, ['repaired'])
      assert.equal(base.held.size, 0)
      atRest(lab)
    }), { numRuns: 20 })
  })

  test('a sibling that breaks off in the middle is replaced, while there are others', async () => {
    for (const [broken, repaired] of [[3, true], [4, false]] as const) {
      const base = setUp()
      const lab = setUp({
        open: async (key, signal) => {
          const sibling = await base.request.open(key, signal)
          const read: OpenSibling['read'] = async (position, length) => {
            if (position >= ROW_BYTES) throw new Error('it broke off')
            return await sibling.read(position, length)
          }
          return Number(key.part) < broken ? { ...sibling, read } : sibling
        }
      })
      const body = bytesIn(await lab.repair.fetch({ cid: CID, part: 13 }, lab.request))
      if (repaired) assert.ok((await body).equals(VIDEO[13] ?? Buffer.alloc(0)))
      else await assert.rejects(body, { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
      assert.deepEqual(lab.outcomes, [repaired ? 'repaired' : 'siblings'])
      assert.equal(base.held.size, 0)
      atRest(lab)
    }
  })

  test('a sibling that says nothing more does not keep what nobody wants any more', async () => {
    const base = setUp()
    const lab = setUp({ open: async (key, signal) => ({ ...await base.request.open(key, signal), read: async () => await new Promise<never>(() => {}) }) })
    const object = await lab.repair.fetch({ cid: CID, part: 13 }, lab.request)
    const body = assert.rejects(bytesIn(object), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    object.body.destroy()
    await body
    assert.deepEqual(lab.outcomes, ['aborted'])
    assert.equal(base.held.size, 0)
    atRest(lab)
  })

  test('no more run at the same time than may, and one more begins when one ends', async (t: TestContext) => {
    const lab = setUp()
    const first = await lab.repair.fetch({ cid: CID, part: 1 }, lab.request)
    const second = await lab.repair.fetch({ cid: CID, part: 2 }, lab.request)
    const third = lab.repair.fetch({ cid: CID, part: 3 }, lab.request)
    await until(() => lab.repair.waiting === 1)
    assert.equal(lab.repair.running, 2)
    first.body.destroy()
    const object = await third
    assert.deepEqual([lab.repair.running, lab.repair.waiting], [2, 0])
    t.after(() => { second.body.destroy() })
    object.body.destroy()
  })
})
