import { isOws, trimOws } from './ows.ts'

/** An entity-tag (RFC 9110 §8.8.3): weak mark, then the opaque tag with its quotes. Nothing is escaped, a comma may stand inside. */
const ENTITY_TAG = /(W\/)?("[\x21\x23-\x7e\x80-\xff]*")/y

interface EntityTag {
  readonly weak: boolean
  readonly opaque: string
  /** Where the text goes on after the tag. */
  readonly end: number
}

function entityTagAt (text: string, index: number): EntityTag | undefined {
  ENTITY_TAG.lastIndex = index
  const match = ENTITY_TAG.exec(text)
  if (match === null) return undefined
  return { weak: match[1] !== undefined, opaque: match[2] ?? '', end: ENTITY_TAG.lastIndex }
}

/**
 * Whether `If-None-Match` names the current representation, so that a GET or HEAD is answered with 304
 * (RFC 9110 §13.1.2: list, weak comparison, `*`). A value that is not well-formed throughout matches nothing; never throws.
 * @param etag the current entity-tag with its quotes
 */
export function matchesIfNoneMatch (header: string, etag: string): boolean {
  const current = entityTagAt(etag, 0)
  if (current?.end !== etag.length) return false
  if (trimOws(header) === '*') return true
  let matched = false
  let separated = true
  let index = 0
  while (index < header.length) {
    if (isOws(header[index])) {
      index++
    } else if (header[index] === ',') {
      separated = true
      index++
    } else {
      const tag = entityTagAt(header, index)
      if (tag === undefined || !separated) return false
      matched ||= tag.opaque === current.opaque
      separated = false
      index = tag.end
    }
  }
  return matched
}

/**
 * Whether `If-Range` lets the `Range` field count (RFC 9110 §13.1.5): strong comparison, so a weak tag on either side never
 * matches, and neither does a date, since shards have no modification time. Never throws.
 * @param etag the current entity-tag with its quotes
 */
export function ifRangeMatches (header: string, etag: string): boolean {
  const current = entityTagAt(etag, 0)
  return current?.weak === false && current.end === etag.length && trimOws(header) === etag
}
