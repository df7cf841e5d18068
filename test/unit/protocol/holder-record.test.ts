import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { publisherKeys } from '../../../src/plugins/integrity/publisher-signature.ts'
import { newestRecord, verifyHolderRecord } from '../../../src/plugins/p2p/verify-holder-record.ts'
import { HolderRecordError, HOLDER_FAULTS, holderRecordBytes, MAX_HOLDERS, MAX_RECORD_BYTES, parseHolderRecord, type HolderFault, type HolderRecord } from '../../../src/protocol/holder-record.ts'
import type { DocumentSignature } from '../../../src/protocol/signed-json.ts'
import { makePublisher, manifestText, signedBody, type Publisher } from '../../../tools/harness/manifests.ts'

const CID = 'QmHeld'
const NOW = Date.parse('2026-06-01T12:00:00Z')
const HOUR = 3_600_000
const publisher = makePublisher()
const policy = { publishers: publisherKeys([publisher.key]), maxAgeMs: HOUR }

const good = (): Record<string, unknown> => ({
  type: 'icn-holders', version: 1, cid: CID, issuedAt: NOW, holders: [{ url: 'http://super-1.example:9002', region: 'NA-WEST' }]
})

/** As it is sent, signed. */
function sent (changes: Record<string, unknown> = {}, by: Publisher = publisher): Buffer {
  const body = Object.fromEntries(Object.entries({ ...good(), ...changes }).filter(([, value]) => value !== undefined))
  return manifestText(signedBody(body, by))
}

function faultOf (bytes: Uint8Array, cid = CID, now = NOW): HolderFault | undefined {
  try {
    verifyHolderRecord(bytes, cid, policy, now)
    return undefined
  } catch (error) {
    if (error instanceof HolderRecordError) return error.fault
    throw error
  }
}

const holder = (url: string, region = 'APAC'): { holders: { url: string, region: string }[] } => ({ holders: [{ url, region }] })

