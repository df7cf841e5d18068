import { RelayError } from '../../base/errors.ts'

/** What a request to purge names: of a path, or of a body. */
export interface NamedCids {
  readonly cid?: unknown
  readonly cids?: unknown
  readonly prefix?: unknown
}

/**
 * Refuses what reaches beyond the CIDs that a token may purge. Tags and everything do: nobody knows which CIDs they will be.
 * @param allowed beginnings of CIDs
 * @throws RelayError RELAY_ERR_ADMIN_SCOPE
 */
export function refuseOutside (allowed: readonly string[], { cid, cids, prefix }: NamedCids): void {
  const named = [...typeof cid === 'string' ? [cid] : [], ...Array.isArray(cids) ? cids.map(String) : [], ...typeof prefix === 'string' ? [prefix.replace(/\*$/, '')] : []]
  if (named.length > 0 && named.every(name => allowed.some(start => name.startsWith(start)))) return
  throw new RelayError('RELAY_ERR_ADMIN_SCOPE', 'the token may purge CIDs and prefixes that begin as its cid_prefixes, and nothing else')
}
