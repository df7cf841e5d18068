import { createHash } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import { isCid } from '../../protocol/shard-key.ts'

/** What one line of a denylist denies: a CID by its digest, or every CID with a prefix. */
export type DeniedEntry =
  | { readonly kind: 'digest', readonly digest: Buffer }
  | { readonly kind: 'prefix', readonly prefix: string }

const HASHED = /^\/\/([0-9a-fA-F]{64})$/
const PREFIX = /^([A-Za-z0-9_-]{1,127})\*$/
/** Paths of the compact denylist format (IPIP-383) that name a whole CID. */
const IPFS_PATH = /^\/ipfs\/([A-Za-z0-9_-]{1,128})(?:\/\*?)?$/

/**
 * By what a CID stands in a denylist: SHA-256 of `<CID>/`, as the double hashes of the Bad Bits list (IPIP-383), so that a list of them tells
 * nobody where to find what it denies.
 */
export function cidDigest (cid: string): Buffer {
  return createHash('sha256').update(`${cid}/`).digest()
}

/**
 * An entry as operators and lists write it: a CID, a prefix and `*`, `//` and 64 hexadecimal digits, or `/ipfs/<CID>`.
 * @throws RelayError RELAY_ERR_BAD_REQUEST naming what is wrong
 */
export function parseEntry (text: string): DeniedEntry {
  const hex = HASHED.exec(text)?.[1]
  if (hex !== undefined) return { kind: 'digest', digest: Buffer.from(hex, 'hex') }
  const prefix = PREFIX.exec(text)?.[1]
  if (prefix !== undefined) return { kind: 'prefix', prefix }
  const cid = IPFS_PATH.exec(text)?.[1] ?? text
  if (isCid(cid)) return { kind: 'digest', digest: cidDigest(cid) }
  throw new RelayError('RELAY_ERR_BAD_REQUEST', `${JSON.stringify(text.slice(0, 80))} is no entry: a CID, a prefix and *, or // and the SHA-256 of "<CID>/" in 64 hexadecimal digits`)
}
