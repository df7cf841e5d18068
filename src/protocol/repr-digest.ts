/* Runs in browsers too: no Buffer here. */

/** What a `Repr-Digest` field (RFC 9530 §2) says, in the algorithms we can check; lower-case hex. */
export interface Digests {
  readonly sha256: string | undefined
  readonly sha512: string | undefined
  /** Why a field that is there names no digest of ours: another algorithm only, or not well-formed. */
  readonly unusable: 'algorithm' | 'malformed' | undefined
}

const ITEM = String.raw`:[A-Za-z0-9+/=]*:|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[^\s,;"():=]+`
const KEY = String.raw`[a-z*][a-z0-9_.*-]*`
/** A member of a dictionary with its parameters (RFC 8941 §3.2), and what stands behind it. */
const MEMBER = new RegExp(String.raw`[ \t]*(${KEY})(?:=(${ITEM}))?(?:[ \t]*;[ \t]*${KEY}(?:=(?:${ITEM}))?)*[ \t]*(,|$)`, 'y')

const NONE: Digests = { sha256: undefined, sha512: undefined, unusable: undefined }
const MALFORMED: Digests = { ...NONE, unusable: 'malformed' }

/** Bytes as lower-case hex. */
export function hexOf (bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
}

/** Base64 to bytes; undefined when it is not base64. */
export function bytesOfBase64 (text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const binary = atob(text)
    const bytes = new Uint8Array(binary.length)
    // `Uint8Array.from` with a function takes many times as long, which counts for the block hashes of a manifest.
    for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at)
    return bytes
  } catch {
    return undefined
  }
}

/** The digests of a field whose lines are joined with commas; undefined when there is none. Of two members of a name the last counts (RFC 8941 §3.2). */
export function parseDigests (field: string | undefined): Digests {
  if (field === undefined) return NONE
  const members = new Map<string, string>()
  for (let at = 0; at < field.length; at = MEMBER.lastIndex) {
    MEMBER.lastIndex = at
    const [, key, value, end] = MEMBER.exec(field) ?? []
    if (key === undefined) return MALFORMED
    members.set(key, value ?? '')
    if (end === '') break
  }
  const sha256 = digestOf(members.get('sha-256'), 32)
  const sha512 = digestOf(members.get('sha-512'), 64)
  const ours = members.has('sha-256') || members.has('sha-512')
  return { sha256, sha512, unusable: sha256 !== undefined || sha512 !== undefined ? undefined : ours ? 'malformed' : 'algorithm' }
}

/** @param sha256 lower-case hex */
export function formatReprDigest (sha256: string): string {
  const bytes = (sha256.match(/../g) ?? []).map(pair => Number.parseInt(pair, 16))
  return `sha-256=:${btoa(String.fromCharCode(...bytes))}:`
}

/** @param item a byte sequence between colons */
function digestOf (item: string | undefined, length: number): string | undefined {
  const bytes = item?.startsWith(':') === true ? bytesOfBase64(item.slice(1, -1)) : undefined
  return bytes?.length === length ? hexOf(bytes) : undefined
}
