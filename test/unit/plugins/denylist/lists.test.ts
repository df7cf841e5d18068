import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeniedSet, MAX_PREFIXES } from '../../../../src/plugins/denylist/denied-set.ts'
import { Denylist } from '../../../../src/plugins/denylist/denylist.ts'
import { DigestSet } from '../../../../src/plugins/denylist/digest-set.ts'
import { cidDigest, parseEntry } from '../../../../src/plugins/denylist/entry.ts'
import { parseList } from '../../../../src/plugins/denylist/list-text.ts'

const listOf = async (...lines: string[]): ReturnType<typeof parseList> => await parseList(Buffer.from(lines.join('\n')))
const denies = (set: DeniedSet, cid: string): boolean => set.denies(cid, cidDigest(cid))

test('a CID stands in a list as in that of Bad Bits', () => {
  // Example of IPIP-383.
  assert.equal(cidDigest('bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e').toString('hex'), 'd9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7')
})

test('CIDs, prefixes, double hashes and IPFS paths, beside a header, comments, hints and empty lines', async () => {
  const hashed = cidDigest('QmHashed').toString('hex')
  const { set, badLines, problem } = await listOf('version: 1', 'name: example', '---', '# why', '', 'QmPlain', 'tv-*  reason=court', `//${hashed.toUpperCase()}`, '/ipfs/QmPath', '/ipfs/QmTree/*\r', ' QmBlanks ')
  assert.deepEqual([set.size, set.prefixes, badLines, problem], [6, 1, 0, undefined])
  for (const cid of ['QmPlain', 'tv-', 'tv-news', 'QmHashed', 'QmPath', 'QmTree', 'QmBlanks']) assert.ok(denies(set, cid), cid)
  for (const cid of ['QmPlai', 'QmPlain2', 'tv', 'Tv-news', 'qmplain', hashed, 'version']) assert.equal(denies(set, cid), false, cid)
})

test('lines that are no entries are counted and the first is named; a text with more of them than entries is no denylist', async () => {
  const { set, badLines, problem } = await listOf('QmA', 'Qm B', '!QmC', 'QmD', '//12', 'QmE')
  // What stands behind a blank is a hint.
  assert.deepEqual([set.size, badLines], [4, 2])
  assert.match(problem ?? '', /^line 3: "!QmC" is no entry/)
  await assert.rejects(listOf('<!doctype html>', '<html>', '<p>Log_in', '</html>'), { code: 'RELAY_ERR_BAD_REQUEST', message: /^it is no denylist: 4 lines are no entries and 0 are; line 1: "<!doctype"/ })
  assert.equal((await listOf('')).set.size, 0)
  assert.throws(() => parseEntry(''), { code: 'RELAY_ERR_BAD_REQUEST' })
  assert.throws(() => parseEntry('a'.repeat(129)), { code: 'RELAY_ERR_BAD_REQUEST' })
})

test('property: whatever the bytes, a list is read or refused, and holds what stands in its good lines', async () => {
  const cid = fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/)
  const line = fc.oneof(cid, cid.map(one => `${one}*`), cid.map(one => `//${cidDigest(one).toString('hex')}`), fc.string({ unit: 'binary', maxLength: 30 }))
  await fc.assert(fc.asyncProperty(fc.array(line, { maxLength: 60 }), cid, async (lines, other) => {
    const good = new Set<string>()
    const prefixes: string[] = []
    const text = `# a list\n${lines.join('\n')}`
    for (const one of text.split('\n')) {
      const entry = one.trim().split(/[ \t]/, 1)[0] ?? ''
      if (/^[A-Za-z0-9_-]{1,128}$/.test(entry)) good.add(entry)
      else if (/^[A-Za-z0-9_-]{1,127}\*$/.test(entry)) prefixes.push(entry.slice(0, -1))
    }
    const list = await parseList(Buffer.from(text, 'latin1')).catch((error: unknown) => {
      assert.match(String(error), /is no denylist/)
    })
    if (list === undefined) return
    for (const one of good) assert.ok(denies(list.set, one), one)
    for (const one of prefixes) assert.ok(denies(list.set, `${one}x`), one)
    if (denies(list.set, other)) assert.ok(good.has(other) || prefixes.some(prefix => other.startsWith(prefix)) || text.toLowerCase().includes(cidDigest(other).toString('hex')))
  }), { numRuns: 200 })
})

test('property: a set of digests is a set', () => {
  const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytes => Buffer.from(bytes))
  // Digests whose first words are alike, too: nobody hashes those of a hostile list.
  const near = fc.integer({ min: 0, max: 3 }).chain(words => digest.map(bytes => Buffer.concat([Buffer.alloc(words * 4), bytes.subarray(words * 4)])))
  fc.assert(fc.property(fc.array(fc.oneof(digest, near), { maxLength: 300 }), digest, (digests, other) => {
    const set = new DigestSet()
    // The first word of what is stored is never 0.
    const keyOf = (bytes: Buffer): string => { const key = Buffer.from(bytes.subarray(0, 16)); if (key.readUInt32LE(0) === 0) key.writeUInt32LE(1, 0); return key.toString('hex') }
    const model = new Set<string>()
    for (const bytes of digests) {
      assert.equal(set.add(bytes), !model.has(keyOf(bytes)))
      model.add(keyOf(bytes))
    }
    assert.equal(set.size, model.size)
    for (const bytes of digests) assert.ok(set.has(bytes))
    assert.equal(set.has(other), model.has(keyOf(other)))
  }))
})

test('a hundred thousand digests that a hostile list has put side by side are found without a walk past the others', () => {
  const set = new DigestSet(100_000)
  const digestOf = (n: number): Buffer => {
    const bytes = Buffer.alloc(32)
    bytes.writeUInt32LE(0x1000_0000, 0)
    bytes.writeUInt32LE(n, 12)
    return bytes
  }
  for (let n = 0; n < 100_000; n++) set.add(digestOf(n))
  assert.equal(set.size, 100_000)
  assert.ok(set.has(digestOf(99_999)))
  assert.ok(!set.has(digestOf(100_000)))
  assert.ok(set.bytes <= 64 * 100_000 * 2, `${set.bytes} bytes`)
})

test('prefixes are bounded; verdicts follow the lists', () => {
  const set = new DeniedSet()
  for (let n = 0; n < MAX_PREFIXES; n++) set.add({ kind: 'prefix', prefix: `p${n}-` })
  set.add({ kind: 'prefix', prefix: 'p0-' })
  assert.throws(() => { set.add({ kind: 'prefix', prefix: 'one-more' }) }, { code: 'RELAY_ERR_BAD_REQUEST', message: /at most 10000 prefixes/ })
  const denylist = new Denylist()
  let changes = 0
  denylist.onChange(() => { changes++ })
  assert.equal(denylist.denies('p7-x'), false)
  denylist.replace('file', set)
  assert.equal(denylist.denies('p7-x'), true)
  const own = new DeniedSet()
  own.add(parseEntry('p7-x'))
  denylist.replace('own', own)
  assert.deepEqual(denylist.sourcesOf('p7-x'), ['own', 'file'])
  denylist.replace('file', new DeniedSet())
  assert.equal(denylist.denies('p7-x'), true)
  assert.equal(denylist.denies('p8-x'), false)
  denylist.replace('own', new DeniedSet())
  assert.equal(denylist.denies('p7-x'), false)
  assert.deepEqual([changes, denylist.size], [4, 0])
  assert.equal(createHash('sha256').update('p7-x/').digest('hex'), cidDigest('p7-x').toString('hex'))
})
