import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { BlockSet } from '../../../../src/plugins/shard-cache/block-set.ts'
import { BlockSpool } from '../../../../src/plugins/shard-cache/block-spool.ts'
import { MemoryBudget } from '../../../../src/plugins/shard-cache/memory-budget.ts'
import { WindowBudget } from '../../../../src/plugins/shard-cache/write-window.ts'
import { MeasuredDisk, systemFiles } from '../../../../src/storage/disk-files.ts'
import { seededRandom } from '../../../../demo/super-node/faults.ts'
import { MemoryFile } from '../../../fakes/memory-file.ts'
import { bytesOf, recordingObserver, until } from '../../../support/cache.ts'

/** Blocks of one object in memory at most, beside those of a disk that refused: the bound that the spool promises. */
const MOST_HELD = 6
const SIZE = 950
const BLOCK = 100
const BODY = bytesOf('blocks', SIZE)

interface Setup {
  readonly spool: BlockSpool
  readonly file: MemoryFile
  readonly memory: MemoryBudget
  readonly windows: WindowBudget
  readonly signal: AbortSignal
  readonly abort: AbortController
  /** What the spool told: `disk`, `closed`, `room`. */
  readonly told: string[]
}

interface Shape {
  readonly size?: number
  readonly blockSize?: number
  readonly memoryBytes?: number
  readonly windowBytes?: number
  readonly stored?: boolean
  readonly claimed?: BlockSet
  readonly makesRoom?: boolean
}

function setUp ({ size = SIZE, blockSize = BLOCK, memoryBytes = 10_000, windowBytes = 10_000, stored = true, claimed, makesRoom = false }: Shape = {}): Setup {
  const file = new MemoryFile(size)
  const memory = new MemoryBudget(memoryBytes)
  const windows = new WindowBudget(windowBytes)
  const abort = new AbortController()
  const told: string[] = []
  const spool = new BlockSpool({
    size,
    blockSize,
    disk: new MeasuredDisk(systemFiles, recordingObserver(), () => 0),
    memory,
    windows,
    file: stored ? { handle: file, path: '/spool' } : undefined,
    claimed,
    makeRoom: async () => { told.push('room'); return makesRoom },
    onDiskError: () => { told.push('disk') },
    onClosed: async () => { told.push('closed') }
  })
  return { spool, file, memory, windows, told, abort, signal: abort.signal }
}

/** A block in two pieces, as it may come. */
function piecesOf (body: Buffer, block: number, blockSize: number): Uint8Array[] {
  const bytes = body.subarray(block * blockSize, (block + 1) * blockSize)
  const middle = Math.floor(bytes.length / 2)
  return [bytes.subarray(0, middle), bytes.subarray(middle)].filter(({ length }) => length > 0)
}

async function put ({ spool, signal }: Setup, block: number, body = BODY): Promise<void> {
  await spool.put(block, piecesOf(body, block, spool.blockSize), await spool.place(signal), signal)
}

/** Waits for the disk. The time that a spool gives memory to come free keeps no process alive. */
async function flush (spool: BlockSpool): Promise<void> {
  let flushed = false
  const flushing = spool.flush().finally(() => { flushed = true })
  await until(() => flushed)
  await flushing
}

/** All that can be read of a block. */
async function blockOf (spool: BlockSpool, block: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  const end = block * spool.blockSize + spool.bytesOf(block)
  for (let at = block * spool.blockSize; at < end;) {
    const bytes = await spool.read(at, end - at)
    assert.ok(bytes.length > 0 && bytes.length <= end - at)
    pieces.push(bytes)
    at += bytes.length
  }
  return Buffer.concat(pieces)
}

async function assertAllRight (spool: BlockSpool, body = BODY): Promise<void> {
  for (let block = 0; block < spool.here.size; block++) {
    if (spool.here.has(block)) assert.deepEqual(await blockOf(spool, block), body.subarray(block * spool.blockSize, (block + 1) * spool.blockSize))
  }
}

async function assertClosed ({ spool, file, memory, windows, told }: Setup, stored = true): Promise<void> {
  await spool.close()
  assert.equal(file.closed, stored ? 1 : 0)
  assert.equal(told.filter(event => event === 'closed').length, 1)
  assert.equal(memory.usedBytes, 0)
  assert.equal(memory.waiting, 0)
  assert.equal(windows.taken, 0)
  assert.equal(spool.heldBytes, 0)
}

