import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { BlockSet } from '../../../../src/plugins/shard-cache/block-set.ts'
import { BlockFill, type BlockFillOptions } from '../../../../src/plugins/shards/block-fill.ts'
import { MAX_RUNS } from '../../../../src/plugins/shards/block-runs.ts'
import { MAX_ALL_FAILURES } from '../../../../src/plugins/shards/run-failures.ts'
import { WrongObjectError } from '../../../../src/plugins/integrity/integrity.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { seededRandom } from '../../../../demo/super-node/faults.ts'
import { sha256 } from '../../../../tools/harness/store-bytes.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { ScriptedParts, type ScriptedPart } from '../../../fakes/parts.ts'
import { assertNothingHeld, bytesOf, testStore, until, type TestStore } from '../../../support/cache.ts'

const KEY: ShardKey = { cid: 'blocks', part: 3 }
const BLOCK = 100
const SIZE = 1_950
const BODY = bytesOf('blocks', SIZE)

interface Setup extends TestStore {
  readonly body: Buffer
  readonly fill: BlockFill
  readonly parts: ScriptedParts
  readonly abort: AbortController
  /** Who was blamed, with what was received. */
  readonly blamed: { readonly nodes: readonly string[], readonly received: string | undefined }[]
  /** `verified`, and each time that the spool was closed. */
  readonly told: string[]
}

interface Shape extends Partial<Pick<BlockFillOptions, 'start' | 'end' | 'completes' | 'mayComplete'>> {
  readonly body?: Buffer
  readonly blockSize?: number
  readonly hashes?: Buffer
  readonly passThroughBytes?: number
  /** Awaited, or called, before the spool is there. */
  readonly gate?: PromiseLike<unknown> | (() => never)
  readonly onPart?: (part: ScriptedPart) => void
}

function hashesOf (body: Buffer, blockSize: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.ceil(body.length / blockSize) }, (_, block) => createHash('sha256').update(body.subarray(block * blockSize, (block + 1) * blockSize)).digest()))
}

async function setUp (t: TestContext, { body = BODY, blockSize = BLOCK, hashes, passThroughBytes, gate, onPart, start = 0, end = body.length, completes = true, mayComplete = () => true }: Shape = {}): Promise<Setup> {
  const set = await testStore(t, passThroughBytes === undefined ? {} : { passThroughBytes })
  const abort = new AbortController()
  const parts = new ScriptedParts(KEY)
  if (onPart !== undefined) parts.onPart = onPart
  const blamed: Setup['blamed'] = []
  const told: string[] = []
  const fill = new BlockFill({
    via: [],
    expected: { size: body.length, sha256: sha256(body), blockSize, hashes: hashes ?? hashesOf(body, blockSize) },
    start,
    end,
    completes,
    fetch: parts.fetch,
    createSpool: async () => {
      await (typeof gate === 'function' ? gate() : gate)
      const ticket = await set.store.createBlockSpool(KEY, { size: body.length, sha256: sha256(body), blockSize })
      const { spool } = ticket
      const close = spool.close.bind(spool)
      spool.close = async () => {
        told.push('closed')
        await close()
      }
      return ticket
    },
    blame: (nodes, received) => {
      blamed.push({ nodes, received })
      throw new WrongObjectError('wrong')
    },
    mayComplete,
    verified: () => { told.push('verified') },
    contradicted: () => { told.push('contradicted') },
    doubted: nodes => {
      told.push(`doubted ${nodes.join(' ')}`)
      return true
    },
    signal: abort.signal
  })
  return { ...set, body, fill, parts, abort, blamed, told }
}

/** Answers as a repair does: with what somebody waits for. */
function rebuild (part: ScriptedPart): void {
  const to = part.state.soon?.() ?? part.part.to
  part.agree({ repaired: true })
  void part.send(BODY.subarray(part.part.from, to)).then(() => { part.end() })
}

async function nextPart ({ parts }: Setup, count = 1): Promise<ScriptedPart> {
  await until(() => parts.asked.length >= count)
  const part = parts.asked[count - 1]
  assert.ok(part)
  return part
}

function joined ({ fill }: Setup): () => void {
  const leave = fill.join()
  assert.ok(leave)
  return leave
}

