import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'
import { publisherKey, sha256, verifyManifest } from '../../src/plugins/integrity/verify-manifest.ts'
import { MANIFEST_FAULTS } from '../../src/protocol/manifest.ts'
import { readBlocks } from '../../src/protocol/manifest-blocks.ts'
import { merkleProof, merkleRoot, rootOfProof } from '../../src/protocol/merkle.ts'
import { manifestBody, manifestText, signedBody } from '../../tools/harness/manifests.ts'

const CID = 'QmVector'
const SHARDS = Array.from({ length: 14 }, (_, index) => Buffer.alloc(4, index))
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

const text = await readFile(new URL('../../docs/manifest.md', import.meta.url), 'utf8')

function between (start: string, end: string): string {
  const from = text.indexOf(start) + start.length
  assert.ok(from >= start.length, start)
  return text.slice(from, text.indexOf(end, from))
}

suite('the manifest as docs/manifest.md has it', () => {
  const documented = Buffer.from(between('```json\n', '\n```'))

  test('is what its facts and the key make', () => {
    const seed = Buffer.from(Array.from({ length: 32 }, (_, byte) => byte))
    const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })
    const key = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')
    const body = { ...manifestBody(CID, SHARDS), createdAt: '2026-01-01T00:00:00Z' }
    assert.equal(manifestText(signedBody(body, { key, privateKey })).toString(), documented.toString())
    assert.equal(sha256(documented).toString('hex'), between('SHA-256 of its bytes: `', '`'))
    const trusted = publisherKey(key)
    assert.ok(trusted !== undefined)
    assert.equal(verifyManifest(documented, CID, { maxBytes: 10_000, publishers: new Map([[key, trusted]]), maxAgeMs: 0 }, 0).publisher, key)
  })

  test('has the hashes of blocks, the last of which is shorter', () => {
    const shard = Buffer.alloc(65_537, 7)
    const blocks = between('with a `blockSize` of 65,536:\n\n```\n', '\n```')
    assert.equal(Buffer.concat([sha256(shard.subarray(0, 65_536)), sha256(shard.subarray(65_536))]).toString('base64'), blocks)
    const [hashes] = readBlocks({ blockSize: 65_536, shards: Array.from({ length: 14 }, () => ({ blocks })) }, { shardSize: shard.length }, assert.fail) ?? []
    assert.equal(hashes?.hashes.length, 64)
  })

  test('has the proof of its last shard', () => {
    const hashes = SHARDS.map(shard => sha256(shard))
    const proof = between('Proof of shard 13:\n\n```\n', '\n```').split('\n').map(line => Buffer.from(line, 'hex'))
    assert.deepEqual(merkleProof(hashes, 13, sha256), proof)
    assert.deepEqual(rootOfProof(hashes[13] ?? Buffer.alloc(0), 13, 14, proof, sha256), merkleRoot(hashes, sha256))
  })

  test('lists every fault for which one is refused, and no other', () => {
    const [, table = ''] = text.split('## What is refused')
    const rows = table.split('## Test vectors')[0]?.split('\n').filter(line => line.startsWith('| `')) ?? []
    const listed = rows.flatMap(row => [...(row.split('|')[1] ?? '').matchAll(/`([a-z-]+)`/g)].map(([, fault]) => fault))
    assert.deepEqual(listed.toSorted(), [...MANIFEST_FAULTS].toSorted())
  })
})