suite('a block spool', () => {
  test('has blocks of one size, the last one short', () => {
    const { spool } = setUp()
    assert.deepEqual([spool.length, spool.here.size, spool.bytesOf(0), spool.bytesOf(9)], [SIZE, 10, BLOCK, 50])
  })

  test('can be read in a block as soon as that is put, and tells how far it goes on, in memory and in its file', async () => {
    const set = setUp()
    const { spool, file } = set
    const gate = deferred<undefined>()
    file.decide = async () => await gate.promise
    for (const block of [4, 3, 9]) await put(set, block)
    assert.deepEqual([0, 299, 300, 450, 500, 900, 949].map(at => spool.readableFrom(at, false)), [0, 299, 500, 500, 500, 950, 950])
    assert.deepEqual([300, 450, 900].map(at => spool.readableFrom(at, true)), [300, 450, 900])
    await assertAllRight(spool)
    let watched = 0
    spool.watch(() => { watched++ })
    gate.resolve(undefined)
    await flush(spool)
    assert.equal(watched, 3)
    assert.deepEqual([300, 450, 900].map(at => spool.readableFrom(at, true)), [500, 500, 950])
    await assertAllRight(spool)
    await assertClosed(set)
    assert.deepEqual(file.bytes.subarray(300, 500), BODY.subarray(300, 500))
  })

  test('reads no more than is there: a piece, a row of blocks of the file, or nothing of a block that is not here', async () => {
    const set = setUp({ windowBytes: 0 })
    const { spool } = set
    for (const block of [0, 1, 5]) await put(set, block)
    await flush(spool)
    // Another place drops the last of them from memory.
    const place = await spool.place(set.signal)
    assert.equal(spool.heldBytes, 0)
    place.giveBack()
    assert.deepEqual(await spool.read(50, 1_000), BODY.subarray(50, 200))
    assert.deepEqual(await spool.read(50, 10), BODY.subarray(50, 60))
    const into = Buffer.alloc(400)
    assert.equal((await spool.read(550, 400, into)).buffer, into.buffer)
    assert.deepEqual(into.subarray(0, 50), BODY.subarray(550, 600))
    assert.equal((await spool.read(200, 10)).length, 0)
    await assertClosed(set)
  })

  test('what is said to be in its file can be read once it is confirmed; a file that is not there has nothing', async () => {
    const claimed = new BlockSet(10)
    for (const block of [2, 3, 5, 7]) claimed.add(block)
    const set = setUp({ claimed })
    BODY.copy(set.file.bytes, 200, 200, 400)
    BODY.copy(set.file.bytes, 700, 700, 800)
    assert.equal(set.spool.here.count, 0)
    assert.equal(set.spool.stored().count, 4)
    for (const block of [2, 3, 5, 7]) {
      const right = Buffer.from(await set.spool.readClaimed(block)).equals(BODY.subarray(block * BLOCK, (block + 1) * BLOCK))
      assert.equal(right, block !== 5)
      set.spool.confirm(block, right)
    }
    assert.equal(set.spool.claimed.count, 0)
    assert.equal(set.spool.here.count, 3)
    assert.equal(set.spool.readableFrom(200, true), 400)
    await assertAllRight(set.spool)
    for (const block of [0, 1, 2, 4, 5, 6, 8, 9]) await put(set, block)
    await flush(set.spool)
    assert.equal(set.spool.here.full && set.spool.stored().full, true)
    assert.equal(set.file.writes, 7, 'what is here already is not written again')
    await assertClosed(set)
    assert.deepEqual(set.file.bytes, BODY)

    const without = setUp({ claimed, stored: false })
    assert.equal(without.spool.claimed.count, 0)
    await assert.rejects(without.spool.readClaimed(2))
    await assertClosed(without, false)
  })

  test('holds so many blocks and no more while its disk is slow; one that is written makes room', async () => {
    const set = setUp()
    const { spool, file, signal } = set
    const gates = Array.from({ length: 10 }, () => deferred<undefined>())
    file.decide = async write => await gates[write]?.promise
    for (let block = 0; block < MOST_HELD; block++) await put(set, block)
    assert.equal(spool.heldBytes, MOST_HELD * BLOCK)
    let placed = false
    const waiting = spool.place(signal).finally(() => { placed = true })
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    assert.equal(placed, false)
    gates[0]?.resolve(undefined)
    const place = await waiting
    assert.equal(spool.heldBytes, (MOST_HELD - 1) * BLOCK)
    for (const gate of gates) gate.resolve(undefined)
    place.giveBack()
    place.giveBack()
    await flush(spool)
    await assertClosed(set)
  })

  test('goes on one block at a time when others have used up the budget, and waits no longer than its signal', async () => {
    const set = setUp({ windowBytes: BLOCK - 1 })
    const { spool, signal, abort } = set
    const first = await spool.place(signal)
    const waiting = spool.place(signal)
    first.giveBack()
    const second = await waiting
    const aborted = assert.rejects(spool.place(signal), { code: 'RELAY_ERR_STOPPING' })
    abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping'))
    await aborted
    await assert.rejects(spool.place(signal), { code: 'RELAY_ERR_STOPPING' })
    second.giveBack()
    await assertClosed(set)
  })

  test('gives back the place of a block that is here already, or comes after the end', async () => {
    const set = setUp({ windowBytes: 5 * BLOCK })
    const { spool, windows, signal } = set
    await put(set, 1)
    await flush(spool)
    const again = await spool.place(signal)
    await spool.put(1, [Buffer.alloc(BLOCK)], again, signal)
    assert.deepEqual(await blockOf(spool, 1), BODY.subarray(100, 200))
    assert.equal(windows.taken, BLOCK)
    const late = await spool.place(signal)
    await assertClosedButFor(set, BLOCK)
    await spool.put(2, piecesOf(BODY, 2, BLOCK), late, signal)
    assert.equal(windows.taken, 0)
  })

  test('a disk that refuses costs the file and not the readers where memory is free', async () => {
    const set = setUp()
    const { spool, file, told } = set
    file.decide = write => write >= 2 ? 'EIO' : undefined
    for (let block = 0; block < 10; block++) await put(set, block)
    await flush(spool)
    assert.equal(spool.storable, undefined)
    assert.equal(spool.here.full, true)
    assert.equal(spool.readableFrom(0, true), SIZE, 'without a file nothing need be in it')
    await assertAllRight(spool)
    assert.deepEqual(told, ['room', 'disk'])
    assert.equal(set.memory.usedBytes, SIZE)
    await assertClosed(set)
  })

  test('a disk that is full is tried again while room is made, and not for ever', async () => {
    for (const refusals of [3, 4]) {
      const set = setUp({ makesRoom: true })
      set.file.decide = write => write < refusals ? 'ENOSPC' : undefined
      await put(set, 5)
      await flush(set.spool)
      assert.deepEqual(set.told, refusals === 3 ? ['room', 'room', 'room'] : ['room', 'room', 'room', 'disk'])
      assert.equal(set.spool.storable !== undefined, refusals === 3)
      await assertAllRight(set.spool)
      await assertClosed(set)
    }
  })

  test('without memory what the disk refused is not here any more, and what comes is refused', async () => {
    const set = setUp({ memoryBytes: SIZE - 1 })
    const { spool, file } = set
    file.decide = write => write >= 1 ? 'EIO' : undefined
    for (const block of [0, 1, 2]) await put(set, block)
    await flush(spool)
    assert.deepEqual([0, 1, 2].map(block => spool.here.has(block)), [true, false, false])
    assert.equal((await spool.read(BLOCK, 10)).length, 0)
    await assert.rejects(put(set, 3), { code: 'RELAY_ERR_FILLS_BUSY' })
    assert.equal(set.windows.taken, 0)
    await assertAllRight(spool)
    await assertClosed(set)
  })

  test('what the disk refused is not read from the memory that others of the object got since', async () => {
    const set = setUp({ memoryBytes: SIZE })
    const { spool, file, memory, signal } = set
    const other = await memory.acquire(SIZE, signal)
    file.decide = () => 'EIO'
    await put(set, 4)
    await flush(spool)
    assert.equal(spool.here.has(4), false)
    other?.release()
    await put(set, 5)
    assert.deepEqual(await blockOf(spool, 5), BODY.subarray(500, 600))
    assert.equal((await spool.read(400, 10)).length, 0)
    await assertClosed(set)
  })

  test('several blocks that wait for memory claim it once', async () => {
    const set = setUp({ stored: false, memoryBytes: SIZE })
    const { spool, memory, signal } = set
    const other = await memory.acquire(SIZE, signal)
    const puts = [0, 1, 2].map(async block => { await put(set, block) })
    for (let turn = 0; turn < 3; turn++) await nextTurn()
    other?.release()
    await Promise.all(puts)
    assert.equal(spool.here.count, 3)
    assert.equal(memory.usedBytes, SIZE)
    await assertAllRight(spool)
    await assertClosed(set, false)
  })

  test('one that is closed while the disk refuses a block closes its file all the same', async () => {
    const set = setUp()
    const gate = deferred<string>()
    set.file.decide = async () => await gate.promise
    await put(set, 0)
    const closed = assertClosed(set)
    gate.resolve('EIO')
    await closed
    assert.deepEqual(set.told, ['room', 'disk', 'closed'])
  })
})

