import assert from 'node:assert/strict'
import { test, suite } from 'node:test'
import { RelayError } from '../../../../src/base/errors.ts'
import type { OpenShard } from '../../../../src/plugins/shards/open-shard.ts'
import { ChunkMemory } from '../../../../src/plugins/viewer-http/chunk-memory.ts'
import { ChunkSize } from '../../../../src/plugins/viewer-http/chunk-size.ts'
import { IdlePause } from '../../../../src/plugins/viewer-http/idle-pause.ts'
import { ShardStream, type ResponsePace } from '../../../../src/plugins/viewer-http/shard-stream.ts'
import { openShardOf } from '../../../fakes/open-shard.ts'

const BODY = Buffer.from(Array.from({ length: 1_000 }, (_, index) => index % 251))
const turn = async (): Promise<void> => { await new Promise(resolve => { setImmediate(resolve) }) }

function shardOf () {
  const seen = { reads: [] as [number, number][], released: 0, short: 0 }
  const shard = openShardOf(BODY, {
    read: async (position, length) => {
      assert.equal(seen.released, 0, 'never after the object was released')
      seen.reads.push([position, length])
      return BODY.subarray(position, position + length - seen.short)
    },
    release: () => { seen.released++ }
  })
  return { shard, seen }
}

/** Admits when the test says so. */
function paceOf () {
  const waiting: { wanted: number, grant: (bytes: number) => void, refuse: (error: Error) => void }[] = []
  const state = { limited: true, returned: 0, most: 300 }
  const pace: ResponsePace = {
    get limited () { return state.limited },
    readBytes: most => Math.min(most, state.most),
    take: (wanted, signal) => new Promise((resolve, reject) => {
      const one = { wanted, grant: resolve, refuse: reject }
      waiting.push(one)
      signal.addEventListener('abort', () => {
        if (waiting.includes(one)) waiting.splice(waiting.indexOf(one), 1)
        reject(new Error('aborted'))
      })
    }),
    giveBack: bytes => { state.returned += bytes }
  }
  return { pace, waiting, state, next: () => waiting.shift() ?? assert.fail('nobody waits') }
}

function streamOf (shard: OpenShard, pace: ResponsePace) {
  const chunks: Buffer[] = []
  const waits: boolean[] = []
  const stream = new ShardStream(shard, { start: 0, end: BODY.length }, { chunkSize: new ChunkSize(400), memory: new ChunkMemory(), pace, onChunk: () => {}, onWait: now => { waits.push(now) } })
  const ended = new Promise<Error | undefined>(resolve => {
    stream.on('data', (chunk: Buffer) => { chunks.push(chunk) }).on('end', () => { resolve(undefined) }).on('error', resolve)
  })
  return { stream, chunks, waits, ended }
}

suite('a paced response', () => {
  test('reads what is admitted and no more, gives back what a read did not bring, and tells when it waits', async () => {
    const { shard, seen } = shardOf()
    const { pace, state, next } = paceOf()
    const { chunks, waits, ended } = streamOf(shard, pace)
    await turn()
    assert.deepEqual([seen.reads, waits], [[], [true]])
    next().grant(200)
    await turn()
    assert.deepEqual([seen.reads, waits], [[[0, 200]], [true, false, true]])
    seen.short = 50
    next().grant(300)
    await turn()
    assert.equal(state.returned, 50)
    seen.short = 0
    // The budget is lifted: what is left goes in chunks, after the wait that is under way.
    state.limited = false
    next().grant(300)
    assert.equal(await ended, undefined)
    assert.deepEqual(seen.reads, [[0, 200], [200, 300], [450, 300], [750, 250]])
    assert.ok(Buffer.concat(chunks).equals(BODY))
    await turn()
    assert.equal(seen.released, 1)
  })

  test('that is abandoned leaves no waiter; bytes that were granted meanwhile go back', async () => {
    const first = paceOf()
    const { shard, seen } = shardOf()
    const one = streamOf(shard, first.pace)
    await turn()
    one.stream.destroy()
    await turn()
    assert.deepEqual([first.waiting.length, seen.released, seen.reads], [0, 1, []])
    const second = paceOf()
    const other = shardOf()
    const two = streamOf(other.shard, second.pace)
    await turn()
    second.next().grant(300)
    two.stream.destroy()
    await turn()
    assert.deepEqual([second.state.returned, other.seen.released, other.seen.reads], [300, 1, []])
  })

  test('that is refused breaks, with the error', async () => {
    const { shard, seen } = shardOf()
    const { pace, next } = paceOf()
    const { ended, waits } = streamOf(shard, pace)
    await turn()
    next().refuse(new RelayError('RELAY_ERR_RATE_LIMITED', 'too many wait'))
    assert.match(String(await ended), /too many wait/)
    assert.deepEqual([seen.released, waits], [1, [true, false]])
  })

  test('asks nobody while nothing is limited', async () => {
    const { shard, seen } = shardOf()
    const { pace, state } = paceOf()
    state.limited = false
    pace.take = () => assert.fail('not asked')
    assert.equal(await streamOf(shard, pace).ended, undefined)
    assert.deepEqual(seen.reads, [[0, 400], [400, 400], [800, 200]])
  })
})

test('a connection is not silent while any of its responses waits for bandwidth', () => {
  const set: number[] = []
  const connection = { setTimeout: (ms: number) => { set.push(ms) } }
  const pause = new IdlePause(60_000)
  pause.note(connection, true)
  pause.note(connection, true)
  pause.note(connection, false)
  assert.deepEqual(set, [0])
  pause.note(connection, false)
  pause.note(connection, true)
  assert.deepEqual(set, [0, 60_000, 0])
  pause.note({ setTimeout: ms => { set.push(-ms) } }, true)
  assert.equal(set.length, 4)
})
