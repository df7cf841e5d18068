import { trimOws } from './ows.ts'

/*
 * The `Via` header field (RFC 9110 §7.6.3): `#( received-protocol RWS received-by [ RWS comment ] )`. Members are kept in the form
 * `1.1 name`; comments are dropped, which any recipient may do.
 */

/** Members that are read of a field: twice what `upstream.max_hops` may be at most. */
export const MAX_VIA_MEMBERS = 32

/** `received-protocol RWS received-by`; a received-by may also be a host in brackets, which older software sends. */
const MEMBER = /^((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}\/)?[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})[ \t]+([!#$%&'*+.^_`|~0-9A-Za-z:[\]-]{1,255})$/

/** `field` without comments, which nest and may hold quoted pairs (RFC 9110 §5.6.5); one that does not end is not a comment. */
function withoutComments (field: string): string {
  if (!field.includes('(')) return field
  let depth = 0
  let opened = 0
  let kept = ''
  for (let at = 0; at < field.length; at++) {
    const char = field[at] ?? ''
    if (char === '(' && depth++ === 0) opened = at
    else if (depth === 0) kept += char
    // A space in its place, so that what stands around it does not become one name.
    else if (char === ')' && --depth === 0) kept += ' '
    else if (char === '\\') at++
  }
  return depth > 0 ? kept + field.slice(opened) : kept
}

/**
 * The members of a `Via` field, first relay first, each as `protocol name`; at most {@link MAX_VIA_MEMBERS}, which is more than any request may
 * have that is served. What does not follow the grammar was written by a proxy before us: it names no relay, and is left out.
 * @param field lines of the field joined with commas; undefined when there is none
 */
export function parseVia (field: string | undefined): string[] {
  if (field === undefined) return []
  const members: string[] = []
  for (const element of withoutComments(field).split(',')) {
    const [, protocol, name] = MEMBER.exec(trimOws(element)) ?? []
    if (protocol === undefined || name === undefined) continue
    members.push(`${protocol} ${name}`)
    if (members.length === MAX_VIA_MEMBERS) break
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