async function assertClosedButFor ({ spool, windows }: Setup, taken: number): Promise<void> {
  await spool.close()
  assert.equal(windows.taken, taken)
}

test('any order of blocks, readers, writers, disk and memory: no wrong byte, what is said to be here is, memory is bounded, and all is given back', async () => {
  const plan = fc.record({
    size: fc.integer({ min: 1, max: 400 }),
    blockSize: fc.integer({ min: 1, max: 60 }),
    seed: fc.integer(),
    writers: fc.integer({ min: 1, max: 4 }),
    readers: fc.nat(3),
    stored: fc.boolean(),
    windowBlocks: fc.nat(8),
    memory: fc.constantFrom('none' as const, 'one' as const, 'late' as const, 'much' as const),
    failsAt: fc.option(fc.nat(12)),
    lasts: fc.integer({ min: 1, max: 4 }),
    makesRoom: fc.boolean(),
    cutTo: fc.option(fc.integer({ min: 1, max: 40 })),
    abortAfter: fc.option(fc.nat(20), { freq: 6 })
  })
  await fc.assert(fc.asyncProperty(plan, async ({ size, blockSize, seed, writers, readers, stored, windowBlocks, memory, failsAt, lasts, makesRoom, cutTo, abortAfter }) => {
    const random = seededRandom(seed)
    const body = bytesOf(`spool ${seed}`, size)
    const memoryBytes = memory === 'none' ? size - 1 : memory === 'much' ? 10 * size : size
    const set = setUp({ size, blockSize, stored, windowBytes: windowBlocks * blockSize, memoryBytes, makesRoom })
    const { spool, file, windows, signal, abort } = set
    file.turns = () => Math.floor(random() * 3)
    file.decide = write => failsAt !== null && write >= failsAt && write < failsAt + lasts ? 'ENOSPC' : cutTo ?? undefined
    const other = memory === 'late' ? await set.memory.acquire(size, signal) : undefined
    const blocks = spool.here.size
    // Some come twice.
    const order = Array.from({ length: blocks }, (_, block) => [block, ...random() < 0.2 ? [block] : []]).flat().map(block => ({ block, at: random() })).sort((a, b) => a.at - b.at)
    const check = (): void => {
      assert.ok(spool.heldBytes <= MOST_HELD * blockSize)
      assert.ok(windows.taken <= Math.min(MOST_HELD, windowBlocks) * blockSize)
      assert.ok(set.memory.usedBytes <= memoryBytes)
    }
    let refused = 0
    let done = 0
    const write = async (): Promise<void> => {
      for (let next = order.shift(); next !== undefined; next = order.shift()) {
        const place = await spool.place(signal).catch(() => undefined)
        if (place === undefined) return
        check()
        for (let turn = Math.floor(random() * 3); turn > 0; turn--) await nextTurn()
        try {
          await spool.put(next.block, piecesOf(body, next.block, blockSize), place, signal)
          if (spool.storable !== undefined) assert.ok(spool.here.has(next.block))
        } catch (error) {
          assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_FILLS_BUSY')
          refused++
        }
        check()
        if (++done === abortAfter) abort.abort(new RelayError('RELAY_ERR_STOPPING', 'stopping'))
        if (done === 3) other?.release()
      }
    }
    let reading = true
    const read = async (): Promise<void> => {
      while (reading) {
        const position = Math.floor(random() * size)
        const length = 1 + Math.floor(random() * 2 * blockSize)
        if (spool.here.has(Math.floor(position / blockSize))) {
          const bytes = await spool.read(position, length)
          assert.ok(bytes.length > 0 && bytes.length <= length, 'what is here can be read')
          assert.ok(body.subarray(position, position + bytes.length).equals(bytes), 'no byte is wrong')
        }
        for (const inFile of [true, false]) {
          const end = spool.readableFrom(position, inFile)
          for (let at = position; at < end; at++) assert.ok(spool.here.has(Math.floor(at / blockSize)))
        }
        check()
        await nextTurn()
      }
    }
    const writing = Promise.all(Array.from({ length: writers }, write)).then(async () => { await flush(spool) }).finally(() => { reading = false })
    const released = (async () => {
      // Those who wait for memory before three blocks were put.
      while (reading) {
        for (let turn = 0; turn < 4; turn++) await nextTurn()
        if (set.memory.waiting > 0) other?.release()
      }
    })()
    await Promise.all([writing, released, ...Array.from({ length: readers }, read)])
    check()
    await assertAllRight(spool, body)
    assert.ok(spool.stored().count <= spool.here.count)
    if (refused === 0 && !signal.aborted && spool.storable !== undefined) assert.ok(spool.here.full && spool.stored().full)
    if (memory === 'much' && !signal.aborted) assert.ok(spool.here.full && refused === 0)
    other?.release()
    await assertClosed(set, stored)
    for (let block = 0; block < blocks; block++) {
      if (spool.stored().has(block)) assert.ok(file.bytes.subarray(block * blockSize, (block + 1) * blockSize).equals(body.subarray(block * blockSize, (block + 1) * blockSize)))
    }
  }), { numRuns: 300 })
})
