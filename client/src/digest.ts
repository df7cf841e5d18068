import type { Fields } from '../../src/protocol/message-head.ts'
import { parseReprDigest } from '../../src/protocol/repr-digest.ts'

/** The relay's entity-tag of an object whose hash it knows. */
const ETAG = /^"sha256-([0-9a-f]{64})"$/

/** SHA-256 of the whole object as the response states it, lower-case hex. */
export function statedSha256 (fields: Fields): string | undefined {
  return ETAG.exec(fields.get('etag') ?? '')?.[1] ?? parseReprDigest(fields.get('repr-digest'))
}
