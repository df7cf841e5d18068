import { isCid } from './shard-key.ts'
import { dateOf, membersOf, parseDocument, signatureOf, signedText, SIGNED_JSON_FAULTS, type DocumentSignature } from './signed-json.ts'
import { canonicalJson } from './strict-json.ts'

/*
 * Who has the objects of a CID, as publishers say it in the DHT, format 1: `docs/p2p.md`. Runs in browsers too: who checks the signature has crypto of his own.
 */

/** A super-node that has the objects of a CID. */
export interface CidHolder {
  /** `http://` or `https://` origin in its normal form. */
  readonly url: string
  readonly region: string
}

/** What a holder record says, once its shape is right. */
export interface HolderRecord {
  readonly cid: string
  /** Ms since the epoch. */
  readonly issuedAt: number
  /** Ms since the epoch; undefined when it does not say. */
  readonly expiresAt: number | undefined
  /** At least one, each once. */
  readonly holders: readonly CidHolder[]
  readonly signature: DocumentSignature | undefined
}

/** Why a holder record is refused; labels of a metric, so the list is closed. */
export const HOLDER_FAULTS = [...SIGNED_JSON_FAULTS, 'type', 'version', 'cid', 'holders', 'url', 'region', 'unsigned', 'publisher', 'stale'] as const

export type HolderFault = (typeof HOLDER_FAULTS)[number]

export class HolderRecordError extends Error {
  override readonly name = 'HolderRecordError'
  readonly fault: HolderFault

  constructor (fault: HolderFault, detail: string) {
    super(detail)
    this.fault = fault
  }
}

/** What says that it is such a record: the same key signs manifests. */
const TYPE = 'icn-holders'
/** Of the whole text, bytes: 16 holders with the longest names there are take half of it. */
export const MAX_RECORD_BYTES = 16_384
export const MAX_HOLDERS = 16
const MAX_URL_CHARS = 300
const REGION = /^[A-Z0-9-]{1,32}$/
/** No credentials, no path, no query: what is asked for there is ours to say. */
const ORIGIN = /^https?:\/\/[^/?#@\\\s]+\/?$/i

function refuse (fault: HolderFault, detail: string): never {
  throw new HolderRecordError(fault, detail)
}

function holderOf (value: unknown, position: number): CidHolder {
  const what = `holder ${position}`
  const { url, region } = membersOf(value, what, refuse)
  if (typeof url !== 'string' || url.length > MAX_URL_CHARS || !ORIGIN.test(url) || !URL.canParse(url)) return refuse('url', `the URL of ${what} is not an origin, http or https`)
  if (typeof region !== 'string' || !REGION.test(region)) return refuse('region', `the region of ${what} is none`)
  return { url: new URL(url).origin, region }
}

function holdersOf (listed: unknown): CidHolder[] {
  if (!Array.isArray(listed) || listed.length === 0 || listed.length > MAX_HOLDERS) return refuse('holders', `holders does not list 1 to ${MAX_HOLDERS} holders`)
  const holders = listed.map(holderOf)
  return new Set(holders.map(({ url }) => url)).size === holders.length ? holders : refuse('holders', 'a holder is there twice')
}

/** A record as it came, with what its signature is over. */
export interface ParsedHolderRecord {
  readonly record: HolderRecord
  readonly signedText: string
}

/**
 * Parses the bytes of a record and checks their shape, and nothing that needs a key or a clock.
 * @throws HolderRecordError naming the first thing that is wrong
 */
export function parseHolderRecord (bytes: Uint8Array, cid: string): ParsedHolderRecord {
  const members = membersOf(parseDocument(bytes, MAX_RECORD_BYTES, 'the record', refuse), 'the record', refuse)
  if (members['type'] !== TYPE) refuse('type', `type is not ${TYPE}`)
  if (members['version'] !== 1) refuse('version', 'version is not 1')
  if (typeof members['cid'] !== 'string' || !isCid(members['cid'])) refuse('cid', 'cid is not a CID')
  if (members['cid'] !== cid) refuse('cid', 'the record is of another CID')
  const issuedAt = dateOf(members['issuedAt'], 'issuedAt', refuse) ?? refuse('date', 'issuedAt is missing')
  const record = { cid, issuedAt, expiresAt: dateOf(members['expiresAt'], 'expiresAt', refuse), holders: holdersOf(members['holders']), signature: signatureOf(members['signature'], refuse) }
  return { record, signedText: signedText(members) }
}

export interface HolderRecordFacts {
  readonly cid: string
  readonly holders: readonly CidHolder[]
  /** Ms since the epoch. */
  readonly issuedAt: number
  /** Ms since the epoch. */
  readonly expiresAt?: number
}

/**
 * The canonical bytes of a record, for publishers.
 * @param sign gives the signature of a text
 */
export function holderRecordBytes ({ cid, holders, issuedAt, expiresAt }: HolderRecordFacts, sign: (text: string) => DocumentSignature): Uint8Array {
  const dates = { issuedAt: new Date(issuedAt).toISOString(), ...expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() } }
  const body = { type: TYPE, version: 1, cid, holders, ...dates }
  const { publicKey, value } = sign(canonicalJson(body))
  return new TextEncoder().encode(canonicalJson({ ...body, signature: { algorithm: 'ed25519', publicKey, value } }))
}
