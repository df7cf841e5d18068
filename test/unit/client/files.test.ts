/** Files by byte: where bytes are, ranges, repair, windows of memory, aborts; over shards that a fake serves. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { encodeShards } from '../../../demo/super-node/erasure.ts'
import { fileResponse } from '../../../client/src/file-response.ts'
import { locateByte, piecesOf } from '../../../client/src/file-pieces.ts'
import { cidOfUri } from '../../../client/src/icn-uri.ts'
import { fileBytes, fileRig, streamBytes, type FileRig } from '../../support/file-rig.ts'
import { settle, until } from '../../support/viewer-rig.ts'

const fault = (kind: string, more: object = {}): object => ({ name: 'ShardClientError', fault: kind, ...more })

const BLOCK = 65_536
/** Its shards have two blocks and a bit. */
const FILE = fileBytes(1_350_003)
const SHARDS = encodeShards(FILE)
const SHARD_SIZE = SHARDS[0]?.length ?? 0
const rig = (options: Parameters<typeof fileRig>[1] = {}): FileRig => fileRig(FILE, { blockSize: BLOCK, shards: SHARDS, ...options })

/** Sets off what waits in an order of its own. */
function shuffledPauses (seed: number): () => Promise<void> {
  let state = seed
  return async () => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff
    for (let turns = state >> 16 & 7; turns > 0; turns--) await new Promise(resolve => { setImmediate(resolve) })
  }
}

