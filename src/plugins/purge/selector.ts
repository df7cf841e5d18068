import { RelayError } from '../../base/errors.ts'

/** What is to be purged: exactly one of these. */
export interface PurgeSelector {
  readonly cids?: readonly string[]
  /** Of CIDs, with or without `*` behind it. */
  readonly prefix?: string
  readonly tag?: string
  readonly all?: true
}

/** CIDs of one purge. */
export const MAX_PURGE_CIDS = 1_000

/** CIDs as a purge matches them. */
export interface SelectedCids {
  readonly matches: (cid: string) => boolean
  /** All of them, where they are named. */
  readonly cids: readonly string[] | undefined
}

/**
 * @param tagsOf tags of a CID, of what is cached and of what is on its way
 * @throws RelayError RELAY_ERR_BAD_REQUEST
 */
export function selectCids ({ cids, prefix, tag, all }: PurgeSelector, tagsOf: (cid: string) => readonly string[]): SelectedCids {
  if ([cids, prefix, tag, all].filter(what => what !== undefined).length !== 1) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'a purge has exactly one of cids, prefix, tag and all')
  if (cids !== undefined) {
    const named = new Set(cids)
    return { matches: cid => named.has(cid), cids: [...named] }
  }
  if (prefix !== undefined) {
    const start = prefix.replace(/\*$/, '')
    return { matches: cid => cid.startsWith(start), cids: undefined }
  }
  if (tag === undefined) return { matches: () => true, cids: undefined }
  // A CID forgets its tags with its last object, and what comes in of it until the purge has ended must not be stored all the same.
  const met = new Set<string>()
  return {
    matches: cid => {
      if (met.has(cid)) return true
      if (!tagsOf(cid).includes(tag)) return false
      met.add(cid)
      return true
    },
    cids: undefined
  }
}
