import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { DATA_SHARDS, PARITY_SHARDS, TOTAL_SHARDS, isCid } from '../../src/protocol/shard-key.ts'

/** One shard as the manifest lists it. */
export interface ManifestShard {
  readonly index: number
  /** Bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

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
  readonly shards: readonly ManifestShard[]
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
}

export type Verdict = { readonly ok: true } | { readonly ok: false, readonly reason: string }

// A demo key, public on purpose: every demo super-node signs with it, so all of them serve the same manifest bytes.
const DEMO_SEED = createHash('sha256').update('icn-relay demo super-node signing key: not a secret').digest()
const PKCS8_ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const demoPrivateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519_PREFIX, DEMO_SEED]), format: 'der', type: 'pkcs8' })

/** Public half of the demo key: raw 32 bytes, base64. */
export const DEMO_PUBLIC_KEY = Buffer.from(createPublicKey(demoPrivateKey).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')

function sha256 (...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** RFC 8785 canonical JSON: members sorted by UTF-16 code unit, no white space; undefined members are left out. */
export function canonicalJson (value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined)
    members.sort(([a], [b]) => a < b ? -1 : 1)
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

/**
 * Root of the tree over shard hashes: a leaf is SHA-256(0x00 || shard hash), a node is SHA-256(0x01 || left || right), and the odd
 * node at the end of a level moves up unchanged. The prefixes keep a node from passing for a leaf.
 * @throws RangeError when there are no hashes
 */
export function merkleRoot (shardHashes: readonly Uint8Array[]): Buffer {
  let level = shardHashes.map(hash => sha256(Uint8Array.of(0), hash))
  while (level.length > 1) {
    const above: Buffer[] = []
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = level.slice(at, at + 2)
      if (left !== undefined) above.push(right === undefined ? left : sha256(Uint8Array.of(1), left, right))
    }
    level = above
  }
  const [root] = level
  if (root === undefined) throw new RangeError('a tree needs at least one shard hash')
  return root
}

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
    shards: video.shardHashes.map((hash, index) => ({ index, size: video.shardSize, sha256: hex(hash) })),
    merkleRoot: hex(merkleRoot(video.shardHashes))
  }
  const value = sign(null, Buffer.from(canonicalJson(body)), demoPrivateKey).toString('base64')
  return { ...body, signature: { algorithm: 'ed25519', publicKey: DEMO_PUBLIC_KEY, value } }
}

/** Manifest as served: canonical JSON, UTF-8. */
export function manifestBytes (manifest: Manifest): Buffer {
  return Buffer.from(canonicalJson(manifest))
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const HEX_SHA256 = /^[0-9a-f]{64}$/

function shapeFault (body: Record<string, unknown>): string | undefined {
  const { size, shardSize, shards } = body
  if (body.version !== 1) return 'version is not 1'
  if (typeof body.cid !== 'string' || !isCid(body.cid)) return 'cid is not a CID'
  if (typeof body.contentType !== 'string') return 'contentType is not a string'
  if (body.dataShards !== DATA_SHARDS || body.parityShards !== PARITY_SHARDS) return `the code is not ${DATA_SHARDS}+${PARITY_SHARDS}`
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1) return 'size is not a positive integer'
  if (shardSize !== Math.ceil(size / DATA_SHARDS)) return 'shardSize is not ceil(size / 10)'
  if (typeof body.sha256 !== 'string' || !HEX_SHA256.test(body.sha256)) return 'sha256 is not 64 hex digits'
  if (!Array.isArray(shards) || shards.length !== TOTAL_SHARDS) return `shards does not list ${TOTAL_SHARDS} shards`
  const wrong = shards.findIndex((shard: unknown, index) => !isRecord(shard) || shard.index !== index || shard.size !== shardSize ||
    typeof shard.sha256 !== 'string' || !HEX_SHA256.test(shard.sha256))
  return wrong === -1 ? undefined : `entry ${wrong} of shards is wrong`
}

/**
 * Checks shape, Merkle root and signature of parsed JSON. A reader that trusted the key inside the manifest would trust anyone, so the
 * key is an argument.
 * @param publicKey raw Ed25519 key, base64
 */
export function verifyManifest (value: unknown, publicKey: string = DEMO_PUBLIC_KEY): Verdict {
  if (!isRecord(value)) return { ok: false, reason: 'the manifest is not an object' }
  const { signature, ...body } = value
  const fault = shapeFault(body)
  if (fault !== undefined) return { ok: false, reason: fault }
  const hashes = (body.shards as ManifestShard[]).map(shard => Buffer.from(shard.sha256, 'hex'))
  if (body.merkleRoot !== merkleRoot(hashes).toString('hex')) return { ok: false, reason: 'merkleRoot does not match the shard hashes' }
  if (!isRecord(signature) || signature.algorithm !== 'ed25519' || typeof signature.value !== 'string') {
    return { ok: false, reason: 'signature is missing or not ed25519' }
  }
  if (signature.publicKey !== publicKey) return { ok: false, reason: 'signed with another key' }
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey, 'base64').toString('base64url') }, format: 'jwk' })
  const genuine = verify(null, Buffer.from(canonicalJson(body)), key, Buffer.from(signature.value, 'base64'))
  return genuine ? { ok: true } : { ok: false, reason: 'the signature does not match' }
}
