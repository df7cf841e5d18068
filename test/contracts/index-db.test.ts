import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { open } from 'lmdb'
import { openIndexDb } from '../../src/plugins/shard-cache/index-db.ts'
import { decodeRecord, encodeRecord } from '../../src/plugins/shard-cache/record-bytes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { MemoryIndexDb } from '../fakes/index-db.ts'
import { indexDbContract, recordOf } from './index-db.ts'

indexDbContract('lmdb', async t => {
  const directory = await temporaryDirectory(t)
  return { open: () => openIndexDb(join(directory, 'index')) }
})

indexDbContract('memory', async () => {
  const rows = new Map<string, Buffer>()
  return { open: () => new MemoryIndexDb(rows) }
})

const record = fc.record({
  size: fc.maxSafeNat(),
  sha256: fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytes => Buffer.from(bytes).toString('hex')),
  storedAt: fc.double({ min: 0, max: 2 ** 42, noNaN: true }).map(Math.abs),
  lastAccess: fc.double({ min: 0, max: 2 ** 42, noNaN: true }).map(Math.abs),
  hits: fc.maxSafeNat(),
  generation: fc.stringMatching(/^[0-9a-z]{1,24}$/)
}, { noNullPrototype: true })

test('every record survives the codec', () => {
  fc.assert(fc.property(record, value => { assert.deepEqual(decodeRecord(encodeRecord(value)), value) }))
})

test('what was verified is read by versions that do not know of it as half a hit more', () => {
  const verified = { ...recordOf({ hits: 3 }), verified: true }
  assert.deepEqual(decodeRecord(encodeRecord(verified)), verified)
  assert.equal(encodeRecord(verified).length, encodeRecord(recordOf({ hits: 3 })).length)
  assert.equal(encodeRecord(verified).readDoubleBE(25), 3.5)
  // Imported hits need not be whole, and verify nothing.
  assert.equal(decodeRecord(encodeRecord(recordOf({ hits: 3.5 })))?.verified, undefined)
})

test('any bytes are a record or nothing, never an exception', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), bytes => {
    const decoded = decodeRecord(Buffer.from(bytes))
    if (decoded !== undefined) assert.deepEqual(decodeRecord(encodeRecord(decoded)), decoded)
  }))
  fc.assert(fc.property(record, fc.nat(200), fc.integer({ min: 1, max: 255 }), (value, at, flip) => {
    const bytes = encodeRecord(value)
    const position = at % bytes.length
    bytes[position] = (bytes[position] ?? 0) ^ flip
    const decoded = decodeRecord(bytes)
    if (decoded === undefined) return
    assert.ok(Number.isSafeInteger(decoded.size) && decoded.size >= 0 && Number.isFinite(decoded.lastAccess) && /^[0-9a-z]{1,24}$/.test(decoded.generation))
  }))
})

test('what cannot be decoded is skipped and counted, and listing goes on', async t => {
  const directory = join(await temporaryDirectory(t), 'index')
  const good = encodeRecord(recordOf())
  const wrongVersion = Buffer.from(good)
  wrongVersion[0] = 9
  const endless = Buffer.from(good)
  endless.writeDoubleBE(Infinity, 17)
  const raw = open<Buffer, string>({ path: directory, encoding: 'binary', noSubdir: false })
  const rows: [string, Buffer][] = [
    ['a/1', good], ['a/2', Buffer.alloc(0)], ['a/3', good.subarray(0, 65)], ['a/4', wrongVersion], ['a/5', endless], ['a/99', good],
    ['../x/1', good], ['no-key', good], ['b/1', good], ['b/manifest', Buffer.concat([good, Buffer.from('UPPER')])]
  ]
  for (const [id, bytes] of rows) await raw.put(id, bytes)
  await raw.close()
  const db = openIndexDb(directory)
  assert.deepEqual(Array.from(db.load(), ([id]) => id), ['a/1', 'b/1'])
  // The record of another version is told apart from what is damaged.
  assert.deepEqual([db.corrupt, db.foreign], [7, 1])
  assert.deepEqual(['a/1', 'a/3', 'a/4', 'none/1'].map(id => db.unreadable(id)), [false, true, true, false])
  assert.equal(db.ids({ prefix: '', after: '', limit: 100 }).length, rows.length)
  await db.close()
})

const FULL_DISK = `
import { spawnSync } from 'node:child_process'
import { openIndexDb } from './src/plugins/shard-cache/index-db.ts'
process.on('SIGXFSZ', () => {})
const limit = bytes => {
  const { status } = spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes + ':unlimited'])
  if (status !== 0) throw new Error('prlimit failed')
}
const batch = n => new Map(Array.from({ length: 500 }, (_, i) => ['cid' + n + 'x' + i + '/3', { size: i, sha256: 'ab'.repeat(32), storedAt: 1, lastAccess: 2, hits: 0, generation: 'g' + i }]))
const db = openIndexDb(process.argv[1])
await db.write(batch(0))
limit(150_000)
let failed = 0
let written = 1
for (let n = 1; n < 12; n++) await db.write(batch(n)).then(() => { written++ }, () => { failed++ })
limit('unlimited')
await db.write(batch(99))
written++
const entries = Array.from(db.load()).length
await db.close()
console.log(JSON.stringify({ failed, consistent: entries === written * 500 }))
`

