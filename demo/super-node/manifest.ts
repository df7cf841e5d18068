import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { publisherKey, sha256 } from '../../src/plugins/integrity/verify-manifest.ts'
import { ManifestError, readManifest, signedText, type ManifestShard } from '../../src/protocol/manifest.ts'
import { merkleRoot } from '../../src/protocol/merkle.ts'
import { DATA_SHARDS, PARITY_SHARDS } from '../../src/protocol/shard-key.ts'
import type { DocumentSignature } from '../../src/protocol/signed-json.ts'
import { canonicalJson } from '../../src/protocol/strict-json.ts'

/** What the signature of a manifest covers. */
export interface ManifestBody {
  readonly version: 1
  readonly cid: string
  /** Bytes of the media, without the padding of its last data shard. */
  readonly size: number
  /** MIME type; with `codecs` where they are known, as MSE wants it. */
  readonly contentType: string
  readonly dataShards: number
  readonly parityShards: number
  /** Bytes of each shard. */
  readonly shardSize: number
  /** Of the whole media, lower-case hex. */
  readonly sha256: string
  /** Bytes of a block. */
  readonly blockSize: number
  /** Each with the SHA-256 of its blocks, one after the other, base64. */
  readonly shards: readonly (ManifestShard & { readonly blocks: string })[]
  /** See {@link merkleRoot}; lower-case hex. */
  readonly merkleRoot: string
}

/** A signed manifest. */
export interface Manifest extends ManifestBody {
  readonly signature: {
    readonly algorithm: 'ed25519'
    /** Raw 32 bytes, base64. */
    readonly publicKey: string
    /** Over the canonical JSON of the manifest without `signature`; 64 bytes, base64. */
    readonly value: string
  }
}

/** What a manifest is made from. */
export interface VideoFacts {
  readonly cid: string
  readonly size: number
  readonly contentType: string
  readonly sha256: Uint8Array
  readonly shardSize: number
  /** SHA-256 of the 14 shards in order. */
  readonly shardHashes: readonly Uint8Array[]
  /** Of their blocks of {@link BLOCK_SIZE}, one after the other. */
  readonly blockHashes: readonly Uint8Array[]
}

/** Bytes of a block that is verified by itself. */
export const BLOCK_SIZE = 131_072

/** SHA-256 of the blocks of what is {@link add}ed, piece by piece. */
export class BlockHasher {
  readonly #hashes: Buffer[] = []
  #hash = createHash('sha256')
  #bytes = 0

  add (bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + BLOCK_SIZE - this.#bytes)
      this.#hash.update(piece)
      this.#bytes += piece.length
      at += piece.length
      if (this.#bytes === BLOCK_SIZE) this.#endBlock()
    }
  }

  /** The hashes, one after the other; the last block may be shorter. */
  end (): Buffer {
    if (this.#bytes > 0) this.#endBlock()
    return Buffer.concat(this.#hashes)
  }

  #endBlock (): void {
    this.#hashes.push(this.#hash.digest())
    this.#hash = createHash('sha256')
    this.#bytes = 0
  }
}

export function blockHashesOf (shard: Uint8Array): Buffer {
  const hasher = new BlockHasher()
  hasher.add(shard)
  return hasher.end()
}

export type Verdict = { readonly ok: true } | { readonly ok: false, readonly reason: string }

// A demo key, public on purpose: every demo super-node signs with it, so all of them serve the same manifest bytes.
const DEMO_SEED = createHash('sha256').update('icn-relay demo super-node signing key: not a secret').digest()
const PKCS8_ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const demoPrivateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519_PREFIX, DEMO_SEED]), format: 'der', type: 'pkcs8' })

/** Public half of the demo key: raw 32 bytes, base64. */
export const DEMO_PUBLIC_KEY = Buffer.from(createPublicKey(demoPrivateKey).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')

/** CID of a demo video: `demo-` and the first 32 hex digits of the media's SHA-256. */
export function mediaCid (mediaSha256: Uint8Array): string {
  return `demo-${Buffer.from(mediaSha256).toString('hex').slice(0, 32)}`
}

/** The signed manifest of a video; the same facts give the same bytes in every process. */
export function buildManifest (video: VideoFacts): Manifest {
  const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex')
  const body: ManifestBody = {
    version: 1,
    cid: video.cid,
    size: video.size,
    contentType: video.contentType,
    dataShards: DATA_SHARDS,
    parityShards: PARITY_SHARDS,
    shardSize: video.shardSize,
    sha256: hex(video.sha256),
    blockSize: BLOCK_SIZE,
    shards: video.shardHashes.map((hash, index) => ({ index, size: video.shardSize, sha256: hex(hash), blocks: Buffer.from(video.blockHashes[index] ?? []).toString('base64') })),
    merkleRoot: hex(merkleRoot(video.shardHashes, sha256))
  }
  return { ...body, signature: { algorithm: 'ed25519', ...signText(canonicalJson(body)) } }
}

/** The signature of the demo key over a text. */
export function signText (text: string): DocumentSignature {
  return { publicKey: DEMO_PUBLIC_KEY, value: sign(null, Buffer.from(text), demoPrivateKey).toString('base64') }
}

/** Manifest as served: canonical JSON, UTF-8. */
export function manifestBytes (manifest: Manifest): Buffer {
  return Buffer.from(canonicalJson(manifest))
}

/**
 * Checks shape, Merkle root and signature of parsed JSON. A reader that trusted the key inside the manifest would trust anyone, so the
 * key is an argument.
 * @param publicKey raw Ed25519 key, base64
 */
export function verifyManifest (value: unknown, publicKey: string = DEMO_PUBLIC_KEY): Verdict {
  const { cid } = (value ?? {}) as { cid?: unknown }
  try {
    const { shards, merkleRoot: root, signature } = readManifest(value, String(cid))
    const hashes = shards.map(shard => Buffer.from(shard.sha256, 'hex'))
    if (root !== Buffer.from(merkleRoot(hashes, sha256)).toString('hex')) return { ok: false, reason: 'merkleRoot does not match the shard hashes' }
    if (signature === undefined) return { ok: false, reason: 'signature is missing' }
    if (signature.publicKey !== publicKey) return { ok: false, reason: 'signed with another key' }
    const key = publisherKey(publicKey)
    const genuine = key !== undefined && verify(null, Buffer.from(signedText(value)), key, Buffer.from(signature.value, 'base64'))
    return genuine ? { ok: true } : { ok: false, reason: 'the signature does not match' }
  } catch (error) {
    if (error instanceof ManifestError) return { ok: false, reason: error.message }
    throw error
  }
}
