/** Manifests as publishers make them, and bytes to go with them. */
import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { sha256 } from '../../src/plugins/integrity/verify-manifest.ts'
import { merkleRoot } from '../../src/protocol/merkle.ts'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'
import { canonicalJson } from '../../src/protocol/strict-json.ts'

export interface Publisher {
  /** Raw key, base64, as `trust.publishers` lists it. */
  readonly key: string
  readonly privateKey: KeyObject
}

export function makePublisher (): Publisher {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return { key: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64'), privateKey }
}

/** The shards of a made-up video; `label` tells one version from another. */
export function videoShards (cid: string, shardSize: number, label = ''): Buffer[] {
  return Array.from({ length: TOTAL_SHARDS }, (_, index) => Buffer.alloc(shardSize, sha256(Buffer.from(`${cid}/${index}${label}`))))
}

/** What a manifest of these shards says, not signed. */
export function manifestBody (cid: string, shards: readonly Buffer[]): Record<string, unknown> {
  const shardSize = shards[0]?.length ?? 0
  const hashes = shards.map(shard => sha256(shard))
  return {
    version: 1,
    cid,
    size: shardSize * DATA_SHARDS,
    contentType: 'video/mp4',
    dataShards: DATA_SHARDS,
    parityShards: PARITY_SHARDS,
    shardSize,
    sha256: sha256(...shards.slice(0, DATA_SHARDS)).toString('hex'),
    shards: hashes.map((hash, index) => ({ index, size: shardSize, sha256: hash.toString('hex') })),
    merkleRoot: Buffer.from(merkleRoot(hashes, sha256)).toString('hex')
  }
}

/** With the signature of a publisher over it. */
export function signedBody (body: Record<string, unknown>, { key, privateKey }: Publisher): Record<string, unknown> {
  const value = sign(null, Buffer.from(canonicalJson(body)), privateKey).toString('base64')
  return { ...body, signature: { algorithm: 'ed25519', publicKey: key, value } }
}

/** As it is sent. */
export function manifestText (body: Record<string, unknown>): Buffer {
  return Buffer.from(canonicalJson(body))
}
