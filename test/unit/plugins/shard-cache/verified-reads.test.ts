import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { suite, test, type TestContext } from 'node:test'
import { BLOCK_BYTES } from '../../../../src/storage/block-reader.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { MAX_VERIFYING, MAX_WAITING, type Rot, type VerifyOutcome, type VerifyReads } from '../../../../src/plugins/shard-cache/verified-reads.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { faultyFs, type FaultyFs } from '../../../fakes/faulty-fs.ts'
import { bytesOf, openTestCache, readAll, until, type TestCache } from '../../../support/cache.ts'
import { flipBit } from '../../../support/rot.ts'

const SIZE = 2 * BLOCK_BYTES + 1_000
const key = (n: number): ShardKey => ({ cid: `rot${n}`, part: 0 })

interface Restarted extends TestCache {
  readonly faulty: FaultyFs
  readonly rots: string[]
  readonly outcomes: VerifyOutcome[]
  fileOf (n: number): string
}

/** A cache that was closed with `count` objects in it and opened again. */
async function restarted (t: TestContext, mode: VerifyReads, count = 1, options: Parameters<typeof openTestCache>[2] = {}, size = SIZE): Promise<Restarted> {
  const path = await temporaryDirectory(t)
  const before = await openTestCache(t, path)
  for (let n = 0; n < count; n++) assert.ok(await storeBytes(before.cache, key(n), bytesOf(`rot${n}`, size)))
  await before.close()
  const faulty = faultyFs()
  const rots: string[] = []
  const outcomes: VerifyOutcome[] = []
  const verify = { mode, onRot: ({ entry, finder }: Rot) => { rots.push(`${entry.id} ${finder}`) }, onVerified: (outcome: VerifyOutcome) => { outcomes.push(outcome) } }
  const opened = await openTestCache(t, path, { fs: faulty.fs, verify, ...options })
  await opened.cache.reconciled
  const { disk } = opened.cache
  return {
    ...opened,
    faulty,
    rots,
    outcomes,
    fileOf: n => {
      const entry = disk.peek(keyId(key(n)))
      assert.ok(entry)
      return disk.fileOf(entry)
    }
  }
}

async function bodyOf ({ cache }: TestCache, n: number): Promise<Buffer | undefined> {
  const object = await cache.open(key(n))
  if (object === undefined) return undefined
  try {
    return await readAll(object)
  } finally {
    object.release()
  }
}

/** Nothing is held, open or counted. */
async function assertIdle ({ cache }: TestCache): Promise<void> {
  await until(() => cache.disk.openFiles === 0)
  for (const entry of cache.disk.firstOut()) assert.equal(entry.leases, 0)
  assert.deepEqual([cache.disk.condemnedBytes, cache.reads.running, cache.reads.waiting], [0, 0, 0])
}