/** Joins and reads from `start` to `end`, at most `step` bytes at a time. */
async function follow (set: Setup, start = 0, end = SIZE, step = Infinity): Promise<Buffer> {
  const leave = joined(set)
  try {
    await set.fill.head
    const pieces: Uint8Array[] = []
    for (let at = start; at < end;) {
      const piece = await set.fill.read(at, Math.min(step, end - at), end)
      assert.ok(piece.length > 0 && piece.length <= Math.min(step, end - at))
      pieces.push(piece)
      at += piece.length
    }
    return Buffer.concat(pieces)
  } finally {
    leave()
  }
}

async function assertOver (set: Setup, stored: boolean): Promise<void> {
  const { fill, store, root, told } = set
  await fill.finished
  await until(() => store.openFiles === 0 && store.reservedBytes === store.partials.bytes)
  // What came of an object that did not come to its end is kept, and right.
  for (const name of (await readdir(join(root, 'partial')).catch(() => [])).filter(one => one.endsWith('.json'))) {
    assert.equal(stored, false)
    const { blocks, blockSize } = JSON.parse(await readFile(join(root, 'partial', name), 'utf8')) as { blocks: string, blockSize: number }
    const bytes = await readFile(join(root, 'partial', name.slice(0, -'.json'.length)))
    const here = new BlockSet(Math.ceil(set.body.length / blockSize), Buffer.from(blocks, 'base64'))
    for (let block = here.firstPresent(0); block < here.size; block = here.firstPresent(block + 1)) {
      assert.deepEqual(bytes.subarray(block * blockSize, (block + 1) * blockSize), set.body.subarray(block * blockSize, (block + 1) * blockSize))
    }
  }
  store.partials.drop(() => true)
  await assertNothingHeld(set)
  assert.equal(told.filter(event => event === 'closed').length, 1, 'the spool is closed once')
  assert.equal(fill.join(), undefined)
  assert.equal(store.peek(keyId(KEY)) !== undefined, stored)
  assert.ok(set.parts.asked.every(({ body }) => body.destroyed || body.readableEnded || body.readableDidRead === false), 'no body is left')
}