test('a disk that is full fails the write alone: nothing unhandled, nothing half-written, closing and later writes work', async t => {
  const directory = join(await temporaryDirectory(t), 'index')
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', FULL_DISK, directory], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), new Promise<[number | null]>(resolve => child.once('close', status => { resolve([status]) }))])
  assert.equal(code, 0, stderr)
  const { failed, consistent } = JSON.parse(stdout) as { failed: number, consistent: boolean }
  assert.ok(failed > 0)
  assert.ok(consistent)
})

const DAMAGE = `
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { openCache } from './src/plugins/shard-cache/open-cache.ts'
import { openIndexDb } from './src/plugins/shard-cache/index-db.ts'
import { seededRandom } from './demo/super-node/faults.ts'
const base = process.argv[1]
const random = seededRandom(7)
const db = openIndexDb(base + '/sound/index')
for (let n = 0; n < 4; n++) await db.write(new Map(Array.from({ length: 500 }, (_, i) => ['cid' + n + 'x' + i + '/3', { size: i, sha256: 'ab'.repeat(32), storedAt: 1, lastAccess: 2, hits: 0, generation: 'g' + i }])))
await db.close()
const size = readFileSync(base + '/sound/index/data.mdb').length
const noise = (bytes, from, to) => { for (let at = from; at < to; at++) bytes[at] = Math.floor(random() * 256); return bytes }
const rewrite = change => file => { const bytes = readFileSync(file); writeFileSync(file, change(bytes)) }
const cases = {
  'untouched': () => {},
  'empty': file => truncateSync(file, 0),
  'cut in the first page': file => truncateSync(file, 100),
  'cut after the headers': file => truncateSync(file, 8192),
  'cut in half': file => truncateSync(file, size >> 1),
  'last page missing': file => truncateSync(file, size - 4096),
  'text': file => writeFileSync(file, 'hello world'),
  'zeros': file => writeFileSync(file, Buffer.alloc(size)),
  'noise': rewrite(bytes => noise(bytes, 0, bytes.length)),
  'noise in the headers': rewrite(bytes => noise(bytes, 0, 8192)),
  'noise after the headers': rewrite(bytes => noise(bytes, 8192, bytes.length)),
  'zeros after the headers': rewrite(bytes => bytes.fill(0, 8192)),
  'one bit in a hundred': rewrite(bytes => { for (let n = 0; n < bytes.length / 100; n++) bytes[8192 + Math.floor(random() * (bytes.length - 8192))] ^= 1; return bytes })
}
for (const [name, damage] of Object.entries(cases)) {
  const path = base + '/' + name.replaceAll(' ', '-')
  cpSync(base + '/sound', path, { recursive: true })
  rmSync(path + '/index/lock.mdb', { force: true })
  damage(path + '/index/data.mdb')
  const errors = []
  const opened = await openCache({
    path, maxBytes: 1e9, ramBytes: 0, passThroughBytes: 1e6, clock: { now: Date.now, monotonic: () => performance.now() }, random: Math.random,
    observer: { diskIo () {}, diskError () {}, removed () {}, storeBypassed () {}, stored () {} },
    log: (level, message) => { if (level === 'error') errors.push(message) }
  })
  const { spool, commit } = await opened.cache.createSpool({ cid: 'new', part: 0 }, 5, true)
  await spool.append(Buffer.from('hello'), new AbortController().signal)
  const stored = await commit('ab'.repeat(32))
  await spool.close()
  await opened.close()
  const aside = readdirSync(path).some(file => file.startsWith('index.damaged'))
  console.log(JSON.stringify({ name, restored: opened.restored, stored, aside, errors: errors.length, index: existsSync(path + '/index/data.mdb') }))
}
`

test('a time of a clock that was far ahead is a time, and no damage', () => {
  const ahead = decodeRecord(encodeRecord({ ...recordOf(), storedAt: 2 ** 43 + 5, lastAccess: 9e12 }))
  assert.ok(ahead !== undefined && ahead.storedAt < 2 ** 43 && ahead.lastAccess < 2 ** 43)
})

test('a damaged index file is moved aside and the cache starts empty and works; a sound one is left alone', async t => {
  const directory = await temporaryDirectory(t)
  await mkdir(join(directory, 'sound'))
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', DAMAGE, directory])
  const outcomes = stdout.trim().split('\n').map(line => JSON.parse(line) as { name: string, restored: number, stored: boolean, aside: boolean, errors: number, index: boolean })
  assert.equal(outcomes.length, 13)
  for (const { name, restored, stored, aside, errors, index } of outcomes) {
    assert.ok(stored && index, name)
    const usable = name === 'untouched' || name === 'empty'
    assert.equal(restored, name === 'untouched' ? 2_000 : 0, name)
    assert.equal(aside, !usable, name)
    assert.equal(errors, usable ? 0 : 1, name)
  }
})
