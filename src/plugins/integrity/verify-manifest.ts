import { createHash } from 'node:crypto'
import { ManifestError, parseManifest, type ManifestFault, type VideoManifest } from '../../protocol/manifest.ts'
import { readBlocks, type BlockHashes } from '../../protocol/manifest-blocks.ts'
import { merkleRoot } from '../../protocol/merkle.ts'
import { MAX_AHEAD_MS, publisherOf, type PublisherKeys } from './publisher-signature.ts'

export { publisherKey } from './publisher-signature.ts'

/** What a manifest must be to be taken for what some node says of a CID. */
export interface ManifestPolicy {
  /** Bytes. */
  readonly maxBytes: number
  /** Whose signatures count; empty when none is needed. */
  readonly publishers: PublisherKeys
  /** Oldest that is taken, ms; 0 for any age. */
  readonly maxAgeMs: number
}

/** A manifest with everything checked that can be checked on itself. */
export interface CheckedManifest {
  readonly manifest: VideoManifest
  /** Of each shard, by index; undefined when it has none. */
  readonly blocks: readonly BlockHashes[] | undefined
  /** Of its bytes, lower-case hex. */
  readonly digest: string
  /** Bytes. */
  readonly size: number
  /** The publisher of the policy that signed it, as raw key in base64. */
  readonly publisher: string | undefined
}

/** SHA-256 of the parts, one after the other. */
export function sha256 (...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/**
 * Checks the bytes of a manifest: shape, Merkle root, age and signature. Without publishers a signature is not needed, but one that is there
 * must fit its own key.
 * @param now wall clock, ms
 * @throws ManifestError
 */
export function verifyManifest (bytes: Uint8Array, cid: string, { maxBytes, publishers, maxAgeMs }: ManifestPolicy, now: number): CheckedManifest {
  const { manifest, signedText, value } = parseManifest(bytes, cid, maxBytes)
  const root = merkleRoot(manifest.shards.map(shard => Buffer.from(shard.sha256, 'hex')), sha256)
  if (Buffer.from(root).toString('hex') !== manifest.merkleRoot) throw new ManifestError('root', 'merkleRoot does not fit the hashes of the shards')
  const blocks = readBlocks(value, manifest, why => { throw new ManifestError('blocks', why) })
  if (maxAgeMs > 0) checkAge(manifest.createdAt, maxAgeMs, now)
  return { manifest, blocks, digest: sha256(bytes).toString('hex'), size: bytes.length, publisher: publisherOf(manifest.signature, signedText, publishers, 'the manifest', refuse) }
}

function checkAge (createdAt: number | undefined, maxAgeMs: number, now: number): void {
  if (createdAt === undefined) throw new ManifestError('stale', 'the manifest does not say when it was made')
  if (now - createdAt > maxAgeMs) throw new ManifestError('stale', 'the manifest is too old')
  if (createdAt - now > MAX_AHEAD_MS) throw new ManifestError('stale', 'the manifest was made in the future')
}

function refuse (fault: ManifestFault, detail: string): never {
  throw new ManifestError(fault, detail)
}
