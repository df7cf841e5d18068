import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { suite, test, type TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { encodeShards } from '../../../../demo/super-node/erasure.ts'
import { rebuildPieces, type Pieces } from '../../../../src/plugins/repair/erasure-code.ts'
import type { ErasureJob, ErasureResult } from '../../../../src/plugins/repair/erasure-worker.ts'
import { checkRebuild, Erasure, ErasureError, MAX_JOB_BYTES, MAX_JOBS, MAX_PIECE_BYTES, type ErasureOptions, type ErasureThread } from '../../../../src/plugins/repair/erasure.ts'
import { virtualTimers } from '../../../fakes/timers.ts'
import { bytesOf } from '../../../support/cache.ts'

/** A small video of 14 shards of `size` bytes. */
const videoOf = (size: number): Buffer[] => encodeShards(bytesOf('erasure', size * 10))

/** All but some, each in memory of its own. */
const without = (shards: readonly Uint8Array[], missing: readonly number[]): Pieces => shards.map((shard, n) => missing.includes(n) ? undefined : new Uint8Array(shard))

function * fours (): Generator<number[]> {
  for (let a = 0; a < 14; a++) for (let b = a + 1; b < 14; b++) for (let c = b + 1; c < 14; c++) for (let d = c + 1; d < 14; d++) yield [a, b, c, d]
}

function erasureOf (t: TestContext, options: ErasureOptions = {}): Erasure {
  const erasure = new Erasure(options)
  t.after(async () => { await erasure.close() })
  return erasure
}

/** A thread that answers when told to. */
class FakeThread extends EventEmitter implements ErasureThread {
  readonly jobs: ErasureJob[] = []
  terminated = 0
  postMessage (job: ErasureJob): void { this.jobs.push(job) }
  ref (): void {}
  unref (): void {}
  async terminate (): Promise<void> { this.terminated++ }
  answer (): void {
    const job = this.jobs.shift()
    assert.ok(job)
    const result: ErasureResult = { rebuilt: rebuildPieces(job.pieces, job.wanted) }
    this.emit('message', result)
  }
}

function fakes (): { threads: FakeThread[], start: () => FakeThread } {
  const threads: FakeThread[] = []
  const start = (): FakeThread => {
    const thread = new FakeThread()
    threads.push(thread)
    return thread
  }
  return { threads, start }
}

const isCode = (code: string) => (error: unknown): boolean => error instanceof ErasureError && error.code === code

suite('what is rebuilt', () => {
  test('is what the encoder has made, byte for byte, for all 1001 patterns of four lost shards', async t => {
    const shards = videoOf(41)
    const erasure = erasureOf(t)
    let patterns = 0
    for (const missing of fours()) {
      const rebuilt = await erasure.rebuild(without(shards, missing), missing)
      assert.deepEqual(rebuilt.map(bytes => Buffer.from(bytes)), missing.map(n => shards[n]))
      patterns++
    }
    assert.equal(patterns, 1_001)
  })

  test('rows of ten siblings give the same rows of any others, in the order that is asked for, across the seams of stripes', () => {
    const size = 200_000
    const shards = videoOf(size)
    fc.assert(fc.property(fc.shuffledSubarray(Array.from({ length: 14 }, (_, n) => n), { minLength: 1, maxLength: 4 }), fc.nat(size - 1), fc.integer({ min: 1, max: size }), (wanted, start, length) => {
      const end = Math.min(size, start + length)
      const rows = shards.map(shard => shard.subarray(start, end))
      const rebuilt = rebuildPieces(without(rows, wanted), wanted)
      for (const [at, n] of wanted.entries()) assert.ok(rows[n]?.equals(rebuilt[at] ?? new Uint8Array()), `shard ${n}`)
    }), { numRuns: 60 })
  })

  test('pieces that fill their memory are handed over and not copied; parts of something larger stay', async t => {
    const shards = videoOf(1_000)
    const pieces = without(shards, [3])
    const part = new Uint8Array(3_000).subarray(1_000, 2_000)
    part.set(pieces[0] ?? [])
    const [rebuilt] = await erasureOf(t).rebuild([part, ...pieces.slice(1)], [3])
    assert.ok(shards[3]?.equals(rebuilt ?? new Uint8Array()))
    assert.equal(part.length, 1_000)
    assert.deepEqual(pieces.slice(1).map(piece => piece?.length), Array.from({ length: 13 }, (_, n) => n === 2 ? undefined : 0))
  })

  test('two pieces in one memory cannot be handed over, and are an error', async t => {
    const shards = videoOf(100)
    const pieces: (Uint8Array | undefined)[] = [...without(shards, [13])]
    pieces[1] = pieces[0]
    await assert.rejects(erasureOf(t).rebuild(pieces, [13]), isCode('WORKER'))
  })
})

suite('what cannot be rebuilt is named', () => {
  const shards = videoOf(10)
  const cases: [string, Pieces, number[], RegExp][] = [
    ['places', shards.slice(0, 13), [13], /14 places are needed, got 13/],
    ['five missing', without(shards, [0, 1, 2, 3, 4]), [0], /10 pieces are needed, got 9/],
    ['lengths', without(shards, [0]).map((piece, n) => n === 5 ? new Uint8Array(9) : piece), [0], /the piece of shard 5 has 9 bytes, others have 10/],
    ['empty', shards.map((_, n) => n === 0 ? undefined : new Uint8Array(0)), [0], /1 to 1048576 bytes, and not 0/],
    ['long', shards.map((_, n) => n === 0 ? undefined : new Uint8Array(MAX_PIECE_BYTES + 1)), [0], /1 to 1048576 bytes, and not 1048577/],
    ['nothing wanted', without(shards, [0]), [], /must be some, each once/],
    ['twice', without(shards, [0]), [0, 0], /must be some, each once/],
    ['no such shard', without(shards, [0]), [14], /no shard 14/],
    ['no whole number', without(shards, [0]), [0.5], /no shard 0.5/],
    ['given', without(shards, [0]), [0, 1], /shard 1 is wanted, and its piece is given/]
  ]
  for (const [name, pieces, wanted, message] of cases) {
    test(name, async t => {
      assert.throws(() => checkRebuild(pieces, wanted), { code: 'INPUT', message })
      const { threads, start } = fakes()
      await assert.rejects(erasureOf(t, { start }).rebuild(pieces, wanted), { code: 'INPUT', message })
      assert.equal(threads.length, 0)
    })
  }
})

suite('bounds and failures', () => {
  test('jobs and their bytes are bounded, one is under way, and room comes back', async t => {
    const { threads, start } = fakes()
    const erasure = erasureOf(t, { start })
    const shards = videoOf(10)
    const jobs = Array.from({ length: MAX_JOBS }, async () => await erasure.rebuild(without(shards, [0]), [0]))
    assert.deepEqual([erasure.jobs, erasure.bytes, threads.length, threads[0]?.jobs.length], [MAX_JOBS, MAX_JOBS * 140, 1, 1])
    await assert.rejects(erasure.rebuild(without(shards, [0]), [0]), isCode('BUSY'))
    for (let n = 0; n < MAX_JOBS; n++) {
      assert.equal(threads[0]?.jobs.length, 1)
      threads[0]?.answer()
    }
    for (const rebuilt of await Promise.all(jobs)) assert.ok(shards[0]?.equals(rebuilt[0] ?? new Uint8Array()))
    assert.deepEqual([erasure.jobs, erasure.bytes], [0, 0])
    const large = (): Pieces => shards.map((_, n) => n === 0 ? undefined : new Uint8Array(MAX_PIECE_BYTES))
    const fitting = Math.floor(MAX_JOB_BYTES / (14 * MAX_PIECE_BYTES))
    const held = Array.from({ length: fitting }, async () => await erasure.rebuild(large(), [0]).catch((error: unknown) => error))
    await assert.rejects(erasure.rebuild(large(), [0]), isCode('BUSY'))
    assert.ok(erasure.bytes <= MAX_JOB_BYTES && fitting >= 16)
    await erasure.close()
    for (const error of await Promise.all(held)) assert.ok(isCode('CLOSED')(error))
    assert.equal(erasure.bytes, 0)
  })

  test('a thread that hangs is ended, its job fails, and the next job gets another; what it says later counts for nothing', async t => {
    const { threads, start } = fakes()
    const timers = virtualTimers()
    const erasure = erasureOf(t, { start, timers, timeoutMs: 1_000 })
    const shards = videoOf(10)
    const first = erasure.rebuild(without(shards, [0]), [0])
    const second = erasure.rebuild(without(shards, [12]), [12])
    const failed = assert.rejects(first, isCode('TIMEOUT'))
    await timers.pass(1_000)
    await failed
    assert.deepEqual([threads.length, threads[0]?.terminated, threads[1]?.jobs.length], [2, 1, 1])
    threads[0]?.answer()
    threads[0]?.emit('exit', 1)
    assert.equal(erasure.jobs, 1)
    threads[1]?.answer()
    assert.ok(shards[12]?.equals((await second)[0] ?? new Uint8Array()))
    await timers.pass(10_000)
    assert.equal(threads[1]?.terminated, 0)
  })

  test('threads that cannot be started fail their jobs, each once, and nothing goes round in circles', async t => {
    let starts = 0
    const erasure = erasureOf(t, {
      start: () => {
        starts++
        throw new Error('no threads left')
      }
    })
    const shards = videoOf(10)
    await Promise.all([1, 2, 3].map(async () => { await assert.rejects(erasure.rebuild(without(shards, [0]), [0]), isCode('WORKER')) }))
    assert.deepEqual([starts, erasure.jobs, erasure.bytes], [3, 0, 0])
  })

  test('a real thread that crashes: its job fails, the next is done by another', async t => {
    let crashes = 1
    const erasure = erasureOf(t, {
      start: () => {
        const program = crashes-- > 0
          ? 'require("node:worker_threads").parentPort.once("message", () => { throw new Error("crash") })'
          : 'require("node:worker_threads").parentPort.on("message", ({ pieces }) => { require("node:worker_threads").parentPort.postMessage({ rebuilt: [pieces[1]] }) })'
        return new Worker(program, { eval: true, execArgv: [] })
      }
    })
    const shards = videoOf(10)
    await assert.rejects(erasure.rebuild(without(shards, [0]), [0]), (error: unknown) => isCode('WORKER')(error) && error instanceof Error && /crash/.test(String(error.cause)))
    const [bytes] = await erasure.rebuild(without(shards, [0]), [0])
    assert.ok(shards[1]?.equals(bytes ?? new Uint8Array()))
  })

  test('after close nothing is begun, and it may be closed again', async t => {
    const { threads, start } = fakes()
    const erasure = erasureOf(t, { start })
    const shards = videoOf(10)
    const under = assert.rejects(erasure.rebuild(without(shards, [0]), [0]), isCode('CLOSED'))
    await erasure.close()
    await under
    await assert.rejects(erasure.rebuild(without(shards, [0]), [0]), isCode('CLOSED'))
    await erasure.close()
    await nextTurn()
    assert.deepEqual([threads.length, threads[0]?.terminated], [1, 1])
  })
})