suite('a fill by blocks', () => {
  test('begins with the block that is asked for, goes on to the end and then from the start, and is stored', async t => {
    const set = await setUp(t, { start: 730 })
    const reading = follow(set)
    const first = await nextPart(set)
    assert.deepEqual(first.part, { from: 700, to: SIZE, size: SIZE, sha256: sha256(BODY) })
    first.agree()
    assert.deepEqual(await set.fill.head, { size: SIZE, sha256: sha256(BODY), verified: true, node: 'node-1', region: 'NA-WEST', headMs: 1, ageMs: 0, lasting: true, repaired: false })
    const beside = await nextPart(set, 2)
    assert.deepEqual(set.parts.spans(BLOCK), [[7, 20], [0, 7]])
    await beside.deliver(BODY, 70)
    await first.give(BODY, Infinity, 70)
    first.end()
    assert.deepEqual(await reading, BODY)
    await assertOver(set, true)
    assert.equal(set.store.peek(keyId(KEY))?.sha256, sha256(BODY))
    assert.equal(set.store.peek(keyId(KEY))?.verified, true)
    assert.deepEqual(set.told, ['verified', 'closed'])
    assert.deepEqual(set.blamed, [])
  })

  test('brings in the rest, without anybody who reads it, one part after the other', async t => {
    const set = await setUp(t, { start: 1_000 })
    await (await nextPart(set)).deliver(BODY)
    const second = await nextPart(set, 2)
    assert.equal(set.fill.verified, false)
    await second.deliver(BODY)
    await assertOver(set, true)
    assert.deepEqual(set.parts.spans(BLOCK), [[10, 20], [0, 10]])
    assert.deepEqual([set.fill.verified, set.fill.sha256, set.fill.readers, set.fill.byBlocks, set.fill.wrong], [true, sha256(BODY), 0, true, false])
  })

  test('a block can be read when all of it is here, before any other; no byte of one that is not', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    const part = await nextPart(set)
    part.agree()
    await part.give(BODY, 199)
    assert.deepEqual(Buffer.from(await set.fill.read(0, 1_000)), BODY.subarray(0, 100))
    let read = false
    const reading = set.fill.read(150, 10).finally(() => { read = true })
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(read, false)
    await part.send(BODY.subarray(199, 200))
    assert.deepEqual(Buffer.from(await reading), BODY.subarray(150, 160))
    await part.send(BODY.subarray(200))
    part.end()
    leave()
    await assertOver(set, true)
    assert.equal(set.parts.asked.length, 1)
  })

  test('readers far off have requests of their own, up to a bound; each ends where the next began', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    const first = await nextPart(set)
    first.agree()
    await set.fill.head
    const reads = [400, 800, 1_200, 1_600, 1_800].map(async at => Buffer.from(await set.fill.read(at, BLOCK)))
    await until(() => set.parts.asked.length === MAX_RUNS)
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(set.parts.asked.length, MAX_RUNS)
    assert.deepEqual(set.parts.spans(BLOCK).map(([from]) => from), [0, 4, 8, 12])
    for (const part of set.parts.asked.slice(1, 3)) await part.deliver(BODY)
    await nextPart(set, 6)
    assert.deepEqual(set.parts.spans(BLOCK).slice(MAX_RUNS), [[16, 20], [18, 20]])
    // The first were asked for more than they bring now, and are given up when that is here.
    await first.give(BODY, 400)
    await until(() => first.body.destroyed)
    for (const part of set.parts.asked.slice(3)) await part.deliver(BODY)
    const read = await Promise.all(reads)
    for (const [index, at] of [400, 800, 1_200, 1_600, 1_800].entries()) assert.deepEqual(read[index], BODY.subarray(at, at + BLOCK))
    leave()
    await assertOver(set, true)
  })

  test('a reader right behind, or a block before, does not ask again', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    const part = await nextPart(set)
    part.agree()
    await set.fill.head
    const reads = [set.fill.read(0, 1), set.fill.read(100, 1)]
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(set.parts.asked.length, 1)
    await part.give(BODY)
    part.end()
    await Promise.all(reads)
    leave()
    await assertOver(set, true)
  })

  test('a wrong block is never read: its senders are blamed, and it is asked for again from there', async t => {
    const wrong = Buffer.from(BODY)
    wrong[555] = (wrong[555] ?? 0) ^ 1
    const set = await setUp(t)
    const reading = follow(set)
    const first = await nextPart(set)
    first.agree()
    await first.give(wrong, Infinity, 130)
    const second = await nextPart(set, 2)
    assert.deepEqual(set.blamed, [{ nodes: ['node-1'], received: sha256(wrong.subarray(500, 600)) }])
    assert.equal(first.failures.length, 1)
    assert.ok(first.body.destroyed)
    assert.deepEqual(set.parts.spans(BLOCK), [[0, 20], [5, 20]])
    await second.deliver(BODY)
    assert.deepEqual(await reading, BODY)
    await assertOver(set, true)
  })

  test('a head that contradicts the manifest is blamed before its body is read', async t => {
    for (const head of [{ size: SIZE - 1 }, { size: SIZE, sha256: '0'.repeat(64) }]) {
      const set = await setUp(t)
      const reading = follow(set)
      const first = await nextPart(set)
      first.answer(head)
      await (await nextPart(set, 2)).deliver(BODY)
      assert.deepEqual(await reading, BODY)
      assert.deepEqual(set.blamed, [{ nodes: ['node-1'], received: head.sha256 }])
      await assertOver(set, true)
    }
  })

  test('a head that says nothing of size and digest is enough', async t => {
    const set = await setUp(t)
    const part = await nextPart(set)
    part.answer()
    await part.give(BODY)
    part.end()
    await assertOver(set, true)
    assert.equal((await set.fill.head).size, SIZE)
  })

  test('with every node wrong it fails, after so many of them, and the manifest is in doubt', async t => {
    let lies = 0
    const set = await setUp(t, {
      onPart: part => {
        part.agree()
        void part.send(Buffer.alloc(SIZE, ++lies))
      }
    })
    await assert.rejects(follow(set), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    await assertOver(set, false)
    assert.equal(set.blamed.length, 8)
    assert.deepEqual(set.told, [`doubted ${Array.from({ length: 8 }, (_, n) => `node-${n + 1}`).join(' ')}`, 'closed'])
    assert.equal(set.fill.wrong, true, 'as a whole it may be right')
  })

  test('two nodes that send the same wrong block are enough to doubt the manifest, also while other requests go on', async t => {
    const other = Buffer.from(BODY)
    other[1_250] = 0
    const set = await setUp(t)
    const leave = joined(set)
    const first = await nextPart(set)
    first.agree()
    await first.give(BODY, 300)
    const reading = assert.rejects(set.fill.read(1_200, BLOCK), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
    for (const count of [2, 3]) {
      const part = await nextPart(set, count)
      part.agree()
      void part.give(other)
    }
    await reading
    leave()
    await assertOver(set, false)
    assert.equal(set.parts.asked.length, 3)
    assert.deepEqual(set.told, ['doubted node-2 node-3', 'closed'])
    assert.equal(set.fill.wrong, true)
  })

  test('a body that is short is an error, also by a byte; what came of it can be read', async t => {
    for (const most of [0, 150, SIZE - 1]) {
      const set = await setUp(t)
      const leave = joined(set)
      const part = await nextPart(set)
      part.agree()
      await set.fill.head
      await part.give(BODY, most)
      part.end()
      await set.fill.finished
      await assert.rejects(set.fill.read(SIZE - 1, 1), { code: 'RELAY_ERR_UPSTREAM_BODY' })
      await assert.rejects(set.fill.complete(), { code: 'RELAY_ERR_UPSTREAM_BODY' })
      if (most > BLOCK) assert.deepEqual(Buffer.from(await set.fill.read(0, BLOCK)), BODY.subarray(0, BLOCK))
      assert.equal(part.failures.length, 1)
      leave()
      await assertOver(set, false)
    }
  })

  test('bytes after the end of the object are not taken, however they are cut', async t => {
    for (const step of [SIZE + 30, SIZE, 130, 50]) {
      const set = await setUp(t)
      const reading = follow(set)
      const part = await nextPart(set)
      part.agree()
      const long = Buffer.concat([BODY, Buffer.alloc(300, 1)])
      for (let at = 0; at < long.length; at += step) await part.send(long.subarray(at, at + step))
      assert.deepEqual(await reading, BODY)
      await assertOver(set, true)
    }
  })

  test('a node that sends more than the part that was asked for has nothing to bring any more', async t => {
    const set = await setUp(t, { start: 1_000 })
    const leave = joined(set)
    const tail = await nextPart(set)
    tail.agree()
    await set.fill.head
    const reading = set.fill.read(0, 1)
    const start = await nextPart(set, 2)
    assert.deepEqual(set.parts.spans(BLOCK), [[10, 20], [0, 10]])
    start.agree()
    await start.give(BODY)
    // A wrong block that nobody asked this node for.
    await start.send(Buffer.alloc(BLOCK))
    await reading
    await until(() => start.body.destroyed)
    await tail.give(BODY)
    tail.end()
    leave()
    await assertOver(set, true)
    assert.equal(set.parts.asked.length, 2)
  })

  test('a body that breaks when all of its part is here does no harm', async t => {
    const set = await setUp(t, { start: 1_000 })
    const first = await nextPart(set)
    first.agree()
    await first.give(BODY)
    first.breakOff()
    await (await nextPart(set, 2)).deliver(BODY)
    await assertOver(set, true)
  })

  test('a request that fails beside others is asked again by whoever waits, and not for ever', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    const first = await nextPart(set)
    first.agree()
    await set.fill.head
    const reading = set.fill.read(1_000, BLOCK)
    const failed = assert.rejects(reading, { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
    for (const count of [2, 3, 4, 5]) (await nextPart(set, count)).refuse(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    await failed
    leave()
    await assertOver(set, false)
    assert.equal(set.parts.asked.length, 5)
  })

  test('requests that fail while blocks come between do not end it, up to a bound', async t => {
    const body = bytesOf('long', 100 * BLOCK)
    const set = await setUp(t, { body })
    const leave = joined(set)
    const first = await nextPart(set)
    first.agree()
    await set.fill.head
    let failed = false
    const reading = set.fill.read(90 * BLOCK, BLOCK).finally(() => { failed = true })
    reading.catch(() => {})
    let asked = 1
    for (; !failed && asked < 60; asked++) {
      (await nextPart(set, asked + 1)).refuse(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
      await first.send(body.subarray((asked - 1) * BLOCK, asked * BLOCK))
      for (let turn = 0; turn < 3; turn++) await nextTurn()
    }
    assert.equal(asked, MAX_ALL_FAILURES + 2)
    await assert.rejects(reading, { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
    leave()
    await assertOver(set, false)
  })

  test('the only request that fails is the end of it', async t => {
    const set = await setUp(t)
    const reading = assert.rejects(follow(set), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    ;(await nextPart(set)).refuse(new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nowhere'))
    await reading
    await assert.rejects(set.fill.head, { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    await assertOver(set, false)
  })

  test('ends with its signal: before the spool is there, before the answer, in the body', async t => {
    for (const when of ['spool', 'answer', 'body'] as const) {
      const gate = deferred<undefined>()
      const set = await setUp(t, { gate: gate.promise })
      const reading = assert.rejects(follow(set), { code: 'RELAY_ERR_STOPPING' }, when)
      const stop = (): void => { set.abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping')) }
      if (when === 'spool') stop()
      gate.resolve(undefined)
      if (when !== 'spool') {
        const part = await nextPart(set)
        if (when === 'body') {
          part.agree()
          await part.give(BODY, 250)
        }
        stop()
        assert.ok(part.signal.aborted)
      }
      await reading
      await assertOver(set, false)
      assert.equal(set.parts.asked.length, when === 'spool' ? 0 : 1)
    }
  })

  test('a spool that cannot be had is the end of it', async t => {
    const set = await setUp(t, { gate: () => { throw new Error('no disk') } })
    await assert.rejects(set.fill.head, { code: 'RELAY_ERR_INTERNAL' })
    await set.fill.finished
    assert.equal(set.parts.asked.length, 0)
    assert.deepEqual(set.told, [])
  })

  test('what nobody waits for is not begun where load forbids it; a part under way ends', async t => {
    for (const reads of [false, true]) {
      const set = await setUp(t, { start: 1_000, mayComplete: () => false })
      const leave = joined(set)
      const first = await nextPart(set)
      if (!reads) leave()
      await first.deliver(BODY)
      if (reads) {
        await (await nextPart(set, 2)).deliver(BODY)
        await set.fill.complete()
        leave()
      }
      await assertOver(set, reads)
      assert.equal(set.parts.asked.length, reads ? 2 : 1)
      if (!reads) await assert.rejects(set.fill.complete(), { code: 'RELAY_ERR_OVERLOADED' })
    }
  })

  test('an object that must not be stored any more is read and not stored, whenever that is said', async t => {
    for (const when of ['before', 'after'] as const) {
      const gate = deferred<undefined>()
      const set = await setUp(t, { gate: gate.promise })
      const reading = follow(set)
      if (when === 'before') set.fill.forbidStore()
      gate.resolve(undefined)
      const part = await nextPart(set)
      if (when === 'after') set.fill.forbidStore()
      await part.deliver(BODY)
      assert.deepEqual(await reading, BODY)
      await assertOver(set, false)
    }
  })

  test('what its origin does not want stored is not, also when its body does not end', async t => {
    for (const ends of [true, false]) {
      const set = await setUp(t)
      const reading = follow(set)
      const part = await nextPart(set)
      part.agree({ storable: false })
      await part.give(BODY)
      if (ends) part.end()
      assert.deepEqual(await reading, BODY)
      assert.equal((await set.fill.head).lasting, false)
      await assertOver(set, false)
    }
  })

  test('a manifest whose blocks are not those of its shard: an error, and nothing is stored', async t => {
    const other = bytesOf('another body', SIZE)
    for (const start of [0, 1_000]) {
      const set = await setUp(t, { start, hashes: hashesOf(other, BLOCK), onPart: part => { void part.deliver(other) } })
      const leave = joined(set)
      await assert.rejects(set.fill.complete(), { code: 'RELAY_ERR_UPSTREAM_CORRUPT' })
      assert.equal(set.fill.verified, false)
      assert.equal(set.fill.wrong, true, 'as a whole it may be right')
      leave()
      await assertOver(set, false)
      assert.deepEqual(set.told, ['contradicted', 'closed'])
    }
  })

  test('what is rebuilt is brought in as far as somebody waits for it, then what others want, and what came is kept', async t => {
    const set = await setUp(t, { start: 510, end: 730, onPart: rebuild })
    const leave = joined(set)
    assert.deepEqual(await follow(set, 510, 730), BODY.subarray(510, 730))
    assert.deepEqual(set.parts.asked.map(({ part: { from }, state }) => [from, state.soon?.()]), [[500, 800]])
    assert.equal((await set.fill.head).repaired, true)
    assert.deepEqual(await follow(set, 790, 1_010), BODY.subarray(790, 1_010))
    assert.deepEqual(set.parts.asked.map(({ part: { from }, state }) => [from, state.soon?.()]).slice(1), [[800, 1_100]])
    leave()
    await set.fill.finished
    assert.equal(set.parts.asked.length, 2, 'nobody waited for the rest')
    const [record = ''] = (await readdir(join(set.root, 'partial'))).filter(name => name.endsWith('.json'))
    const { blocks } = JSON.parse(await readFile(join(set.root, 'partial', record), 'utf8')) as { blocks: string }
    const kept = new BlockSet(20, Buffer.from(blocks, 'base64'))
    assert.deepEqual(Array.from({ length: 20 }, (_, block) => block).filter(block => kept.has(block)), [5, 6, 7, 8, 9, 10], 'what came is kept, also what the disk had not taken yet')
    await assertOver(set, false)
  })

  test('whoever wants all of what is rebuilt gets all of it', async t => {
    const set = await setUp(t, { start: 510, end: 730, onPart: rebuild })
    const leave = joined(set)
    await set.fill.complete()
    leave()
    assert.deepEqual(set.parts.asked.map(({ part: { from }, state }) => [from, state.soon?.()]), [[500, 800], [0, 500], [800, SIZE]])
    await assertOver(set, true)
  })

  test('a fill for a part asks for no more, and for what is further on when somebody comes for it', async t => {
    const set = await setUp(t, { start: 510, end: 730, completes: false, onPart: part => { void part.deliver(BODY) } })
    const leave = joined(set)
    assert.deepEqual(await follow(set, 510, 730), BODY.subarray(510, 730))
    assert.deepEqual(set.parts.spans(BLOCK), [[5, 8]])
    assert.deepEqual(await follow(set, 100, 120), BODY.subarray(100, 120))
    assert.deepEqual(set.parts.spans(BLOCK), [[5, 8], [1, 2]])
    leave()
    await assertOver(set, false)
  })

  test('tells when no node is waited for, and never fails to', async t => {
    const gate = deferred<undefined>()
    const set = await setUp(t, { gate: gate.promise })
    let answered = false
    const answer = set.fill.answer().finally(() => { answered = true })
    assert.equal(set.fill.answered, false)
    set.parts.onPart = part => { part.state.asked.add({} as never) }
    gate.resolve(undefined)
    const part = await nextPart(set)
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.deepEqual([answered, set.fill.answered, set.fill.asked.size], [false, false, 1])
    part.state.asked.clear()
    part.agree()
    await answer
    assert.equal(set.fill.answered, true)
    await part.give(BODY)
    part.end()
    await assertOver(set, true)

    const failing = await setUp(t)
    failing.parts.onPart = one => { one.state.asked.add({} as never) }
    const failed = failing.fill.answer()
    ;(await nextPart(failing)).refuse(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    await failed
    await assertOver(failing, false)
  })

  test('a request knows whether anybody waits', async t => {
    const set = await setUp(t)
    const part = await nextPart(set)
    assert.equal(part.wanted(), false)
    const leave = joined(set)
    assert.equal(part.wanted(), true)
    assert.equal(set.fill.readers, 1)
    leave()
    leave()
    assert.equal(part.wanted(), false)
    await part.deliver(BODY)
    await assertOver(set, true)
  })

  test('in the file are rows of blocks, from wherever somebody begins; waiting for one asks for it', async t => {
    const set = await setUp(t)
    const { fill } = set
    const leave = joined(set)
    assert.equal(fill.readableInFile(1_234), 1_234)
    const first = await nextPart(set)
    first.agree()
    await set.fill.head
    const more = fill.moreInFile(1_350, 1_234, SIZE)
    const second = await nextPart(set, 2)
    assert.deepEqual(set.parts.spans(BLOCK), [[0, 20], [12, 20]])
    second.agree()
    await second.give(BODY, 200)
    await more
    assert.equal(fill.readableInFile(1_234), 1_400)
    assert.equal(fill.readableInFile(0), 0)
    assert.equal(fill.path?.startsWith(join(set.root, 'tmp')), true)
    assert.equal(fill.whole, false)
    await second.send(BODY.subarray(1_400))
    second.end()
    await first.give(BODY, 1_200)
    await fill.complete()
    await fill.finished
    assert.deepEqual([fill.whole, fill.readableInFile(0), fill.readableInFile(1_949)], [true, SIZE, SIZE])
    assert.equal(fill.path?.startsWith(join(set.root, 'tmp')), false)
    await fill.moreInFile(SIZE - 1, 0, SIZE)
    leave()
    await assertOver(set, true)
  })

  test('readers that leave, also in the middle of a read, do not end it, and take no file from under the read', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    const part = await nextPart(set)
    part.agree()
    const reads = Array.from({ length: 8 }, async (_, n) => await set.fill.read(2 * n * BLOCK, BLOCK))
    leave()
    for (let turn = 0; turn < 3; turn++) await nextTurn()
    for (const other of set.parts.asked.slice(1)) void other.deliver(BODY)
    set.parts.onPart = other => { void other.deliver(BODY) }
    await part.give(BODY, Infinity, 60)
    part.end()
    for (const [n, bytes] of (await Promise.all(reads)).entries()) assert.ok(bytes.length > 0 && Buffer.from(bytes).equals(BODY.subarray(2 * n * BLOCK, 2 * n * BLOCK + bytes.length)))
    await assertOver(set, true)
  })

  test('a late reader keeps the bytes of an object that was not stored', async t => {
    const set = await setUp(t)
    const leave = joined(set)
    set.fill.forbidStore()
    await (await nextPart(set)).deliver(BODY)
    await set.fill.finished
    assert.deepEqual(set.told, ['verified'])
    assert.deepEqual(await follow(set, 150, 1_333, 90), BODY.subarray(150, 1_333))
    leave()
    await assertOver(set, false)
  })

  test('a disk that refuses costs the store and not the readers: what it lost is asked for again once there is memory', async t => {
    for (const passThroughBytes of [10_000, SIZE]) {
      const set = await setUp(t, { passThroughBytes })
      const { faulty, store, abort, parts } = set
      const taken = passThroughBytes === SIZE ? await store.passThrough.acquire(SIZE, abort.signal) : undefined
      faulty.decide = operation => operation === 'write' ? 'EIO' : undefined
      const readers = [follow(set), follow(set, 1_000)]
      parts.onPart = part => { void part.deliver(BODY) }
      void (await nextPart(set)).deliver(BODY)
      if (taken !== undefined) {
        await until(() => store.passThrough.waiting > 0)
        taken.release()
      }
      assert.deepEqual(await Promise.all(readers), [BODY, BODY.subarray(1_000)])
      await assertOver(set, false)
      assert.deepEqual(set.observer.bypassed, ['disk-error'])
    }
  })

  test('a disk that refuses the last block, when nothing is left to bring in, does not leave its reader waiting', async t => {
    for (const memoryComes of [true, false]) {
      const body = BODY.subarray(0, 3 * BLOCK)
      const set = await setUp(t, { body, passThroughBytes: body.length })
      const { faulty, store, abort, parts } = set
      const taken = await store.passThrough.acquire(body.length, abort.signal)
      const gate = deferred<string>()
      let writes = 0
      faulty.decide = async operation => operation === 'write' && ++writes === 3 ? await gate.promise : undefined
      const leave = joined(set)
      void (await nextPart(set)).deliver(body)
      await set.fill.complete()
      parts.onPart = part => {
        if (memoryComes) taken?.release()
        if (memoryComes) void part.deliver(body)
        else part.refuse(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
      }
      gate.resolve('EIO')
      await until(() => set.observer.bypassed.length > 0 && store.passThrough.waiting === 0)
      for (let turn = 0; turn < 5; turn++) await nextTurn()
      const reading = set.fill.read(2 * BLOCK, BLOCK)
      if (memoryComes) assert.deepEqual(Buffer.from(await reading), body.subarray(2 * BLOCK))
      else await assert.rejects(reading, { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
      leave()
      taken?.release()
      await assertOver(set, false)
    }
  })
})

type Fate = 'well' | 'wrong' | 'short' | 'breaks' | 'refuses' | 'long'

/** Answers a part, in pieces at its own pace. */
async function play (part: ScriptedPart, body: Buffer, fate: Fate, random: () => number, chunk: number): Promise<void> {
  const pause = async (): Promise<void> => { for (let turn = Math.floor(random() * 3); turn > 0; turn--) await nextTurn() }
  const { from, to } = part.part
  await pause()
  if (fate === 'refuses') {
    part.refuse(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    return
  }
  part.agree()
  const bytes = Buffer.concat([body.subarray(from, to), fate === 'long' ? Buffer.alloc(1 + Math.floor(random() * 3 * chunk)) : Buffer.of()])
  const at = Math.floor(random() * (to - from))
  if (fate === 'wrong') bytes[at] = (bytes[at] ?? 0) ^ 0x55
  const end = fate === 'short' || fate === 'breaks' ? at : bytes.length
  for (let sent = 0; sent < end && !part.body.destroyed;) {
    const piece = bytes.subarray(sent, Math.min(end, sent + 1 + Math.floor(random() * chunk)))
    await part.send(piece)
    sent += piece.length
    await pause()
  }
  if (fate === 'breaks') part.breakOff()
  else part.end()
}

test('any readers, chunks, nodes, disk and memory: no wrong byte, every reader ends, and exactly a whole and right object is stored', async t => {
  const plan = fc.record({
    size: fc.integer({ min: 1, max: 600 }),
    blockSize: fc.integer({ min: 1, max: 80 }),
    seed: fc.integer(),
    start: fc.double({ min: 0, max: 0.999, noNaN: true }),
    chunk: fc.integer({ min: 1, max: 200 }),
    readers: fc.array(fc.record({
      from: fc.double({ min: 0, max: 0.999, noNaN: true }), share: fc.double({ min: 0, max: 1, noNaN: true }), step: fc.integer({ min: 1, max: 150 }), joinAt: fc.nat(20), pause: fc.nat(2), reads: fc.option(fc.nat(5)), inFile: fc.boolean()
    }), { maxLength: 6 }),
    fates: fc.array(fc.constantFrom<Fate>('well', 'well', 'well', 'wrong', 'wrong', 'short', 'breaks', 'refuses', 'long'), { maxLength: 8 }),
    diskFailsAt: fc.option(fc.nat(8)),
    memory: fc.boolean(),
    forbidden: fc.boolean(),
    mayComplete: fc.boolean(),
    abortAt: fc.option(fc.nat(60), { freq: 6 })
  })
  const ends = { well: 0, failed: 0, stored: 0 }
  await fc.assert(fc.asyncProperty(plan, async ({ size, blockSize, seed, start, chunk, readers, fates, diskFailsAt, memory, forbidden, mayComplete, abortAt }) => {
    const random = seededRandom(seed)
    const body = bytesOf(`fill ${seed}`, size)
    let asked = 0
    const set = await setUp(t, {
      body,
      blockSize,
      start: Math.floor(start * size),
      mayComplete: () => mayComplete,
      passThroughBytes: memory ? 10_000 : size - 1,
      onPart: part => { void play(part, body, fates[asked++] ?? 'well', random, chunk) }
    })
    const { fill, faulty, abort, store } = set
    let writes = 0
    faulty.decide = operation => operation === 'write' && diskFailsAt !== null && writes++ >= diskFailsAt ? 'EIO' : undefined
    if (forbidden) fill.forbidStore()
    const outcomes = readers.map(async ({ from, share, step, joinAt, pause, reads, inFile }) => {
      for (let turn = 0; turn < joinAt; turn++) await nextTurn()
      const leave = fill.join()
      if (leave === undefined) return
      try {
        await fill.head
        const first = Math.floor(from * size)
        const end = first + Math.max(1, Math.floor(share * (size - first)))
        for (let at = first, left = reads ?? Infinity; at < end && left > 0; left--) {
          if (inFile) {
            await fill.moreInFile(at, first, SIZE)
            assert.ok(fill.readableInFile(first) > at)
          }
          const piece = await fill.read(at, Math.min(step, end - at))
          assert.ok(piece.length > 0 && piece.length <= Math.min(step, end - at))
          assert.ok(body.subarray(at, at + piece.length).equals(piece), 'every byte is the right one')
          at += piece.length
          for (let turn = 0; turn < pause; turn++) await nextTurn()
        }
        if (reads === null && first === 0 && end === size) await fill.complete()
      } catch (error) {
        if (!(error instanceof RelayError)) throw error
        assert.ok(fates.some(fate => fate !== 'well' && fate !== 'long') || abortAt !== null || !mayComplete || (diskFailsAt !== null && !memory), `no reader fails without a reason: ${error.message}`)
      } finally {
        leave()
      }
    })
    if (abortAt !== null) {
      for (let turn = 0; turn < abortAt; turn++) await nextTurn()
      abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping'))
    }
    await Promise.all(outcomes)
    await fill.finished
    const diskFailed = diskFailsAt !== null && writes > diskFailsAt
    const stored = fill.verified && !forbidden && !diskFailed
    await assertOver(set, stored)
    if (stored) assert.equal(store.peek(keyId(KEY))?.sha256, sha256(body))
    const harmless = fates.slice(0, asked).every(fate => fate === 'well' || fate === 'long') && abortAt === null && mayComplete && (memory || !diskFailed)
    if (harmless) assert.ok(fill.verified, 'without a reason it does not fail')
    const wrongSent = fates.slice(0, asked).filter(fate => fate === 'wrong' || fate === 'long').length
    assert.ok(set.blamed.length <= wrongSent, 'nobody is blamed who sent the right bytes')
    ends[fill.verified ? 'well' : 'failed']++
    if (stored) ends.stored++
  }), { numRuns: 80 })
  assert.ok(ends.failed > 0 && ends.stored > 0 && ends.well > ends.stored, `each end is seen: ${JSON.stringify(ends)}`)
})
