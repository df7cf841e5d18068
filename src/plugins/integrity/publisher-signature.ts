import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import type { DocumentSignature } from '../../protocol/signed-json.ts'

/** Publishers whose signatures count, by their raw keys in base64. */
export type PublisherKeys = ReadonlyMap<string, KeyObject>

/** Why the signature of a document does not count. */
export type SignatureFault = 'unsigned' | 'publisher' | 'signature'

/** Clocks of publishers may be ahead of ours by so much, ms: what hosts without NTP drift in a few months. */
export const MAX_AHEAD_MS = 300_000
const RAW_KEY_BYTES = 32

/** An Ed25519 key from its 32 bytes in base64; undefined when it is none. */
export function publisherKey (text: string): KeyObject | undefined {
  const raw = Buffer.from(text, 'base64')
  if (raw.length !== RAW_KEY_BYTES || raw.toString('base64') !== text) return undefined
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' })
  } catch {
    return undefined
  }
}

/** The keys of `trust.publishers`. @throws RelayError RELAY_ERR_CONFIG naming the one that is none */
export function publisherKeys (publishers: readonly string[]): Map<string, KeyObject> {
  return new Map(publishers.map((text, position) => {
    const key = publisherKey(text)
    if (key === undefined) throw new RelayError('RELAY_ERR_CONFIG', `trust.publishers.${position} is not an Ed25519 public key`)
    return [text, key]
  }))
}

/**
 * Who of the publishers signed a document. Without publishers a signature is not needed, but one that is there must fit its own key.
 * @param text what the signature is over
 * @param what the document, for the error
 * @param refuse throws the error of the document
 * @returns the raw key in base64; undefined where there are no publishers
 */
export function publisherOf (signature: DocumentSignature | undefined, text: string, publishers: PublisherKeys, what: string, refuse: (fault: SignatureFault, detail: string) => never): string | undefined {
  if (signature === undefined) return publishers.size > 0 ? refuse('unsigned', `${what} is not signed`) : undefined
  const trusted = publishers.get(signature.publicKey)
  if (trusted === undefined && publishers.size > 0) return refuse('publisher', `${what} is signed by nobody in trust.publishers`)
  const key = trusted ?? publisherKey(signature.publicKey)
  if (key === undefined) return refuse('signature', 'the public key of the signature is not an Ed25519 key')
  if (!verify(null, Buffer.from(text), key, Buffer.from(signature.value, 'base64'))) return refuse('signature', `the signature does not fit ${what}`)
  return trusted === undefined ? undefined : signature.publicKey
}
