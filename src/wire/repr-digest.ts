/* Runs in browsers too: no Buffer here. */

/** `sha-256` member of a `Repr-Digest` dictionary (RFC 9530 §2); other algorithms and parameters may stand beside it. */
const SHA_256 = /(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?:;[^,]*)?(?=,|$)/

/** Bytes as lower-case hex. */
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

/** The SHA-256 of a `Repr-Digest` field as lower-case hex; undefined when it has none that is well-formed. */
export function parseReprDigest (field: string | undefined): string | undefined {
  const base64 = field === undefined ? undefined : SHA_256.exec(field)?.[1]
  const bytes = base64 === undefined ? undefined : bytesOfBase64(base64)
  return bytes === undefined ? undefined : hexOf(bytes)
}

/** @param sha256 lower-case hex */
export function formatReprDigest (sha256: string): string {
  const bytes = (sha256.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16))
  return `sha-256=:${btoa(String.fromCharCode(...bytes))}:`
}
