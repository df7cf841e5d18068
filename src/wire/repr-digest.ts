/** `sha-256` member of a `Repr-Digest` dictionary (RFC 9530 §2); other algorithms and parameters may stand beside it. */
const SHA_256 = /(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?:;[^,]*)?(?=,|$)/

/** The SHA-256 of a `Repr-Digest` field as lower-case hex; undefined when it has none that is well-formed. */
export function parseReprDigest (field: string | undefined): string | undefined {
  const base64 = field === undefined ? undefined : SHA_256.exec(field)?.[1]
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('hex')
}

/** @param sha256 lower-case hex */
export function formatReprDigest (sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`
}
