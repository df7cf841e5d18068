import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { publisherKey, sha256, verifyManifest, type ManifestPolicy } from '../../../src/plugins/integrity/verify-manifest.ts'
import { ManifestError, MANIFEST_FAULTS, parseManifest, signedText, type ManifestFault } from '../../../src/protocol/manifest.ts'
import { merkleProof, merkleRoot, rootOfProof } from '../../../src/protocol/merkle.ts'
import { canonicalJson, parseStrictJson, StrictJsonError } from '../../../src/protocol/strict-json.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../../tools/harness/manifests.ts'

const CID = 'QmVideo'
const BODY = manifestBody(CID, videoShards(CID, 1_000))
const PUBLISHER = makePublisher()
const NOW = Date.UTC(2026, 0, 1)
const MAX_BYTES = 1_048_576

function policy (more: Partial<ManifestPolicy> = {}): ManifestPolicy {
  const key = publisherKey(PUBLISHER.key)
  assert.ok(key !== undefined)
  return { maxBytes: MAX_BYTES, publishers: new Map([[PUBLISHER.key, key]]), maxAgeMs: 0, ...more }
}

function refused (fault: ManifestFault, bytes: Uint8Array, more: Partial<ManifestPolicy> = {}): void {
  assert.throws(() => verifyManifest(bytes, CID, policy(more), NOW), { name: 'ManifestError', fault })
}

/** Signed after the change, so that the signature is not what is wrong. */
function signed (change: Record<string, unknown> = {}): Buffer {
  return manifestText(signedBody({ ...BODY, ...change }, PUBLISHER))
}

const SHARDS = BODY['shards'] as readonly Record<string, unknown>[]

/** One entry of `shards` changed. */
function withShard (position: number, change: Record<string, unknown>): Record<string, unknown> {
  return { shards: SHARDS.map((shard, at) => at === position ? { ...shard, ...change } : shard) }
}

