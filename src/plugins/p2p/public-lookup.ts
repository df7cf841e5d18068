import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { isPublicAddress } from '../../base/private-address.ts'

/** The name has an address that is not public. */
export class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError'
  readonly code = 'EPRIVATE'
}

type Resolve = (hostname: string, options: LookupOptions, done: (error: NodeJS.ErrnoException | null, found: string | LookupAddress[], family?: number) => void) => void

/**
 * Resolves host names for `net.connect`, and refuses those that have an address that is not public: what is checked is what is connected to.
 * @param resolve that of the host by default
 */
export function publicLookup (resolve: Resolve = lookup): LookupFunction {
  return (hostname, options, done) => {
    resolve(hostname, options, (error, found, family) => {
      const addresses = Array.isArray(found) ? found.map(({ address }) => address) : [found]
      if (error === null && !addresses.every(isPublicAddress)) done(new PrivateAddressError(`${hostname} has an address that is not public`), '', 0)
      else done(error, found, family)
    })
  }
}
