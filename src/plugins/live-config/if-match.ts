import { RelayError } from '../../base/errors.ts'

/** The entity tag of settings. @param hash of the configuration in force */
export const entityTag = (hash: string): string => `"${hash}"`

/** One tag of a list, RFC 9110, section 8.8.3. */
const TAG = /^(?:W\/)?"[\x21\x23-\x7E\x80-\xFF]*"$/

/**
 * Passes when settings may be replaced: by the strong comparison of RFC 9110, section 13.1.1.
 * @param ifMatch the field as it was sent; undefined replaces whatever is in force
 * @throws RelayError RELAY_ERR_PRECONDITION, and RELAY_ERR_BAD_REQUEST when it is no list of entity tags
 */
export function checkIfMatch (ifMatch: string | undefined, hash: string): void {
  if (ifMatch === undefined || ifMatch.trim() === '*') return
  const tags = ifMatch.split(',').map(tag => tag.trim())
  if (!tags.every(tag => TAG.test(tag))) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'if-match must be * or a list of entity tags')
  if (!tags.includes(entityTag(hash))) throw new RelayError('RELAY_ERR_PRECONDITION', `the settings in force are ${entityTag(hash)}: read them again`)
}
