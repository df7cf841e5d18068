import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { encodeShards } from '../../../demo/super-node/erasure.ts'
import { DEMO_PUBLIC_KEY, blockHashesOf, buildManifest, manifestBytes, mediaCid, verifyManifest, type Manifest } from '../../../demo/super-node/manifest.ts'
import { canonicalJson } from '../../../src/protocol/strict-json.ts'

function sha256 (...parts: Uint8Array[]): Buffer {
  return createHash('sha256').update(Buffer.concat(parts)).digest()
}

function manifestOf (text: string): Manifest {
  const media = Buffer.from(text)
  const shards = encodeShards(media)
  const [shardHashes, blockHashes] = [shards.map(shard => sha256(shard)), shards.map(blockHashesOf)]
  const hash = sha256(media)
  return buildManifest({ cid: mediaCid(hash), size: media.length, contentType: 'text/plain', sha256: hash, shardSize: Math.ceil(media.length / 10), shardHashes, blockHashes })
}

const sample = manifestOf('a short film about nothing at all')

test('a manifest verifies after a trip through its own bytes', () => {
  assert.deepEqual(verifyManifest(JSON.parse(manifestBytes(sample).toString())), { ok: true })
  assert.match(sample.cid, /^demo-[0-9a-f]{32}$/)
  assert.equal(sample.signature.publicKey, DEMO_PUBLIC_KEY)
  assert.equal(Buffer.from(sample.signature.value, 'base64').length, 64)
})

test('the demo key and the bytes never change: every super-node serves the same manifest', () => {
  assert.equal(DEMO_PUBLIC_KEY, 'iUCYHF8Qm2030uphw282ybK9BMacN3u0oLDJJ7752PM=')
  assert.deepEqual(manifestBytes(manifestOf('same')), manifestBytes(manifestOf('same')))
})

test('every field is covered by the signature', () => {
  const other = manifestOf('another film, of another length')
  const keys = ['cid', 'size', 'contentType', 'shardSize', 'sha256', 'shards', 'merkleRoot', 'version', 'dataShards', 'parityShards', 'blockSize'] as const
  for (const key of keys) {
    const value = sample[key] === other[key] ? 99 : other[key]
    assert.equal(verifyManifest({ ...sample, [key]: value }).ok, false, key)
  }
  assert.equal(verifyManifest({ ...sample, extra: true }).ok, false)
})

test('a tampered manifest is refused with the reason', () => {
  const flip = (hex: string): string => (hex.startsWith('0') ? '1' : '0') + hex.slice(1)
  const shards = sample.shards.map((shard, index) => index === 3 ? { ...shard, sha256: flip(shard.sha256) } : shard)
  assert.deepEqual(verifyManifest({ ...sample, shards }), { ok: false, reason: 'merkleRoot does not match the shard hashes' })
  assert.deepEqual(verifyManifest({ ...sample, contentType: 'text/html' }), { ok: false, reason: 'the signature does not match' })
  assert.deepEqual(verifyManifest({ ...sample, size: -1 }), { ok: false, reason: 'size is not a positive integer' })
  assert.deepEqual(verifyManifest({ ...sample, shards: sample.shards.slice(1) }), { ok: false, reason: 'shards does not list 14 shards' })
  assert.deepEqual(verifyManifest(null), { ok: false, reason: 'the manifest is not an object' })
})

test('a manifest signed by somebody else is refused although its own signature is right', () => {
  const { signature, ...body } = sample
  const stranger = generateKeyPairSync('ed25519')
  const publicKey = Buffer.from(stranger.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')
  const forged = { ...body, signature: { ...signature, publicKey, value: sign(null, Buffer.from(canonicalJson(body)), stranger.privateKey).toString('base64') } }
  assert.deepEqual(verifyManifest(forged), { ok: false, reason: 'signed with another key' })
  assert.deepEqual(verifyManifest(forged, publicKey), { ok: true })
})

test('verifying arbitrary JSON never throws', () => {
  fc.assert(fc.property(fc.jsonValue(), value => { assert.equal(verifyManifest(value).ok, false) }))
  fc.assert(fc.property(fc.constantFrom(...Object.keys(sample)), fc.jsonValue(), (key, value) => {
    if (canonicalJson(value) !== canonicalJson(sample[key as keyof Manifest])) assert.equal(verifyManifest({ ...sample, [key]: value }).ok, false)
  }))
})
