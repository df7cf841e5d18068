import { RelayError } from '../errors.ts'
import { isOws, trimOws } from './ows.ts'

/*
 * The `Via` header field (RFC 9110 §7.6.3): `#( received-protocol RWS received-by [ RWS comment ] )`. Members are kept in the form
 * `1.1 name`; comments are dropped, which any recipient may do.
 */

/** Members a field may have before it is refused; far above any chain that is served. */
export const MAX_VIA_MEMBERS = 32

/** `received-protocol RWS received-by`; a received-by may also be a host in brackets, which older software sends. */
const MEMBER = /^((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}\/)?[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})[ \t]+([!#$%&'*+.^_`|~0-9A-Za-z:[\]-]{1,255})$/

const malformed = (why: string): RelayError => new RelayError('RELAY_ERR_BAD_REQUEST', `malformed via: ${why}`)

/** `field` without comments, which nest and may hold quoted pairs (RFC 9110 §5.6.5). */
function withoutComments (field: string): string {
  if (!field.includes('(')) return field
  let depth = 0
  let kept = ''
  for (let at = 0; at < field.length; at++) {
    const char = field[at] ?? ''
    // A comment stands behind white space, never inside a name.
    if (char === '(' && depth === 0 && !isOws(field[at - 1])) throw malformed('a comment without white space before it')
    if (char === '(') depth++
    else if (char === ')' && depth > 0) depth--
    else if (depth === 0) kept += char
    else if (char === '\\') at++
  }
  if (depth > 0) throw malformed('a comment does not end')
  return kept
}

/**
 * The members of a `Via` field, first relay first, each as `protocol name`. Empty list elements are skipped (RFC 9110 §5.6.1.2).
 * @param field lines of the field joined with commas; undefined when there is none
 * @throws RelayError RELAY_ERR_BAD_REQUEST when it does not follow the grammar or has more than {@link MAX_VIA_MEMBERS} members
 */
export function parseVia (field: string | undefined): string[] {
  if (field === undefined) return []
  const members: string[] = []
  for (const element of withoutComments(field).split(',')) {
    const text = trimOws(element)
    if (text === '') continue
    const [, protocol, name] = MEMBER.exec(text) ?? []
    if (protocol === undefined || name === undefined) throw malformed('a member is not a protocol and a name')
    if (members.push(`${protocol} ${name}`) > MAX_VIA_MEMBERS) throw malformed(`more than ${MAX_VIA_MEMBERS} members`)
  }
  return members
}

/** Inverse of {@link parseVia}. */
export function formatVia (members: readonly string[]): string {
  return members.join(', ')
}

/** Who received the message, in lower case: a pseudonym stands for a host name, and those have no case. */
export function receivedBy (member: string): string {
  return member.slice(member.indexOf(' ') + 1).toLowerCase()
}
