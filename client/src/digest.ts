import type { Fields } from '../../src/protocol/message-head.ts'
import { bytesOfBase64, hexOf } from '../../src/protocol/repr-digest.ts'

/** The relay's entity-tag of an object whose hash it knows. */
const ETAG = /^"sha256-([0-9a-f]{64})"$/
/** The last SHA-256 of a `Repr-Digest` (RFC 9530 §2). Only who has to say what is wrong with a field reads all of it, as the relay does. */
const REPR_DIGEST = /^(?:.*,)?[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):/

/** SHA-256 of the whole object as the response states it, lower-case hex. */
export function statedSha256 (fields: Fields): string | undefined {
  const [, hex] = ETAG.exec(fields.get('etag') ?? '') ?? []
  const [, base64] = REPR_DIGEST.exec(fields.get('repr-digest') ?? '') ?? []
  const bytes = base64 === undefined ? undefined : bytesOfBase64(base64)
  return hex ?? (bytes && hexOf(bytes))
}
