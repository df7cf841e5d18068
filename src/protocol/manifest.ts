import { DATA_SHARDS, isCid, PARITY_SHARDS, TOTAL_SHARDS } from './shard-key.ts'
import { canonicalJson, parseStrictJson, StrictJsonError } from './strict-json.ts'

/*
 * The manifest of a video, format 1: `docs/manifest.md`. Runs in browsers too, so nothing is hashed here; who checks root and signature has
 * crypto of his own.
 */

export interface ManifestShard {
  readonly index: number
  /** Bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

export interface ManifestSignature {
  /** Raw Ed25519 key of 32 bytes, base64. */
  readonly publicKey: string
  /** Over {@link signedText}, 64 bytes, base64. */
  readonly value: string
}

/** What a manifest says, once its shape is right. */
export interface VideoManifest {
  readonly cid: string
  /** Bytes of the whole video. */
  readonly size: number
  readonly contentType: string
  /** Bytes of every shard. */
  readonly shardSize: number
  /** Of the whole video, lower-case hex. */
  readonly sha256: string
  /** By index. */
  readonly shards: readonly ManifestShard[]
  /** Of the tree over the hashes of the shards, lower-case hex. */
  readonly merkleRoot: string
  /** When it was made, ms since the epoch; undefined when it does not say. */
  readonly createdAt: number | undefined
  /** Undefined when it is not signed. */
  readonly signature: ManifestSignature | undefined
}

/** Why a manifest is refused; labels of a metric, so the list is closed. */
export const MANIFEST_FAULTS = [
  'too-large', 'encoding', 'syntax', 'depth', 'duplicate-key', 'shape', 'version', 'cid', 'code', 'size', 'index', 'shard-size', 'hash', 'date',
  'root', 'blocks', 'unsigned', 'signature', 'publisher', 'stale'
] as const

export type ManifestFault = (typeof MANIFEST_FAULTS)[number]

export class ManifestError extends Error {
  override readonly name = 'ManifestError'
  readonly fault: ManifestFault

  constructor (fault: ManifestFault, detail: string) {
    super(detail)
    this.fault = fault
  }
}

/** A manifest has three levels; unknown members may have some more. */
export const MAX_MANIFEST_DEPTH = 8

const HEX_SHA256 = /^[0-9a-f]{64}$/
const BASE64 = /^[A-Za-z0-9+/]{1,128}={0,2}$/
/** A date with its time and zone (RFC 3339). */
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

type Members = Readonly<Record<string, unknown>>

function refuse (fault: ManifestFault, detail: string): never {
  throw new ManifestError(fault, detail)
}

function members (value: unknown, what: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse('shape', `${what} is not an object`)
  return value as Members
}

function amount (value: unknown, what: string): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 ? value : refuse('size', `${what} is not a positive integer`)
}

function hash (value: unknown, what: string): string {
  return typeof value === 'string' && HEX_SHA256.test(value) ? value : refuse('hash', `${what} is not 64 lower-case hex digits`)
}

function date (value: unknown): number | undefined {
  if (value === undefined) return undefined
  const ms = typeof value === 'string' && DATE.test(value) ? Date.parse(value) : value
  return typeof ms === 'number' && Number.isSafeInteger(ms) && ms >= 0 ? ms : refuse('date', 'createdAt is neither a date nor milliseconds')
}

function signature (value: unknown): ManifestSignature | undefined {
  if (value === undefined) return undefined
  const { algorithm, publicKey, value: text } = members(value, 'signature')
  if (algorithm !== 'ed25519') refuse('signature', 'the signature is not ed25519')
  if (typeof publicKey !== 'string' || !BASE64.test(publicKey)) refuse('signature', 'the public key of the signature is not base64')
  if (typeof text !== 'string' || !BASE64.test(text)) refuse('signature', 'the value of the signature is not base64')
  return { publicKey, value: text }
}

function shardsOf (listed: unknown, shardSize: number): ManifestShard[] {
  if (!Array.isArray(listed) || listed.length !== TOTAL_SHARDS) refuse('code', `shards does not list ${TOTAL_SHARDS} shards`)
  return listed.map((entry: unknown, position) => {
    const shard = members(entry, `entry ${position} of shards`)
    if (shard['index'] !== position) refuse('index', `entry ${position} of shards has another index`)
    if (shard['size'] !== shardSize) refuse('shard-size', `shard ${position} has not the size that shardSize says`)
    return { index: position, size: shardSize, sha256: hash(shard['sha256'], `the hash of shard ${position}`) }
  })
}

/**
 * Checks the shape of a manifest that is parsed already. Members that format 1 does not know are left alone.
 * @throws ManifestError naming the first thing that is wrong
 */
export function readManifest (value: unknown, cid: string): VideoManifest {
  const manifest = members(value, 'the manifest')
  if (manifest['version'] !== 1) refuse('version', 'version is not 1')
  if (typeof manifest['cid'] !== 'string' || !isCid(manifest['cid'])) refuse('cid', 'cid is not a CID')
  if (manifest['cid'] !== cid) refuse('cid', 'the manifest is of another CID')
  if (manifest['dataShards'] !== DATA_SHARDS || manifest['parityShards'] !== PARITY_SHARDS) refuse('code', `the code is not ${DATA_SHARDS}+${PARITY_SHARDS}`)
  const contentType = manifest['contentType']
  if (typeof contentType !== 'string') refuse('shape', 'contentType is not a string')
  const size = amount(manifest['size'], 'size')
  const shardSize = amount(manifest['shardSize'], 'shardSize')
  if (size > shardSize * DATA_SHARDS) refuse('size', 'the shards are too small for the video')
  return {
    cid,
    size,
    contentType,
    shardSize,
    sha256: hash(manifest['sha256'], 'sha256'),
    shards: shardsOf(manifest['shards'], shardSize),
    merkleRoot: hash(manifest['merkleRoot'], 'merkleRoot'),
    createdAt: date(manifest['createdAt']),
    signature: signature(manifest['signature'])
  }
}

/** A manifest as it came, with what its signature is over. */
export interface ParsedManifest {
  readonly manifest: VideoManifest
  /** See {@link signedText}. */
  readonly signedText: string
  /** All of it, members included that format 1 does not know. */
  readonly value: unknown
}

/**
 * Parses the bytes of a manifest and checks their shape, and nothing that needs a hash.
 * @param maxBytes of the whole text
 * @throws ManifestError
 */
export function parseManifest (bytes: Uint8Array, cid: string, maxBytes: number): ParsedManifest {
  if (bytes.length > maxBytes) refuse('too-large', `the manifest has ${bytes.length} bytes, at most ${maxBytes} are allowed`)
  let value: unknown
  try {
    value = parseStrictJson(bytes, MAX_MANIFEST_DEPTH)
  } catch (error) {
    if (error instanceof StrictJsonError) refuse(error.fault, error.message)
    throw error
  }
  return { manifest: readManifest(value, cid), signedText: signedText(value), value }
}

/** What the signature of a manifest is over: its canonical text (RFC 8785) without `signature`. Members nobody knows are in it. */
export function signedText (value: unknown): string {
  const { signature: _signature, ...body } = members(value, 'the manifest')
  return canonicalJson(body)
}
