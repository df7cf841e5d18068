import { createHash } from 'node:crypto'
import type { StaticTokenSettings } from './auth-settings.ts'
import type { ViewerGrant } from './verdict.ts'

/** What stands in the configuration: `sha256:<64 hex>`, or the token itself. */
export const HASHED_TOKEN = /^sha256:[0-9a-fA-F]{64}$/

/** SHA-256 of a token, lower-case hex. */
export function tokenHash (token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** The form of a token that is safe in a configuration file. */
export function hashedToken (token: string): string {
  return `sha256:${tokenHash(token)}`
}

/** The hash of a configured token, in either form. */
export function configuredHash (configured: string): string {
  return HASHED_TOKEN.test(configured) ? configured.slice('sha256:'.length).toLowerCase() : tokenHash(configured)
}

/** The configured tokens by their hash. */
export class StaticTokens {
  readonly #grants: ReadonlyMap<string, ViewerGrant>

  constructor (tokens: readonly StaticTokenSettings[]) {
    this.#grants = new Map(tokens.map(({ hash, class: name, cidPrefixes }) => [hash, {
      ...name === undefined ? {} : { class: name },
      ...cidPrefixes === undefined ? {} : { cidPrefixes }
    }]))
  }

  /**
   * The time a look-up takes may tell how a stored hash begins, which leads to no token: SHA-256 has no preimages to be had.
   * @param hash as {@link tokenHash} gives it
   */
  find (hash: string): ViewerGrant | undefined {
    return this.#grants.get(hash)
  }
}