suite('first', () => {
  test('the first read of an object since the start verifies it, and no other', async t => {
    const rig = await restarted(t, 'first')
    assert.ok((await bodyOf(rig, 0))?.equals(bytesOf('rot0', SIZE)))
    assert.ok((await bodyOf(rig, 0))?.equals(bytesOf('rot0', SIZE)))
    assert.deepEqual(rig.outcomes, ['right'])
    await assertIdle(rig)
  })

  test('a flipped bit is a miss, told once, and the object can be stored anew, which is not verified again', async t => {
    const rig = await restarted(t, 'first')
    await flipBit(rig.fileOf(0), SIZE - 1)
    assert.deepEqual(await Promise.all([bodyOf(rig, 0), bodyOf(rig, 0), rig.cache.pin(key(0))]), [undefined, undefined, undefined])
    assert.deepEqual([rig.rots, rig.outcomes, rig.cache.has(key(0))], [['rot0/0 read'], ['rotted'], false])
    assert.ok(await storeBytes(rig.cache, key(0), bytesOf('rot0', SIZE)))
    assert.ok((await bodyOf(rig, 0))?.equals(bytesOf('rot0', SIZE)))
    assert.deepEqual(rig.outcomes, ['rotted'])
    await assertIdle(rig)
  })

  test('an object for another process is verified before its path is told', async t => {
    const rig = await restarted(t, 'first', 2)
    await flipBit(rig.fileOf(1), 5)
    const pinned = await rig.cache.pin(key(0))
    assert.deepEqual([pinned?.path, pinned?.blocks], [rig.fileOf(0), undefined])
    pinned?.release()
    assert.equal(await rig.cache.pin(key(1)), undefined)
    // It is known now, and no promise comes between.
    const again = rig.cache.pin(key(0))
    assert.ok(again !== undefined && !(again instanceof Promise))
    again.release()
    await assertIdle(rig)
  })

  test('a disk that hangs makes a miss and costs no entry; one that cannot read costs it', async t => {
    const rig = await restarted(t, 'first', 2, { ioTimeoutMs: 2_000 })
    // The deadline of the disk keeps no process alive.
    const alive = setInterval(() => {}, 1_000)
    t.after(() => { clearInterval(alive) })
    let hang: (() => void) | undefined
    rig.faulty.decide = async operation => {
      if (operation === 'read') await new Promise<void>(resolve => { hang = resolve })
      return undefined
    }
    assert.equal(await bodyOf(rig, 0), undefined)
    assert.deepEqual([rig.outcomes, rig.cache.has(key(0))], [['busy'], true])
    hang?.()
    rig.faulty.decide = operation => operation === 'read' ? 'EIO' : undefined
    assert.equal(await bodyOf(rig, 1), undefined)
    assert.deepEqual([rig.outcomes, rig.cache.has(key(1)), rig.rots], [['busy', 'unreadable'], false, []])
    rig.faulty.decide = () => undefined
    assert.ok((await bodyOf(rig, 0))?.equals(bytesOf('rot0', SIZE)))
  })

  test('few files are verified at the same time, a bounded number waits, the rest are misses', async t => {
    const count = MAX_VERIFYING + MAX_WAITING + 3
    const rig = await restarted(t, 'first', count, {}, 10)
    let go: (() => void) | undefined
    const gate = new Promise<void>(resolve => { go = resolve })
    rig.faulty.decide = async operation => {
      if (operation === 'read') await gate
      return undefined
    }
    const bodies = Array.from({ length: count }, async (_, n) => await bodyOf(rig, n))
    await until(() => rig.cache.reads.waiting === MAX_WAITING && (rig.faulty.counts.get('read') ?? 0) === MAX_VERIFYING)
    for (let turn = 0; turn < 10; turn++) await nextTurn()
    assert.deepEqual([rig.cache.reads.running, rig.cache.reads.waiting, rig.faulty.peaks.get('read')], [MAX_VERIFYING, MAX_WAITING, MAX_VERIFYING])
    go?.()
    const missing = (await Promise.all(bodies)).filter(body => body === undefined).length
    assert.deepEqual([missing, rig.outcomes.filter(outcome => outcome === 'busy').length, rig.cache.disk.count], [3, 3, count])
    await assertIdle(rig)
  })
})

suite('always', () => {
  test('a bit that flips after the object was verified: its block is not given out, the entry goes, the blocks before it are right', async t => {
    const rig = await restarted(t, 'always')
    const right = bytesOf('rot0', SIZE)
    assert.ok((await bodyOf(rig, 0))?.equals(right))
    await flipBit(rig.fileOf(0), BLOCK_BYTES + 7)
    const object = await rig.cache.open(key(0))
    assert.ok(object)
    assert.ok(right.subarray(0, BLOCK_BYTES).equals(await object.read(0, BLOCK_BYTES)))
    await assert.rejects(object.read(BLOCK_BYTES, 10), { code: 'ROT' })
    assert.ok(right.subarray(2 * BLOCK_BYTES + 3).equals(await object.read(2 * BLOCK_BYTES + 3, SIZE)))
    object.release()
    assert.deepEqual([rig.rots, rig.outcomes, rig.cache.has(key(0))], [['rot0/0 read'], ['right'], false])
    await assertIdle(rig)
  })

  test('an object that was stored since the start is verified as well, and a range of a rotten one is a miss wherever the bit is', async t => {
    const rig = await restarted(t, 'always', 0)
    assert.ok(await storeBytes(rig.cache, key(0), bytesOf('rot0', SIZE)))
    await flipBit(rig.fileOf(0), SIZE - 1)
    assert.equal(await rig.cache.open(key(0)), undefined)
    assert.deepEqual([rig.rots, rig.outcomes], [['rot0/0 read'], ['rotted']])
  })

  test('another process gets the digests of the blocks; what it asks to be read is verified here', async t => {
    const rig = await restarted(t, 'always')
    const pinned = await rig.cache.pin(key(0))
    assert.equal(pinned?.blocks?.length, 3 * 32)
    await flipBit(rig.fileOf(0), 0)
    await assert.rejects(pinned.read(1, 10), { code: 'ROT' })
    pinned.release()
    assert.deepEqual(rig.rots, ['rot0/0 read'])
    await assertIdle(rig)
  })

  test('an empty object is read like any other', async t => {
    const rig = await restarted(t, 'always', 1, {}, 0)
    assert.equal((await bodyOf(rig, 0))?.length, 0)
    assert.deepEqual(rig.outcomes, ['right'])
  })
})

test('never: a flipped bit goes out, as asked for; a copy to memory finds it', async t => {
  const rig = await restarted(t, 'never', 1, { ramBytes: 100 * SIZE })
  await flipBit(rig.fileOf(0), 0)
  for (let time = 0; time < 3; time++) await bodyOf(rig, 0)
  await rig.cache.flush()
  assert.deepEqual([rig.rots, rig.outcomes], [['rot0/0 load'], []])
})
