import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkPublisher } from '../../../client/src/publisher-check.ts'
import { systemPlatform } from '../../../client/src/platform.ts'
import { encodeShards } from '../../../demo/super-node/erasure.ts'
import { blockHashesOf, buildManifest, DEMO_PUBLIC_KEY, manifestBytes } from '../../../demo/super-node/manifest.ts'
import { sha256 } from '../../../src/plugins/integrity/verify-manifest.ts'

const FILE = Buffer.alloc(1000, 7)
const SHARDS = encodeShards(FILE)
const MANIFEST = buildManifest({ cid: 'QmSigned', size: FILE.length, contentType: 'video/mp4', sha256: sha256(FILE), shardSize: 100, shardHashes: SHARDS.map(shard => sha256(shard)), blockHashes: SHARDS.map(blockHashesOf) })
const platform = systemPlatform()
const bytesOf = (manifest: object): Buffer => Buffer.from(JSON.stringify(manifest))
const refused = (message: RegExp): object => ({ name: 'ShardClientError', fault: 'manifest', message })

suite('who signed a manifest', () => {
  test('one of the publishers has, however it is written', async () => {
    await checkPublisher(manifestBytes(MANIFEST), ['other', DEMO_PUBLIC_KEY], platform)
    await checkPublisher(Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(MANIFEST).reverse()), undefined, 2)), [DEMO_PUBLIC_KEY], platform)
  })

  test('it is refused unsigned, of somebody else, changed, written so that readers differ, and where nothing can be checked', async () => {
    const { signature, ...unsigned } = MANIFEST
    const other = Buffer.alloc(32, 1).toString('base64')
    await assert.rejects(checkPublisher(bytesOf(unsigned), [DEMO_PUBLIC_KEY], platform), refused(/it is not signed/))
    await assert.rejects(checkPublisher(bytesOf(MANIFEST), [other], platform), refused(/none of the publishers/))
    await assert.rejects(checkPublisher(bytesOf(MANIFEST), [], platform), refused(/none of the publishers/))
    await assert.rejects(checkPublisher(bytesOf({ ...MANIFEST, size: 999 }), [DEMO_PUBLIC_KEY], platform), refused(/its signature is wrong/))
    await assert.rejects(checkPublisher(bytesOf({ ...MANIFEST, signature: { ...signature, publicKey: other } }), [other], platform), refused(/its signature (?:is wrong|could not be checked)/))
    await assert.rejects(checkPublisher(bytesOf({ ...MANIFEST, signature: { ...signature, value: 'AAAA' } }), [DEMO_PUBLIC_KEY], platform), refused(/another length/))
    await assert.rejects(checkPublisher(bytesOf({ ...MANIFEST, signature: { ...signature, algorithm: 'rsa' } }), [DEMO_PUBLIC_KEY], platform), refused(/not ed25519/))
    await assert.rejects(checkPublisher(Buffer.from(JSON.stringify(MANIFEST).replace('{', '{"size":1,')), [DEMO_PUBLIC_KEY], platform), refused(/not usable/))
    await assert.rejects(checkPublisher(Buffer.from('[]'), [DEMO_PUBLIC_KEY], platform), refused(/not an object/))
    await assert.rejects(checkPublisher(bytesOf(MANIFEST), [DEMO_PUBLIC_KEY], { ...platform, ed25519: undefined }), refused(/cannot check signatures/))
  })
})
