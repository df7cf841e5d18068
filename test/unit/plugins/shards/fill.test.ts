import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { Fill } from '../../../../src/plugins/shards/fill.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { ScriptedFetch } from '../../../fakes/upstream.ts'
import { assertNothingHeld, bytesOf, testStore, until, type TestStore } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'fill', part: 0 }
const BODY = bytesOf('fill', 10_000)
const DIGEST = sha256(BODY)

interface Setup extends TestStore {
  readonly fill: Fill
  readonly origin: ScriptedFetch
  readonly abort: AbortController
}

async function setUp (t: TestContext, options: { maxObjectBytes?: number, maxBytes?: number, passThroughBytes?: number, checksDigest?: boolean } = {}): Promise<Setup> {
  const set = await testStore(t, options)
  const abort = new AbortController()
  const origin = new ScriptedFetch(KEY, abort.signal)
  const fill = new Fill({
    via: [],
    maxObjectBytes: options.maxObjectBytes ?? 100_000,
    fetch: async () => await origin.object,
    createSpool: async (capacity, grows) => await set.store.createSpool(KEY, capacity, true, grows),
    signal: abort.signal,
    checksDigest: options.checksDigest ?? true
  })
  return { ...set, fill, origin, abort }
}

/** Joins and reads to the end, at most `step` bytes at a time, `pauses` turns between. */
async function follow (fill: Fill, step = Infinity, pauses: () => number = () => 0): Promise<Buffer> {
  const leave = fill.join()
  assert.ok(leave)
  try {
    const { size } = await fill.head
    const pieces: Uint8Array[] = []
    for (let at = 0; at < size;) {
      const piece = await fill.read(at, Math.min(step, size - at))
      assert.ok(piece.length > 0 && piece.length <= Math.min(step, size - at))
      pieces.push(piece)
      at += piece.length
      for (let turn = pauses(); turn > 0; turn--) await nextTurn()
    }
    return Buffer.concat(pieces)
  } finally {
    leave()
  }
}

test('the first bytes are readable before the end has been sent', async t => {
  const set = await setUp(t)
  const { fill, origin } = set
  const leave = fill.join()
  origin.answer({ size: BODY.length, sha256: DIGEST })
  await origin.send(BODY.subarray(0, 4_000))
  assert.equal((await fill.head).size, BODY.length)
  assert.ok(Buffer.from(await fill.read(0, 1_000)).equals(BODY.subarray(0, 1_000)))
  assert.equal(set.store.peek(keyId(KEY)), undefined)
  await origin.send(BODY.subarray(4_000))
  origin.end()
  await fill.finished
  assert.ok(set.store.peek(keyId(KEY)))
  leave?.()
  await assertNothingHeld(set)
})

test('a reader right behind the writer costs no disk read, one that is late reads the file', async t => {
  const set = await setUp(t, { maxObjectBytes: 2_000_000, maxBytes: 2_000_000 })
  const { fill, origin, observer } = set
  const body = bytesOf('large', 1_000_000)
  const leave = fill.join()
  origin.answer({ size: body.length, sha256: sha256(body) })
  const pieces: Uint8Array[] = []
  for (let at = 0; at < body.length; at += 50_000) {
    await origin.send(body.subarray(at, at + 50_000))
    pieces.push(await fill.read(at, 50_000))
  }
  origin.end()
  pieces.push(await fill.read(body.length - 1, 1))
  assert.ok(Buffer.concat(pieces).equals(body))
  assert.equal(observer.io.get('read'), undefined)
  assert.ok(Buffer.from(await fill.read(2_000, 1_000)).equals(body.subarray(2_000, 3_000)))
  assert.equal(observer.io.get('read'), 1)
  leave?.()
  await fill.finished
  await assertNothingHeld(set)
})

