import { canonicalJson, parseStrictJson, StrictJsonError, type JsonFault } from './strict-json.ts'

/* What signed documents have in common, manifests and holder records. Runs in browsers too, so nothing is hashed or verified here. */

/** Why a signed document is refused that cannot be read, whatever it is about. */
export const SIGNED_JSON_FAULTS = ['too-large', 'encoding', 'syntax', 'depth', 'duplicate-key', 'shape', 'date', 'signature'] as const satisfies readonly (JsonFault | 'too-large' | 'shape' | 'date' | 'signature')[]

export type SignedJsonFault = (typeof SIGNED_JSON_FAULTS)[number]

/** Throws the error of the document in question. */
export type Refuse = (fault: SignedJsonFault, detail: string) => never

export interface DocumentSignature {
  /** Raw Ed25519 key of 32 bytes, base64. */
  readonly publicKey: string
  /** Over {@link signedText}, 64 bytes, base64. */
  readonly value: string
}

export type Members = Readonly<Record<string, unknown>>

/** Signed documents have three levels; unknown members may have some more. */
export const MAX_DOCUMENT_DEPTH = 8

const BASE64 = /^[A-Za-z0-9+/]{1,128}={0,2}$/
/** A date with its time and zone (RFC 3339). */
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

/** @param what the document, for the error */
export function parseDocument (bytes: Uint8Array, maxBytes: number, what: string, refuse: Refuse): unknown {
  if (bytes.length > maxBytes) return refuse('too-large', `${what} has ${bytes.length} bytes, at most ${maxBytes} are allowed`)
  try {
    return parseStrictJson(bytes, MAX_DOCUMENT_DEPTH)
  } catch (error) {
    if (error instanceof StrictJsonError) return refuse(error.fault, error.message)
    throw error
  }
}

export function membersOf (value: unknown, what: string, refuse: Refuse): Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Members : refuse('shape', `${what} is not an object`)
}

/** A date as ms since the epoch; undefined when there is none. */
export function dateOf (value: unknown, what: string, refuse: Refuse): number | undefined {
  if (value === undefined) return undefined
  const ms = typeof value === 'string' && DATE.test(value) ? Date.parse(value) : value
  return typeof ms === 'number' && Number.isSafeInteger(ms) && ms >= 0 ? ms : refuse('date', `${what} is neither a date nor milliseconds`)
}

/** Undefined when there is none. */
export function signatureOf (value: unknown, refuse: Refuse): DocumentSignature | undefined {
  if (value === undefined) return undefined
  const { algorithm, publicKey, value: text } = membersOf(value, 'signature', refuse)
  if (algorithm !== 'ed25519') return refuse('signature', 'the signature is not ed25519')
  if (typeof publicKey !== 'string' || !BASE64.test(publicKey)) return refuse('signature', 'the public key of the signature is not base64')
  if (typeof text !== 'string' || !BASE64.test(text)) return refuse('signature', 'the value of the signature is not base64')
  return { publicKey, value: text }
}

/** What the signature of a document is over: its canonical text (RFC 8785) without `signature`. Members nobody knows are in it. */
export function signedText (document: Members): string {
  const { signature: _signature, ...body } = document
  return canonicalJson(body)
}