suite('bytes of a file', () => {
  test('byte N is in shard floor(N / shardSize), at N mod shardSize, at every border', () => {
    const { file } = rig()
    const borders = Array.from({ length: 10 }, (_, shard) => [shard * SHARD_SIZE - 1, shard * SHARD_SIZE, shard * SHARD_SIZE + 1]).flat().filter(byte => byte >= 0 && byte < FILE.length)
    for (const byte of [...borders, FILE.length - 1]) {
      const { shard, offset } = file.locate(byte)
      assert.deepEqual([shard, offset], [Math.floor(byte / SHARD_SIZE), byte % SHARD_SIZE])
      assert.equal(SHARDS[shard]?.[offset], FILE[byte])
    }
    for (const byte of [-1, 0.5, FILE.length, Number.NaN]) assert.throws(() => file.locate(byte), fault('range'))
  })

  test('the pieces of a range are it, in order, none over the border of a shard, and all but the first ends of MiB', () => {
    fc.assert(fc.property(fc.nat(30_000_000), fc.nat(30_000_000), fc.nat(3), (size, more, spare) => {
      const shardSize = Math.ceil(size / 10) + spare
      const start = size === 0 ? 0 : more % size
      let at = start
      for (const piece of piecesOf({ size, shardSize }, { start, end: size })) {
        assert.deepEqual(locateByte({ size, shardSize }, at), { shard: piece.shard, offset: piece.start })
        assert.ok(piece.end > piece.start && piece.end <= shardSize)
        at += piece.end - piece.start
        assert.ok(at === size || piece.end === shardSize || piece.end % (piece.start === start % shardSize ? 262_144 : 1_048_576) === 0)
      }
      assert.equal(at, size)
    }), { numRuns: 200 })
  })

  test('every range over every border has the right bytes, and is asked for in whole blocks', async () => {
    const { file, source } = rig()
    for (let shard = 1; shard < 10; shard++) {
      for (const [before, after] of [[0, 1], [1, 0], [1, 1], [BLOCK, BLOCK]] as const) {
        const range = { start: shard * SHARD_SIZE - before, end: shard * SHARD_SIZE + after }
        assert.deepEqual(Buffer.from(await file.bytes({ range })), FILE.subarray(range.start, range.end))
      }
    }
    assert.ok(source.asked.every(({ start, end }) => start % BLOCK === 0 && (end % BLOCK === 0 || end === SHARD_SIZE)))
    assert.deepEqual(await file.bytes({ range: { start: 7, end: 7 } }), new Uint8Array(0))
    assert.equal((await file.bytes({ range: { start: FILE.length - 3, end: FILE.length + 100 } })).length, 3)
    for (const range of [{ start: -1 }, { start: 2, end: 1 }, { start: FILE.length + 1 }, { start: 0.5 }]) await assert.rejects(file.bytes({ range }), fault('range'))
  })

  test('any set of ranges, any four shards missing or wrong, any order of arrival: right bytes', async () => {
    const ranges = fc.array(fc.tuple(fc.nat(FILE.length - 1), fc.nat(FILE.length)), { minLength: 1, maxLength: 6 })
    const bad = fc.uniqueArray(fc.tuple(fc.nat(13), fc.constantFrom('missing', 'wrong', 'gone-later')), { selector: ([index]) => index, maxLength: 4 })
    await fc.assert(fc.asyncProperty(ranges, bad, fc.nat(), fc.constantFrom(BLOCK, undefined), fc.constantFrom(1, 200_000, 8_388_608), async (wanted, faults, seed, blockSize, windowBytes) => {
      const { file, source, ended, store } = fileRig(FILE, { shards: SHARDS, windowBytes, ...blockSize !== undefined && { blockSize } })
      source.pause = shuffledPauses(seed)
      for (const [index, kind] of faults) source.faults.set(index, kind)
      await Promise.all(wanted.map(async ([start, length]) => {
        const range = { start, end: Math.min(FILE.length, start + length) }
        assert.ok((await streamBytes(file.stream({ range }))).equals(FILE.subarray(range.start, range.end)))
      }))
      assert.ok(ended.every(({ outcome, verified, bytes }) => outcome === 'done' && verified === (bytes > 0)))
      await until(() => source.underWay === 0, 'nothing is under way')
      if (blockSize !== undefined) assert.equal(store.size, 0)
    }), { numRuns: 60 })
  })

  test('a fifth shard that is missing is an error that names all of them, and the stream errors with it', async () => {
    const { file, source, ended } = rig()
    for (const index of [0, 3, 5, 11, 13]) source.faults.set(index, 'missing')
    await assert.rejects(file.bytes({ range: { start: 0, end: 10 } }), fault('missing', { message: /^shard 0 is missing, and of the others 4: .*\b13 \(/ }))
    await assert.rejects(streamBytes(file.stream()), fault('missing'))
    await until(() => source.underWay === 0, 'nothing is under way')
    assert.deepEqual([ended.at(-1)?.outcome, source.underWay], ['failed', 0])
    assert.deepEqual(file.lostShards, [0, 3, 5, 11, 13])
  })

  test('a shard that is missing is not asked for with every piece', async () => {
    const { file, source, ended } = rig()
    source.faults.set(2, 'missing')
    for (let at = 0; at < 4; at++) await file.bytes({ range: { start: 2 * SHARD_SIZE + at, end: 2 * SHARD_SIZE + at + 1 } })
    assert.equal(source.asked.filter(({ index }) => index === 2).length, 1)
    assert.deepEqual(ended.map(({ repaired, cache, fetchedBytes }) => [repaired, cache, fetchedBytes]), Array.from({ length: 4 }, () => [[2], 'hit', 10 * BLOCK]))
  })

  test('a relay that is busy, or refuses the viewer, is not asked for ten others instead', async () => {
    const { file, source } = rig()
    const { ShardClientError } = await import('../../../client/src/client-error.ts')
    for (const status of [401, 403, 429, 451, 503]) {
      source.pause = async () => { throw new ShardClientError('status', 'no', { status }) }
      source.asked.length = 0
      await assert.rejects(file.bytes({ range: { start: 0, end: 1 } }), fault('status', { status }))
      assert.equal(source.asked.length, 1)
    }
  })

  test('without block hashes whole shards are fetched and verified, once for several reads; unverified, ranges are fetched as they are', async () => {
    const { file, source, ended } = fileRig(FILE, { shards: SHARDS })
    for (const start of [5, 60_000, 100_000]) await file.bytes({ range: { start, end: start + 10 } })
    assert.deepEqual(source.asked, [{ index: 0, start: 0, end: SHARD_SIZE }])
    assert.deepEqual(ended.map(({ verified, cache, fetchedBytes }) => [verified, cache, fetchedBytes]), [[true, 'hit', SHARD_SIZE], [true, 'memory', 0], [true, 'memory', 0]])
    const plain = fileRig(FILE, { shards: SHARDS, verify: false })
    assert.equal((await plain.file.bytes({ range: { start: 5, end: 15 } })).length, 10)
    assert.deepEqual([plain.source.asked, plain.ended[0]?.verified], [[{ index: 0, start: 5, end: 15 }], false])
  })
})

suite('memory', () => {
  test('no more is fetched ahead than the window, and nothing before somebody reads', async () => {
    const bytes = fileBytes(30_000_000)
    const { file, source } = fileRig(bytes, { blockSize: 262_144, windowBytes: 3_000_000 })
    const reader = file.stream().getReader()
    await settle()
    assert.equal(source.asked.length, 0)
    let given = 0
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      assert.ok(Buffer.from(read.value).equals(bytes.subarray(given, given + read.value.length)))
      given += read.value.length
      await settle()
      const fetched = source.asked.reduce((sum, { start, end }) => sum + end - start, 0)
      // Each read widens its first and last block; the shards are no multiple of a block.
      assert.ok(fetched - given <= 3_000_000 + 262_144, `${fetched - given}`)
    }
    assert.equal(given, bytes.length)
    assert.ok(source.mostBytes <= 3_000_000)
  })

  test('what is fetched ahead is kept within its bounds, and spares the next read the relay', async () => {
    const small = rig({ cacheBytes: 700_000 })
    await small.file.prefetch({ range: { start: 0, end: 150_000 } })
    const asked = small.source.asked.length
    assert.ok(small.store.keptBytes > 150_000 && small.store.keptBytes <= 700_000)
    assert.ok(Buffer.from(await small.file.bytes({ range: { start: 0, end: 150_000 } })).equals(FILE.subarray(0, 150_000)))
    assert.equal(small.source.asked.length, asked)
    assert.equal(small.ended.at(-1)?.cache, 'memory')
    for (let start = 0; start < FILE.length; start += 200_000) {
      await small.file.prefetch({ range: { start, end: Math.min(FILE.length, start + 150_000) } })
      assert.ok(small.store.keptBytes <= 700_000)
    }
    // Who gets them may change them.
    const first = await small.file.bytes({ range: { start: FILE.length - 10 } })
    first.fill(0)
    assert.ok(Buffer.from(await small.file.bytes({ range: { start: FILE.length - 10 } })).equals(FILE.subarray(-10)))
  })

  test('two reads of the same bytes fetch them once, and one that leaves does not take them from the other', async () => {
    const { file, source, store } = rig()
    let open = (): void => {}
    const gate = new Promise<void>(resolve => { open = resolve })
    source.pause = () => gate
    const abort = new AbortController()
    const range = { start: 0, end: 1000 }
    const first = file.bytes({ range, signal: abort.signal, priority: 'background' })
    const second = file.bytes({ range })
    await settle()
    assert.equal(source.asked.length, 1)
    abort.abort(new Error('seek'))
    await assert.rejects(first, { message: 'seek' })
    open()
    assert.ok(Buffer.from(await second).equals(FILE.subarray(0, 1000)))
    assert.equal(store.size, 0)
  })

  test('300 aborts in a row leave nothing', async () => {
    const { file, source, store, ended, life } = rig()
    source.faults.set(4, 'missing')
    source.pause = () => new Promise(() => {})
    for (let turn = 0; turn < 300; turn++) {
      const abort = new AbortController()
      const range = { start: turn * 4000 }
      if (turn % 4 === 0) {
        const reader = file.stream({ range, signal: abort.signal }).getReader()
        const read = reader.read()
        await new Promise(resolve => { setImmediate(resolve) })
        abort.abort(new Error('seek'))
        await assert.rejects(read, { message: 'seek' })
        await assert.rejects(reader.read(), { message: 'seek' })
      } else if (turn % 4 === 1) {
        const reader = file.stream({ range, signal: abort.signal }).getReader()
        reader.read().catch(() => {})
        await reader.cancel()
      } else if (turn % 4 === 2) {
        const all = file.bytes({ range, signal: abort.signal })
        abort.abort(new Error('seek'))
        await assert.rejects(all, { message: 'seek' })
      } else {
        const ahead = file.prefetch({ range, signal: abort.signal })
        await settle()
        abort.abort(new Error('seek'))
        await assert.rejects(ahead, { message: 'seek' })
      }
    }
    await until(() => source.underWay === 0, 'nothing is under way')
    assert.deepEqual([store.size, store.keptBytes, ended.length], [0, 0, 300])
    assert.ok(ended.every(({ outcome }) => outcome === 'aborted'))
    source.pause = async () => {}
    assert.ok(Buffer.from(await file.bytes()).equals(FILE))
    life.abort(new Error('closed'))
    await assert.rejects(file.bytes(), { message: 'closed' })
  })

  test('a stream errors when its signal aborts, also while nobody waits for bytes', async () => {
    const { file, source, store } = rig()
    const abort = new AbortController()
    const reader = file.stream({ signal: abort.signal }).getReader()
    assert.ok((await reader.read()).value !== undefined)
    abort.abort(new Error('left'))
    await assert.rejects(reader.closed, { message: 'left' })
    await until(() => source.underWay === 0 && store.size === 0, 'nothing is under way')
  })
})

