/** Memory of chunks is used again, and never while anybody may still read it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttp1, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2, type Http2Server, type Http2ServerResponse } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { ChunkMemory } from '../../../../src/plugins/viewer-http/chunk-memory.ts'
import { ChunkSize, LARGE_CHUNK_BYTES, LargeChunks } from '../../../../src/plugins/viewer-http/chunk-size.ts'
import { ShardStream } from '../../../../src/plugins/viewer-http/shard-stream.ts'
import { CHUNK_BYTES } from '../../../../src/storage/disk-files.ts'
import { sha256 } from '../../../../tools/harness/http.ts'
import { openShardOf } from '../../../fakes/open-shard.ts'
import { bytesOf } from '../../../support/cache.ts'

test('what was given back is taken again, by size; no more than the bound is kept', () => {
  fc.assert(fc.property(fc.array(fc.record({ take: fc.boolean(), size: fc.constantFrom(10, 20, 35) }), { maxLength: 200 }), steps => {
    const memory = new ChunkMemory(100)
    const held: Buffer[] = []
    for (const { take, size } of steps) {
      if (take) {
        const before = memory.freeBytes
        const buffer = memory.take(size)
        assert.equal(buffer.length, size)
        assert.ok(!held.includes(buffer), 'nobody else has it')
        assert.ok(memory.freeBytes === before || memory.freeBytes === before - size)
        held.push(buffer)
      } else {
        const buffer = held.shift()
        if (buffer === undefined) continue
        const room = memory.freeBytes + buffer.length <= 100
        memory.giveBack(buffer)
        if (room) assert.equal(memory.take(buffer.length), buffer)
        if (room) memory.giveBack(buffer)
      }
      assert.ok(memory.freeBytes <= 100)
    }
  }))
})

const BODIES = [3 * LARGE_CHUNK_BYTES + 17, 2 * CHUNK_BYTES, 1_000_000, 100].map((length, body) => bytesOf(`body ${body}`, length))
const UNLIMITED = { limited: false, readBytes: (most: number) => most, take: (wanted: number) => wanted, giveBack: () => {} }

/** Serves `BODIES` by number, each read like from a file: into the memory it is given. */
function handler (memory: ChunkMemory, used: Set<Buffer>) {
  const large = new LargeChunks()
  return ({ url }: { url?: string | undefined }, response: ServerResponse | Http2ServerResponse): void => {
    const body = BODIES[Number(url?.slice(1))] ?? Buffer.alloc(0)
    const shard = openShardOf(body, {
      read: async (position, length, _end, into) => {
        await nextTurn()
        const bytes = body.subarray(position, position + length)
        if (into === undefined) return bytes
        used.add(into)
        bytes.copy(into)
        return into.subarray(0, bytes.length)
      }
    })
    new ShardStream(shard, { start: 0, end: body.length }, { chunkSize: new ChunkSize(CHUNK_BYTES, large), memory, pace: UNLIMITED, onChunk: () => {}, onWait: () => {} }).pipe(response)
  }
}

async function listen (t: TestContext, server: Server | Http2Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function read (stream: AsyncIterable<Buffer>, late: boolean): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) {
    // Who is late leaves bytes with the sockets of both sides while others are served from the same memory.
    if (late) for (let turn = 0; turn < 20; turn++) await nextTurn()
    chunks.push(chunk)
  }
  return sha256(Buffer.concat(chunks))
}

test('over HTTP/1.1 every body is right, of fast and late readers and beside broken ones, from memory that is used again', { timeout: 240_000 }, async t => {
  const memory = new ChunkMemory()
  const used = new Set<Buffer>()
  const url = await listen(t, createHttp1(handler(memory, used)))
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 8 }, async (_, viewer) => {
      const number = (viewer + round) % BODIES.length
      const [response] = await once(get(`${url}/${number}`, { agent: false }), 'response') as [IncomingMessage]
      if (viewer === 7) {
        await once(response, 'readable')
        response.destroy()
      } else assert.equal(await read(response, viewer % 2 === 1), sha256(BODIES[number] ?? Buffer.alloc(0)))
    }))
  }
  assert.ok(used.size <= 8 * 4, `${used.size} buffers for 80 responses`)
  assert.ok(memory.freeBytes > 0)
})

test('over HTTP/2 every body is right, of fast and late readers on one connection', { timeout: 240_000 }, async t => {
  const memory = new ChunkMemory()
  const used = new Set<Buffer>()
  const session = connectHttp2(await listen(t, createHttp2(handler(memory, used))))
  // `close` waits for streams that nobody reads to their end, in Node 24.22 for ever.
  t.after(() => { session.destroy() })
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 8 }, async (_, viewer) => {
      const number = (viewer + round) % BODIES.length
      const stream = session.request({ ':path': `/${number}` })
      if (viewer === 7) {
        await once(stream, 'readable')
        stream.close()
      } else assert.equal(await read(stream, viewer % 2 === 1), sha256(BODIES[number] ?? Buffer.alloc(0)))
    }))
  }
  assert.ok(used.size <= 8 * 4, `${used.size} buffers for 80 responses`)
})