suite('holder records', () => {
  test('one that a publisher signed is believed, however it is written, with members that nobody knows', () => {
    assert.equal(faultOf(sent()), undefined)
    assert.equal(faultOf(sent({ note: 'more', expiresAt: '2026-06-01T13:00:00+01:00' }), CID, NOW - HOUR), 'stale', 'made in the future')
    assert.equal(faultOf(sent({ note: 'more', expiresAt: '2026-06-01T15:00:00+01:00' })), undefined)
    const spaced = Buffer.from(JSON.stringify(JSON.parse(sent().toString()), null, 2))
    assert.equal(faultOf(spaced), undefined)
  })

  const cases: readonly (readonly [HolderFault, string, Uint8Array])[] = [
    ['too-large', 'a byte too many', sent({ pad: 'x'.repeat(MAX_RECORD_BYTES) })],
    ['encoding', 'no UTF-8', Buffer.from([0xff, 0xfe])],
    ['syntax', 'no JSON', Buffer.from('{')],
    ['syntax', 'nothing', Buffer.alloc(0)],
    ['depth', 'nested deep', Buffer.from('['.repeat(9))],
    ['duplicate-key', 'a member twice', Buffer.from('{"type":"icn-holders","type":"icn-holders"}')],
    ['shape', 'a list', Buffer.from('[]')],
    ['shape', 'a holder that is none', sent({ holders: ['http://super-1.example'] })],
    ['type', 'a manifest, for instance', sent({ type: undefined })],
    ['version', 'a later format', sent({ version: 2 })],
    ['cid', 'another CID', sent({ cid: 'QmOther' })],
    ['cid', 'no CID', sent({ cid: 'a/b' })],
    ['holders', 'none', sent({ holders: [] })],
    ['holders', 'too many', sent({ holders: Array.from({ length: MAX_HOLDERS + 1 }, (_, n) => ({ url: `http://h${n}.example`, region: 'APAC' })) })],
    ['holders', 'one twice, spelled otherwise', sent({ holders: [{ url: 'http://h.example:80/', region: 'APAC' }, { url: 'http://H.example', region: 'APAC' }] })],
    ['url', 'another scheme', sent(holder('ftp://h.example'))],
    ['url', 'credentials', sent(holder('http://me:secret@h.example'))],
    ['url', 'a path', sent(holder('http://h.example/x'))],
    ['url', 'a path behind a backslash, which URLs take for a slash', sent(holder('http://h.example\\x'))],
    ['url', 'a query', sent(holder('http://h.example?x'))],
    ['url', 'no host', sent(holder('http://:80'))],
    ['url', 'too long', sent(holder(`http://${'a'.repeat(300)}.example`))],
    ['region', 'no name of a region', sent(holder('http://h.example', 'apac'))],
    ['date', 'no date', sent({ issuedAt: undefined })],
    ['date', 'a date without zone', sent({ issuedAt: '2026-06-01T12:00:00' })],
    ['date', 'an end that is no date', sent({ expiresAt: 'tomorrow' })],
    ['unsigned', 'not signed', manifestText(good())],
    ['publisher', 'signed by somebody else', sent({}, makePublisher())],
    ['signature', 'changed after it was signed', Buffer.from(sent().toString().replace('super-1', 'super-2'))],
    ['signature', 'another algorithm', Buffer.from(sent().toString().replace('"ed25519"', '"rsa"'))],
    ['stale', 'too old', sent({ issuedAt: NOW - HOUR - 1 })],
    ['stale', 'from the future', sent({ issuedAt: NOW + 301_000 })],
    ['stale', 'expired', sent({ expiresAt: NOW })]
  ]
  for (const [fault, what, bytes] of cases) test(`${fault}: ${what}`, () => { assert.equal(faultOf(bytes), fault) })

  test('every fault has its case', () => {
    assert.deepEqual([...new Set(cases.map(([fault]) => fault))].toSorted(), [...HOLDER_FAULTS].toSorted())
  })

  test('nobody is believed where there are no publishers', () => {
    assert.throws(() => verifyHolderRecord(sent(), CID, { publishers: new Map(), maxAgeMs: HOUR }, NOW), { fault: 'publisher' })
  })

  test('of several the newest that is believed counts; where none is, any', () => {
    const verify = (bytes: Uint8Array): HolderRecord => verifyHolderRecord(bytes, CID, policy, NOW)
    const records = [Buffer.from('garbage'), sent({ issuedAt: NOW - 2_000 }), sent({ issuedAt: NOW - 1_000 }), sent({ issuedAt: NOW }, makePublisher())]
    assert.equal(newestRecord(records, verify), 2)
    assert.equal(newestRecord(records.slice(0, 1), verify), 0)
  })

  test('whatever bytes come, it says a fault of the list or gives holders that may be asked', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('icn-holders', CID, 1, NOW, '2026-06-01T12:00:00Z', [{ url: 'http://h.example', region: 'APAC' }]))
    const body = fc.record({ type: value, version: value, cid: value, issuedAt: value, expiresAt: value, holders: value, signature: value }, { requiredKeys: [] })
    fc.assert(fc.property(fc.oneof(body.map(members => Buffer.from(JSON.stringify({ ...good(), ...members }))), fc.uint8Array({ maxLength: 200 })), bytes => {
      try {
        const { record } = parseHolderRecord(bytes, CID)
        assert.equal(record.cid, CID)
        assert.ok(record.holders.length >= 1 && record.holders.length <= MAX_HOLDERS)
        for (const { url } of record.holders) assert.equal(new URL(url).origin, url)
      } catch (error) {
        if (!(error instanceof HolderRecordError)) throw error
        assert.ok(HOLDER_FAULTS.includes(error.fault))
      }
    }))
  })

  test('what publishers write is what relays read', () => {
    const url = fc.tuple(fc.constantFrom('http', 'https'), fc.domain(), fc.integer({ min: 1, max: 65_535 })).map(([scheme, host, port]) => new URL(`${scheme}://${host}:${port}`).origin)
    const holders = fc.uniqueArray(fc.record({ url, region: fc.stringMatching(/^[A-Z0-9-]{1,32}$/) }, { noNullPrototype: true }), { minLength: 1, maxLength: MAX_HOLDERS, selector: ({ url }) => url })
    const signature: DocumentSignature = { publicKey: publisher.key, value: 'AAAA' }
    fc.assert(fc.property(holders, fc.integer({ min: 0, max: 4_000_000_000_000 }), fc.option(fc.integer({ min: 0, max: 4_000_000_000_000 }), { nil: undefined }), (listed, issuedAt, expiresAt) => {
      const facts = { cid: CID, holders: listed, issuedAt, ...expiresAt === undefined ? {} : { expiresAt } }
      const { record } = parseHolderRecord(holderRecordBytes(facts, () => signature), CID)
      assert.deepEqual(record, { cid: CID, holders: listed, issuedAt, expiresAt, signature })
    }))
  })
})