test('the last byte is withheld until length and digest are verified', async t => {
  for (const announced of [true, false]) {
    const set = await setUp(t)
    const { fill, origin } = set
    const leave = fill.join()
    origin.answer({ size: BODY.length, sha256: announced ? DIGEST : undefined })
    await origin.send(BODY)
    assert.equal((await fill.read(0, BODY.length)).length, BODY.length - 1)
    assert.equal(fill.sha256, undefined)
    let last = false
    const reading = fill.read(BODY.length - 1, 1).then(bytes => { last = true; return bytes })
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(last, false)
    origin.end()
    assert.deepEqual(Buffer.from(await reading), BODY.subarray(-1))
    assert.equal(fill.sha256, DIGEST)
    leave?.()
    await fill.finished
    await assertNothingHeld(set)
  }
})

test('the last byte of a range that ends before the body is withheld until the whole body is verified', async t => {
  for (const right of [true, false]) {
    const set = await setUp(t)
    const { fill, origin } = set
    const leave = fill.join()
    origin.answer({ size: BODY.length, sha256: right ? DIGEST : '0'.repeat(64) })
    await origin.send(BODY)
    assert.equal((await fill.read(1_000, BODY.length, 3_000)).length, 1_999)
    let settled = false
    const reading = fill.read(2_999, 1, 3_000).finally(() => { settled = true })
    const outcome = right ? reading.then(bytes => { assert.deepEqual(Buffer.from(bytes), BODY.subarray(2_999, 3_000)) }) : assert.rejects(reading, { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(settled, false)
    origin.end()
    await outcome
    // With the verdict a range is read immediately.
    if (right) assert.equal((await fill.read(1_000, 2_000, 3_000)).length, 2_000)
    leave?.()
    await fill.finished
    await assertNothingHeld(set)
  }
})

test('a body of unknown length has its head when it is verified, and is stored', async t => {
  const set = await setUp(t)
  const { fill, origin } = set
  const reading = follow(fill)
  let known = false
  void fill.head.then(() => { known = true })
  origin.answer({})
  await origin.send(BODY)
  assert.equal(known, false)
  origin.end()
  assert.ok((await reading).equals(BODY))
  assert.deepEqual(await fill.head, { size: BODY.length, sha256: DIGEST, verified: true, node: 'node-1', region: 'NA-WEST', headMs: 1, ageMs: 0, lasting: true, repaired: false })
  await fill.finished
  assert.equal(set.store.usedBytes, BODY.length, 'only what came counts, not what might have come')
  await assertNothingHeld(set)
})

test('what is not storable is read by those who wait, says so, and is not stored', async t => {
  for (const size of [BODY.length, undefined]) {
    const set = await setUp(t)
    const reading = follow(set.fill)
    set.origin.answer({ size, storable: false })
    await set.origin.send(BODY)
    set.origin.end()
    assert.ok((await reading).equals(BODY))
    assert.equal((await set.fill.head).lasting, false)
    await set.fill.finished
    assert.equal(set.store.peek(keyId(KEY)), undefined)
    await assertNothingHeld(set)
  }
})

test('a SHA-512 is checked, beside a SHA-256 or alone', async t => {
  const right = createHash('sha512').update(BODY).digest('hex')
  for (const [sha256, sha512, whole] of [[undefined, right, true], [DIGEST, right, true], [undefined, '0'.repeat(128), false], [DIGEST, '0'.repeat(128), false], ['0'.repeat(64), right, false]] as const) {
    const set = await setUp(t)
    const reading = follow(set.fill)
    set.origin.answer({ size: BODY.length, sha256, sha512 })
    await set.origin.send(BODY)
    set.origin.end()
    if (whole) assert.ok((await reading).equals(BODY))
    else await assert.rejects(reading, { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    await set.fill.finished
    assert.equal(set.store.peek(keyId(KEY)) !== undefined, whole)
    await assertNothingHeld(set)
  }
})

const BAD: Record<string, [play: (origin: ScriptedFetch, abort: AbortController) => Promise<void>, code: RelayError['code']]> = {
  'short by one': [async origin => { origin.answer({ size: BODY.length }); await origin.send(BODY.subarray(1)); origin.end() }, 'RELAY_ERR_UPSTREAM_BODY'],
  'short and empty': [async origin => { origin.answer({ size: BODY.length }); origin.end() }, 'RELAY_ERR_UPSTREAM_BODY'],
  'long by one': [async origin => { origin.answer({ size: BODY.length - 1 }); await origin.send(BODY.subarray(0, 5_000)); await origin.send(BODY.subarray(5_000)); origin.end() }, 'RELAY_ERR_UPSTREAM_TOO_LARGE'],
  empty: [async origin => { origin.answer({ size: 0 }); origin.end() }, 'RELAY_ERR_UPSTREAM_BODY'],
  'empty, which shows only in the end': [async origin => { origin.answer({}); origin.end() }, 'RELAY_ERR_UPSTREAM_BODY'],
  corrupt: [async origin => { origin.answer({ size: BODY.length, sha256: '0'.repeat(64) }); await origin.send(BODY); origin.end() }, 'RELAY_ERR_UPSTREAM_CORRUPT'],
  'corrupt and of unknown length': [async origin => { origin.answer({ sha256: '0'.repeat(64) }); await origin.send(BODY); origin.end() }, 'RELAY_ERR_UPSTREAM_CORRUPT'],
  'broken off': [async origin => { origin.answer({ size: BODY.length }); await origin.send(BODY.subarray(0, 9_999)); origin.breakOff() }, 'RELAY_ERR_UPSTREAM_BODY'],
  'broken off at the very end': [async origin => { origin.answer({ size: BODY.length, sha256: DIGEST }); await origin.send(BODY); origin.breakOff() }, 'RELAY_ERR_UPSTREAM_BODY'],
  'announced above the cap': [async origin => { origin.answer({ size: 100_001 }) }, 'RELAY_ERR_UPSTREAM_TOO_LARGE'],
  'above the cap unannounced': [async origin => { origin.answer({}); for (let n = 0; n < 11; n++) await origin.send(BODY); origin.end() }, 'RELAY_ERR_UPSTREAM_TOO_LARGE'],
  refused: [async origin => { origin.refuse(new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nowhere')) }, 'RELAY_ERR_SHARD_NOT_FOUND'],
  'stopped before the answer': [async (_origin, abort) => { abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping')) }, 'RELAY_ERR_STOPPING'],
  'stopped in the body': [async (origin, abort) => { origin.answer({ size: BODY.length }); await origin.send(BODY.subarray(0, 100)); abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping')) }, 'RELAY_ERR_STOPPING'],
  'stopped when all but the end is there': [async (origin, abort) => { origin.answer({ size: BODY.length }); await origin.send(BODY); abort.abort(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late')) }, 'RELAY_ERR_UPSTREAM_TIMEOUT']
}

test('a body that is short, long, corrupt, broken off, oversize or stopped never ends as a success and is never stored', async t => {
  for (const [name, [play, code]] of Object.entries(BAD)) {
    const set = await setUp(t)
    const reading = follow(set.fill)
    const failed = assert.rejects(reading, { code }, name)
    await play(set.origin, set.abort)
    await failed
    await set.fill.finished
    assert.equal(set.store.count, 0, name)
    assert.ok(set.origin.body.destroyed || code === 'RELAY_ERR_SHARD_NOT_FOUND' || name === 'stopped before the answer', `${name}: the body is let go`)
    await assertNothingHeld(set)
  }
})

test('a body that broke is reported to whoever sent it', async t => {
  const set = await setUp(t)
  const failed = assert.rejects(follow(set.fill), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
  set.origin.answer({ size: BODY.length, sha256: '0'.repeat(64) })
  await set.origin.send(BODY)
  set.origin.end()
  await failed
  assert.equal(set.origin.failures.length, 1)
})

test('readers that leave, first or last, do not end the fill', async t => {
  const set = await setUp(t)
  const { fill, origin } = set
  const first = fill.join()
  const second = fill.join()
  origin.answer({ size: BODY.length, sha256: DIGEST })
  await origin.send(BODY.subarray(0, 100))
  first?.()
  first?.()
  second?.()
  assert.equal(fill.readers, 0)
  const late = follow(fill)
  await origin.send(BODY.subarray(100))
  origin.end()
  assert.ok((await late).equals(BODY))
  await fill.finished
  assert.ok(set.store.peek(keyId(KEY)))
  await assertNothingHeld(set)
})

test('a reader that leaves while it waits or reads does not take the file from under the read', async t => {
  const set = await setUp(t)
  const { fill, origin } = set
  const leave = fill.join()
  origin.answer({ size: BODY.length, sha256: DIGEST })
  await origin.send(BODY)
  const reads = Array.from({ length: 20 }, async (_, n) => await fill.read(n * 100, 100))
  leave?.()
  origin.end()
  for (const [n, bytes] of (await Promise.all(reads)).entries()) assert.ok(Buffer.from(bytes).equals(BODY.subarray(n * 100, n * 100 + 100)))
  await fill.finished
  await assertNothingHeld(set)
})

test('a fill whose readers have all gone cannot be joined once it is over', async t => {
  const { fill, origin } = await setUp(t)
  origin.answer({ size: BODY.length })
  await origin.send(BODY)
  origin.end()
  await fill.finished
  assert.equal(fill.join(), undefined)
})

test('a slow reader costs a file and no memory: the origin is not held up and nothing is buffered', async t => {
  const set = await setUp(t, { maxObjectBytes: 4_000_000, maxBytes: 4_000_000 })
  const { fill, origin, store } = set
  const big = bytesOf('big', 3_000_000)
  const leave = fill.join()
  origin.answer({ size: big.length, sha256: sha256(big) })
  for (let at = 0; at < big.length; at += 100_000) {
    await origin.send(big.subarray(at, at + 100_000))
    assert.equal(store.passThrough.usedBytes, 0)
  }
  origin.end()
  await fill.finished
  assert.equal((await fill.read(0, big.length)).length, 1024 * 1024, 'a read is bounded, however much is there')
  leave?.()
  await assertNothingHeld(set)
})

test('the origin is read no faster than the disk takes it, above what one window holds', async t => {
  const set = await setUp(t, { maxObjectBytes: 2_000_000, maxBytes: 2_000_000 })
  const body = bytesOf('large', 1_000_000)
  const { fill, origin, faulty } = set
  const gate = deferred<undefined>()
  faulty.decide = async operation => {
    if (operation === 'write') await gate.promise
    return undefined
  }
  origin.answer({ size: body.length })
  origin.body.push(body.subarray(0, 100_000))
  await until(() => (faulty.counts.get('write') ?? 0) > 0)
  for (let n = 1; n < 10; n++) {
    origin.body.push(body.subarray(n * 100_000, n * 100_000 + 100_000))
    for (let turn = 0; turn < 5; turn++) await nextTurn()
  }
  assert.equal(faulty.counts.get('write'), 1)
  assert.equal(fill.readable, 500_000, 'what the disk has not taken can be read')
  assert.equal(fill.readableInFile(), 0)
  let inFile = false
  const waiting = fill.moreInFile(99_999).then(() => { inFile = true })
  await nextTurn()
  assert.equal(inFile, false, 'but not by another process')
  assert.equal(origin.body.readableLength, 400_000, 'the rest stays with the origin, but for the chunk that waits')
  gate.resolve(undefined)
  origin.body.push(null)
  await waiting
  await fill.finished
  assert.equal(fill.readableInFile(), body.length)
  assert.equal(set.store.count, 1)
})

test('a disk that fails in the middle of a fill costs the store and not the readers', async t => {
  for (const when of [1, 3]) {
    const set = await setUp(t)
    const { fill, origin, faulty, observer } = set
    let writes = 0
    faulty.decide = operation => operation !== 'write' ? undefined : ++writes >= when ? 'ENOSPC' : 1_000
    const readers = Array.from({ length: 5 }, async (_, n) => await follow(fill, 100 + n * 500))
    origin.answer({ size: BODY.length, sha256: DIGEST })
    for (let at = 0; at < BODY.length; at += 2_000) await origin.send(BODY.subarray(at, at + 2_000))
    origin.end()
    for (const bytes of await Promise.all(readers)) assert.ok(bytes.equals(BODY))
    await fill.finished
    assert.deepEqual(observer.bypassed, ['disk-error'])
    assert.equal(set.store.count, 0)
    await assertNothingHeld(set)
  }
})

test('any chunking, reader speed, joining time and failure: who ends gets exactly the bytes, and only a whole body is stored', async t => {
  const plan = fc.record({
    sizes: fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 8 }),
    readers: fc.array(fc.record({ joinAt: fc.nat(8), step: fc.integer({ min: 1, max: 4_000 }), pause: fc.nat(3), leaveAfter: fc.option(fc.nat(4_000)) }), { maxLength: 5 }),
    announce: fc.boolean(),
    digest: fc.constantFrom('right' as const, 'wrong' as const, 'none' as const),
    ending: fc.constantFrom('end' as const, 'end' as const, 'short' as const, 'long' as const, 'broken' as const),
    diskFailsAt: fc.option(fc.nat(8)),
    forbidAt: fc.option(fc.nat(8)),
    cutTo: fc.option(fc.integer({ min: 1, max: 500 }))
  })
  await fc.assert(fc.asyncProperty(plan, async ({ sizes, readers, announce, digest, ending, diskFailsAt, forbidAt, cutTo }) => {
    const set = await setUp(t)
    const { fill, origin, store, faulty } = set
    const body = bytesOf(`property ${sizes.join()}`, sizes.reduce((sum, size) => sum + size, 0))
    let writes = 0
    faulty.decide = operation => {
      if (operation === 'write') return diskFailsAt !== null && writes++ >= diskFailsAt ? 'EIO' : cutTo ?? undefined
      return operation === 'read' ? cutTo ?? undefined : undefined
    }
    const bad = digest === 'wrong' || ending === 'broken' || (announce && ending !== 'end')
    const outcomes: Promise<unknown>[] = []
    const joinNow = (turn: number): void => {
      for (const reader of readers) {
        if (reader.joinAt % sizes.length !== turn) continue
        const leave = fill.join()
        assert.ok(leave)
        outcomes.push((async () => {
          const { size } = await fill.head
          let at = 0
          while (at < size) {
            const piece = await fill.read(at, Math.min(reader.step, size - at))
            assert.ok(piece.length > 0)
            assert.ok(Buffer.from(piece).equals(body.subarray(at, at + piece.length)), 'every byte given out is the origin\'s')
            at += piece.length
            if (reader.leaveAfter !== null && at > reader.leaveAfter) return
            for (let pause = 0; pause < reader.pause; pause++) await nextTurn()
          }
          assert.ok(!bad && size === body.length, 'only a good body ends')
        })().finally(leave).then(() => undefined, (error: unknown) => error))
      }
    }
    const announced = ending === 'short' && announce ? body.length + 1 : ending === 'long' && announce ? body.length - 1 : body.length
    origin.answer({ size: announce ? announced : undefined, sha256: digest === 'none' ? undefined : digest === 'wrong' ? 'f'.repeat(64) : sha256(body) })
    let at = 0
    for (const [turn, size] of sizes.entries()) {
      joinNow(turn)
      if (forbidAt === turn) fill.forbidStore()
      await origin.send(body.subarray(at, at + size))
      at += size
    }
    if (ending === 'broken') origin.breakOff()
    else origin.end()
    await fill.finished
    for (const error of await Promise.all(outcomes)) {
      if (!(bad && error instanceof RelayError)) assert.ifError(error)
    }
    const stored = !bad && !(diskFailsAt !== null && writes > diskFailsAt) && !(forbidAt !== null && forbidAt < sizes.length)
    assert.equal(store.count, stored ? 1 : 0)
    if (stored) assert.equal(store.peek(keyId(KEY))?.sha256, sha256(body))
    await assertNothingHeld(set)
  }), { numRuns: 80 })
})

test('a fill that compares nothing takes a body that does not match its digests, and announces none of them', async t => {
  const { fill, origin, store } = await setUp(t, { checksDigest: false })
  const body = follow(fill)
  origin.answer({ size: BODY.length, sha256: '0'.repeat(64), sha512: '0'.repeat(128) })
  await origin.send(BODY)
  origin.end()
  assert.deepEqual(await body, BODY)
  await fill.finished
  assert.equal((await fill.head).sha256, undefined)
  assert.equal(fill.sha256, DIGEST)
  assert.equal(store.count, 1)
})
