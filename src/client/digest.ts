import type { Fields } from '../wire/message-head.ts'

/** The relay's entity-tag of an object whose hash it knows. */
const ETAG = /^"sha256-([0-9a-f]{64})"$/
/** `sha-256` member of a `Repr-Digest` dictionary (RFC 9530 §2). */
const REPR_DIGEST = /(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?:;[^,]*)?(?=,|$)/

export function hexOf (bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Base64 to bytes; undefined when it is not base64. */
export function bytesOfBase64 (text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  } catch {
    return undefined
  }
}

/** SHA-256 of the whole object as the response states it, lower-case hex. */
export function statedSha256 (fields: Fields): string | undefined {
  const fromTag = ETAG.exec(fields.get('etag') ?? '')?.[1]
  if (fromTag !== undefined) return fromTag
  const base64 = REPR_DIGEST.exec(fields.get('repr-digest') ?? '')?.[1]
  const bytes = base64 === undefined ? undefined : bytesOfBase64(base64)
  return bytes?.length === 32 ? hexOf(bytes) : undefined
}
