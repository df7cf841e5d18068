import { DATA_SHARDS, isCid, PARITY_SHARDS, TOTAL_SHARDS } from './shard-key.ts'
import { dateOf, membersOf, parseDocument, signatureOf, signedText as textOf, type DocumentSignature } from './signed-json.ts'

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
  /** CIDs of what is watched after it, best guess first; empty when it does not say. */
  readonly next: readonly string[]
  /** Names of groups that it belongs to, by which operators purge; empty when it does not say. */
  readonly tags: readonly string[]
  /** When it was made, ms since the epoch; undefined when it does not say. */
  readonly createdAt: number | undefined
  /** Undefined when it is not signed. */
  readonly signature: DocumentSignature | undefined
}

/** CIDs that a manifest may name as what is watched next. */
export const MAX_NEXT = 8
/** Tags that a manifest may have. */
export const MAX_TAGS = 16
/** A tag. */
export const TAG = /^[A-Za-z0-9._:-]{1,64}$/

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

const HEX_SHA256 = /^[0-9a-f]{64}$/

function refuse (fault: ManifestFault, detail: string): never {
  throw new ManifestError(fault, detail)
}

function amount (value: unknown, what: string): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 ? value : refuse('size', `${what} is not a positive integer`)
}

function hash (value: unknown, what: string): string {
  return typeof value === 'string' && HEX_SHA256.test(value) ? value : refuse('hash', `${what} is not 64 lower-case hex digits`)
}

function shardsOf (listed: unknown, shardSize: number): ManifestShard[] {
  if (!Array.isArray(listed) || listed.length !== TOTAL_SHARDS) refuse('code', `shards does not list ${TOTAL_SHARDS} shards`)
  return listed.map((entry: unknown, position) => {
    const shard = membersOf(entry, `entry ${position} of shards`, refuse)
    if (shard['index'] !== position) refuse('index', `entry ${position} of shards has another index`)
    if (shard['size'] !== shardSize) refuse('shard-size', `shard ${position} has not the size that shardSize says`)
    return { index: position, size: shardSize, sha256: hash(shard['sha256'], `the hash of shard ${position}`) }
  })
}

function nextOf (listed: unknown): readonly string[] {
  if (listed === undefined) return []
  if (!Array.isArray(listed) || listed.length > MAX_NEXT) refuse('shape', `next is not a list of ${MAX_NEXT} CIDs at most`)
  return listed.map((cid: unknown) => typeof cid === 'string' && isCid(cid) ? cid : refuse('cid', 'next names what is not a CID'))
}

/** Whether a text may name a group of videos: 1 to 64 of `A-Z a-z 0-9 . _ : -`. */
export function isTag (text: string): boolean {
  return TAG.test(text)
}

function tagsOf (listed: unknown): readonly string[] {
  if (listed === undefined) return []
  if (!Array.isArray(listed) || listed.length > MAX_TAGS) refuse('shape', `tags is not a list of ${MAX_TAGS} tags at most`)
  return listed.map((tag: unknown) => typeof tag === 'string' && isTag(tag) ? tag : refuse('shape', 'tags has what is not a tag'))
}

/**
 * Checks the shape of a manifest that is parsed already. Members that format 1 does not know are left alone.
 * @throws ManifestError naming the first thing that is wrong
 */
export function readManifest (value: unknown, cid: string): VideoManifest {
  const manifest = membersOf(value, 'the manifest', refuse)
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
    next: nextOf(manifest['next']),
    tags: tagsOf(manifest['tags']),
    createdAt: dateOf(manifest['createdAt'], 'createdAt', refuse),
    signature: signatureOf(manifest['signature'], refuse)
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
  const value = parseDocument(bytes, maxBytes, 'the manifest', refuse)
  return { manifest: readManifest(value, cid), signedText: signedText(value), value }
}

/** What the signature of a manifest is over: its canonical text (RFC 8785) without `signature`. Members nobody knows are in it. */
export function signedText (value: unknown): string {
  return textOf(membersOf(value, 'the manifest', refuse))
}