suite('a manifest', () => {
  test('signed by a publisher is taken, with its digest and its shards', () => {
    const bytes = signed({ createdAt: '2025-12-31T00:00:00Z' })
    const checked = verifyManifest(bytes, CID, policy(), NOW)
    assert.equal(checked.publisher, PUBLISHER.key)
    assert.equal(checked.digest, sha256(bytes).toString('hex'))
    assert.equal(checked.size, bytes.length)
    assert.equal(checked.manifest.shards.length, 14)
    assert.equal(checked.manifest.createdAt, Date.UTC(2025, 11, 31))
    assert.equal(verifyManifest(signed({ createdAt: NOW }), CID, policy(), NOW).manifest.createdAt, NOW)
  })

  test('may name what is watched next, and names CIDs, eight at most, under its signature', () => {
    assert.deepEqual(verifyManifest(signed(), CID, policy(), NOW).manifest.next, [])
    const next = ['Qm-episode_2', '0x3']
    assert.deepEqual(verifyManifest(signed({ next }), CID, policy(), NOW).manifest.next, next)
    for (const wrong of ['Qm', { 0: 'Qm' }, null, Array.from({ length: 9 }, (_, n) => `Qm${n}`)]) refused('shape', signed({ next: wrong }))
    for (const wrong of ['', 'a/b', 'x'.repeat(129), 7, null]) refused('cid', signed({ next: [wrong] }))
    refused('signature', manifestText({ ...signedBody(BODY, PUBLISHER), next }))
  })

  test('may have tags, sixteen at most, under its signature', () => {
    assert.deepEqual(verifyManifest(signed(), CID, policy(), NOW).manifest.tags, [])
    const tags = ['news', 'series:7_a.b-C']
    assert.deepEqual(verifyManifest(signed({ tags }), CID, policy(), NOW).manifest.tags, tags)
    for (const wrong of ['news', [''], ['a b'], ['x'.repeat(65)], [7], Array.from({ length: 17 }, (_, n) => `t${n}`)]) refused('shape', signed({ tags: wrong }))
    refused('signature', manifestText({ ...signedBody(BODY, PUBLISHER), tags }))
  })

  test('is taken unsigned only where no publisher is named', () => {
    const bytes = manifestText(BODY)
    assert.equal(verifyManifest(bytes, CID, policy({ publishers: new Map() }), NOW).publisher, undefined)
    refused('unsigned', bytes)
  })

  test('of a stranger is refused, although its own signature is right', () => {
    const bytes = manifestText(signedBody(BODY, makePublisher()))
    refused('publisher', bytes)
    assert.equal(verifyManifest(bytes, CID, policy({ publishers: new Map() }), NOW).publisher, undefined)
  })

  test('with a wrong signature is refused, with and without publishers', () => {
    const bytes = manifestText({ ...signedBody(BODY, PUBLISHER), contentType: 'text/html' })
    refused('signature', bytes)
    refused('signature', bytes, { publishers: new Map() })
    refused('signature', manifestText({ ...BODY, signature: { algorithm: 'rsa', publicKey: PUBLISHER.key, value: 'AAAA' } }))
    refused('signature', manifestText({ ...BODY, signature: { algorithm: 'ed25519', publicKey: 'AAAA', value: 'AAAA' } }), { publishers: new Map() })
  })

  test('has members nobody knows under its signature', () => {
    const body = signedBody({ ...BODY, blocks: { size: 65_536 } }, PUBLISHER)
    assert.equal(verifyManifest(manifestText(body), CID, policy(), NOW).publisher, PUBLISHER.key)
    refused('signature', manifestText({ ...body, blocks: { size: 131_072 } }))
  })

  test('that is too old, undated or of the future is stale where an age is set', () => {
    const maxAgeMs = 86_400_000
    refused('stale', signed({ createdAt: NOW - maxAgeMs - 1 }), { maxAgeMs })
    refused('stale', signed(), { maxAgeMs })
    refused('stale', signed({ createdAt: NOW + 3_600_000 }), { maxAgeMs })
    assert.ok(verifyManifest(signed({ createdAt: NOW - maxAgeMs }), CID, policy({ maxAgeMs }), NOW))
    for (const createdAt of ['yesterday', -1, 1.5, '2025-12-31', null]) refused('date', signed({ createdAt }))
  })

  test('whose parts contradict each other is refused with the reason', () => {
    refused('root', signed({ merkleRoot: '0'.repeat(64) }))
    refused('root', signed(withShard(3, { sha256: '0'.repeat(64) })))
    refused('index', signed(withShard(3, { index: 4 })))
    refused('index', signed({ shards: [...SHARDS].reverse() }))
    refused('shard-size', signed(withShard(13, { size: 999 })))
    refused('size', signed({ size: 10_001 }))
    refused('size', signed({ size: 0 }))
    refused('hash', signed({ sha256: 'ABC' }))
    refused('hash', signed(withShard(0, { sha256: undefined })))
    refused('code', signed({ dataShards: 9 }))
    refused('code', signed({ shards: SHARDS.slice(1) }))
    refused('version', signed({ version: 2 }))
    refused('shape', signed({ contentType: 7 }))
    refused('shape', signed({ shards: SHARDS.map(() => null) }))
    refused('shape', Buffer.from('[]'))
    refused('cid', signed({ cid: 'QmOther' }))
    refused('cid', signed({ cid: '../../../etc' }))
  })

  test('that is no strict JSON is refused before anything is read of it', () => {
    refused('too-large', Buffer.alloc(10_000_000, 'x'))
    refused('too-large', Buffer.alloc(MAX_BYTES + 1, ' '))
    refused('depth', Buffer.from('['.repeat(500_000)))
    refused('depth', signed({ deep: JSON.parse('{"a":'.repeat(9) + '1' + '}'.repeat(9)) }))
    const text = signed().toString()
    refused('duplicate-key', Buffer.from(text.replace('{', '{"cid":"QmOther",')))
    refused('duplicate-key', Buffer.from(text.replace('{', '{"c\\u0069d":"QmOther",')))
    refused('duplicate-key', Buffer.from(text.replace('"index":3', '"index":4,"index":3')))
    refused('encoding', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('"}')]))
    refused('encoding', Buffer.from('{"a":"\\ud800"}'))
    refused('syntax', Buffer.from('{"a":1e999}'))
    refused('syntax', Buffer.from('{"a":"'))
    refused('syntax', Buffer.from('{"a":1'))
    refused('syntax', Buffer.alloc(0))
    refused('syntax', Buffer.from('\ufeff{}'))
  })

  test('of any bytes gives a manifest or a fault of the list', () => {
    const text = signed()
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.jsonValue().map(value => Buffer.from(JSON.stringify(value))),
      fc.record({ at: fc.nat({ max: text.length - 1 }), byte: fc.nat({ max: 255 }) }).map(({ at, byte }) => {
        const copy = Buffer.from(text)
        copy[at] = byte
        return copy
      })
    )
    fc.assert(fc.property(bytes, some => {
      try {
        assert.deepEqual(Buffer.from(some).equals(text) || verifyManifest(some, CID, policy(), NOW).publisher !== undefined, true)
        // What is taken says the same as what was signed.
        assert.equal(parseManifest(some, CID, MAX_BYTES).signedText, signedText(JSON.parse(text.toString())))
      } catch (error) {
        if (!(error instanceof ManifestError)) throw error
        assert.ok(MANIFEST_FAULTS.includes(error.fault))
      }
    }), { numRuns: 500 })
  })
})