suite('fetch', () => {
  const get = async (headers: Record<string, string> = {}, method = 'GET'): Promise<[number, Record<string, string>, Buffer]> => {
    const response = fileResponse(rig().file, { method, headers })
    return [response.status, Object.fromEntries(response.headers), Buffer.from(await response.arrayBuffer())]
  }

  test('answers 200, 206 and 416 as RFC 9110 wants them', async () => {
    const [status, headers, body] = await get()
    assert.deepEqual([status, headers['content-type'], headers['content-length'], headers['accept-ranges']], [200, 'video/mp4', '1350003', 'bytes'])
    assert.ok(body.equals(FILE))
    const etag = headers['etag'] ?? ''
    for (const [range, start, end] of [['bytes=0-0', 0, 1], ['bytes=5-', 5, FILE.length], ['bytes=-7', FILE.length - 7, FILE.length], ['bytes=-99999999', 0, FILE.length], ['bytes=10-99999999', 10, FILE.length]] as const) {
      const [part, fields, bytes] = await get({ range, 'if-range': etag })
      assert.deepEqual([part, fields['content-range'], fields['content-length']], [206, `bytes ${start}-${end - 1}/${FILE.length}`, String(end - start)])
      assert.ok(bytes.equals(FILE.subarray(start, end)))
    }
    for (const range of [`bytes=${FILE.length}-`, 'bytes=-0']) assert.deepEqual((await get({ range })).slice(0, 2), [416, { 'accept-ranges': 'bytes', 'content-length': '0', 'content-range': `bytes */${FILE.length}`, 'content-type': 'video/mp4', etag }])
    for (const range of ['bytes=5-2', 'bytes=0-1,4-5', 'seconds=1-2', 'bytes=-', '']) assert.equal((await get({ range }))[0], 200, range)
    assert.equal((await get({ range: 'bytes=0-1', 'if-range': '"other"' }))[0], 200)
    assert.deepEqual((await get({ range: 'bytes=0-1' }, 'HEAD')).slice(0, 1), [200])
  })

  test('addresses are icn:// and a CID', () => {
    assert.equal(cidOfUri('icn://QmX_-9'), 'QmX_-9')
    assert.equal(cidOfUri('icn://QmX/'), 'QmX')
    for (const uri of ['icn:QmX', 'icn://', 'https://QmX', 'icn://Q m', `icn://${'a'.repeat(129)}`, 'icn://QmX?x']) assert.throws(() => cidOfUri(uri), fault('uri'))
    assert.throws(() => cidOfUri('icn://QmX/a.m3u8'), fault('uri', { message: /one file/ }))
  })
})
