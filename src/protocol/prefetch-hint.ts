import { isCid, keyId, parseKeyId, type ShardKey } from './shard-key.ts'

/*
 * `icn-prefetch`: what a viewer will ask for next, in a request for something else. A list of structured fields (RFC 9651 §3.1), each a string
 * `<cid>/<part>` with the number of a shard or `manifest`: `"QmXxx/3", "QmXxx/4"`. A string and not a token, since a CID may begin with a digit.
 */

export const PREFETCH_FIELD = 'icn-prefetch'
/** Members that are read; a relay has no more ahead of a viewer. */
export const MAX_HINTS = 8
/** Longest field read: members of the longest CID, and as much again for parameters. */
const MAX_LENGTH = 2_048
/** One member: a string and its parameters, which mean nothing so far. */
const MEMBER = /[ \t]*"([ !#-[\]-~]*)"(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:"[ !#-[\]-~]*"|\??[A-Za-z0-9.:/+*-]+))?)*[ \t]*(,|$)/y

/** Of objects, at most {@link MAX_HINTS}; undefined of none. What has no CID is left out, and with it all that a header field cannot carry. */
export function formatPrefetchHint (keys: readonly ShardKey[]): string | undefined {
  return keys.filter(({ cid }) => isCid(cid)).slice(0, MAX_HINTS).map(key => `"${keyId(key)}"`).join(', ') || undefined
}

/** The objects that a field names, each once; none where it is no list of strings, as RFC 9651 §4.2 wants it. Strings that name no object are left out. Never throws. */
export function parsePrefetchHint (field: string | undefined): ShardKey[] {
  if (field === undefined || field.length > MAX_LENGTH) return []
  const ids = new Set<string>()
  MEMBER.lastIndex = 0
  for (let more = true; more;) {
    const member = MEMBER.exec(field)
    // A comma at the end announces a member that is not there.
    if (member === null) return []
    if (ids.size < MAX_HINTS) ids.add(member[1] ?? '')
    more = member[2] === ','
  }
  return [...ids].flatMap(id => parseKeyId(id) ?? [])
}