suite('strict JSON', () => {
  test('says the same as JSON.parse of what JSON.stringify writes', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), value => {
      const text = JSON.stringify(value)
      let strict
      try {
        strict = parseStrictJson(Buffer.from(text), 6)
      } catch (error) {
        // JSON.stringify writes halves of pairs, and that is all it may be refused for.
        assert.ok(error instanceof StrictJsonError && error.fault === 'encoding', text)
        return
      }
      assert.deepEqual(strict, JSON.parse(text))
    }))
  })

  test('canonical text is independent of the order of members and loses nothing', () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), value => {
      assert.equal(canonicalJson(Object.fromEntries(Object.entries(value).reverse())), canonicalJson(value))
      assert.deepEqual(JSON.parse(canonicalJson(value)), JSON.parse(JSON.stringify(value)))
    }))
    assert.equal(canonicalJson({ b: [1, { d: null, c: '\u20ac' }], a: 1e21 }), '{"a":1e+21,"b":[1,{"c":"€","d":null}]}')
  })
})

suite('the Merkle tree', () => {
  const leaf = (hash: Uint8Array): Buffer => sha256(Uint8Array.of(0), hash)
  const node = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Uint8Array.of(1), left, right)
  const hashes = (count: number): Buffer[] => Array.from({ length: count }, (_, index) => sha256(Buffer.from(String(index))))

  /** The definition of RFC 6962 §2.1, which splits at the largest power of two below the number of leaves. */
  function ofTheRfc (some: readonly Buffer[]): Buffer {
    const [only] = some
    if (some.length === 1 && only !== undefined) return leaf(only)
    const split = 2 ** Math.ceil(Math.log2(some.length) - 1)
    return node(ofTheRfc(some.slice(0, split)), ofTheRfc(some.slice(split)))
  }

  test('is the one of RFC 6962, and every leaf has a proof that leads to its root and to no other place', () => {
    for (let count = 1; count <= 33; count++) {
      const all = hashes(count)
      const root = merkleRoot(all, sha256)
      assert.deepEqual(Buffer.from(root), ofTheRfc(all))
      all.forEach((hash, index) => {
        const proof = merkleProof(all, index, sha256)
        assert.ok(proof.length <= Math.ceil(Math.log2(count)))
        assert.deepEqual(rootOfProof(hash, index, count, proof, sha256), root)
        assert.notDeepEqual(rootOfProof(hash, (index + 1) % count, count, proof, sha256), count === 1 ? undefined : root)
        assert.equal(rootOfProof(hash, index, count, [...proof, hash], sha256), undefined)
        if (proof.length > 0) assert.equal(rootOfProof(hash, index, count, proof.slice(1), sha256), undefined)
      })
    }
  })

  test('has no node that passes for a leaf', () => {
    const [a, b, c, d] = hashes(4) as [Buffer, Buffer, Buffer, Buffer]
    const left = node(leaf(a), leaf(b))
    const right = node(leaf(c), leaf(d))
    assert.notDeepEqual(merkleRoot([left, right], sha256), merkleRoot([a, b, c, d], sha256))
    assert.notDeepEqual(merkleRoot([Buffer.concat([leaf(a), leaf(b)])], sha256), merkleRoot([a, b], sha256))
  })

  test('of nothing, and the proof of a leaf that is not there, are errors', () => {
    assert.throws(() => merkleRoot([], sha256), RangeError)
    for (const index of [-1, 3, 0.5]) {
      assert.throws(() => merkleProof(hashes(3), index, sha256), RangeError)
      assert.equal(rootOfProof(Buffer.alloc(32), index, 3, [], sha256), undefined)
    }
  })
})

test('a publisher is 32 bytes in base64, in one spelling', () => {
  assert.ok(publisherKey(PUBLISHER.key))
  for (const text of ['', 'AAAA', PUBLISHER.key.replace('=', ''), `${PUBLISHER.key} `, Buffer.alloc(33).toString('base64')]) assert.equal(publisherKey(text), undefined)
})
