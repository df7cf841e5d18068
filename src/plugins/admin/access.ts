import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import { plainAddress } from '../../admission/address-key.ts'
import { RelayError } from '../../base/errors.ts'

/** What a token is good for, and what a route needs: `write` may all, the others one thing and nothing else. */
export const ADMIN_SCOPES = ['read', 'purge', 'write'] as const
export type AdminScope = typeof ADMIN_SCOPES[number]

export interface AdminToken {
  readonly token: string
  readonly scope: AdminScope
  /** For the log. */
  readonly name?: string | undefined
  /** Beginnings of the CIDs that it may purge; all where none is named. */
  readonly cidPrefixes?: readonly string[] | undefined
}

/** What a request was let in by. */
export type AdminGrant = Omit<AdminToken, 'token'>

/** What access is decided from. */
export interface AdminRequest {
  readonly authorization: string | undefined
  /** Peer address of the socket; forwarding headers do not count. */
  readonly remoteAddress: string | undefined
  readonly host: string | undefined
  readonly origin: string | undefined
  /** `Sec-Fetch-Site`: how the page that asks stands to us, from a browser that says so. */
  readonly fetchSite: string | undefined
  readonly contentType: string | undefined
  readonly requestedWith: string | undefined
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function isLoopback (address: string | undefined): boolean {
  return address !== undefined && (address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(plainAddress(address)))
}

/** Host header of somebody who knows he talks to this machine: a web page under a foreign name cannot send it (DNS rebinding). */
function isLoopbackHost (host: string | undefined): boolean {
  return host !== undefined && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host)
}

/** Host header under which no web page can have been loaded but one of this machine or of that very address. */
function isRebindable (host: string): boolean {
  return !isLoopbackHost(host) && isIP(host.replace(/:\d*$/, '').replace(/^\[|\]$/g, '')) === 0
}

/**
 * Refuses what a web page asks under its own name after it has made that name stand for this machine (DNS rebinding): over loopback, any name
 * but localhost. Without a Host header nobody's browser asks.
 * @throws RelayError RELAY_ERR_ADMIN_LOOPBACK
 */
export function refuseRebound ({ remoteAddress, host }: Pick<AdminRequest, 'remoteAddress' | 'host'>): void {
  if (host !== undefined && isLoopback(remoteAddress) && isRebindable(host)) {
    throw new RelayError('RELAY_ERR_ADMIN_LOOPBACK', 'over loopback the request must name localhost, or an address, as its host')
  }
}

/** Whether no web page asks, or one of this very origin: another port of this machine is another program, and may show anybody's pages. */
function isOwnPage ({ origin, host, fetchSite }: AdminRequest): boolean {
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return false
  return origin === undefined || origin.toLowerCase() === `http://${host?.toLowerCase()}`
}

/**
 * Refuses a write that any page could make a browser send without asking us first (a simple request of the Fetch standard).
 * @throws RelayError RELAY_ERR_ADMIN_LOOPBACK, RELAY_ERR_MEDIA_TYPE
 */
function refuseSimple ({ contentType, requestedWith }: AdminRequest): void {
  if (requestedWith !== undefined) return
  if (contentType === undefined) throw new RelayError('RELAY_ERR_ADMIN_LOOPBACK', 'no admin token is configured, so a write must have content-type: application/json or the header x-requested-with')
  if (!/^application\/json *(?:;|$)/i.test(contentType)) throw new RelayError('RELAY_ERR_MEDIA_TYPE', 'the content-type must be application/json')
}

/** Decides who may use `/admin/v1`. */
export class AdminAccess {
  #tokens: readonly (AdminGrant & { readonly hash: Buffer })[] = []

  constructor (tokens: readonly AdminToken[]) {
    this.replace(tokens)
  }

  /** These tokens count from now on, and no others any more. */
  replace (tokens: readonly AdminToken[]): void {
    this.#tokens = tokens.map(({ token, ...rest }) => ({ ...rest, hash: digest(token) }))
  }

  /**
   * Passes when the request may do what needs `scope`; a write token may read and purge.
   * @returns the token; undefined where none is configured
   * @throws RelayError RELAY_ERR_ADMIN_UNAUTHORIZED, RELAY_ERR_ADMIN_SCOPE, RELAY_ERR_ADMIN_LOOPBACK
   */
  check (request: AdminRequest, scope: AdminScope): AdminGrant | undefined {
    if (this.#tokens.length === 0) {
      if (!isLoopback(request.remoteAddress)) throw new RelayError('RELAY_ERR_ADMIN_LOOPBACK', 'no admin token is configured, so only this machine may ask')
      if (!isLoopbackHost(request.host) || !isOwnPage(request)) {
        throw new RelayError('RELAY_ERR_ADMIN_LOOPBACK', 'no admin token is configured, so the request must name localhost as its host and must not come from a page of another origin')
      }
      if (scope !== 'read') refuseSimple(request)
      return undefined
    }
    const sent = /^Bearer +([!-~]+) *$/i.exec(request.authorization ?? '')?.[1]
    if (sent === undefined) throw new RelayError('RELAY_ERR_ADMIN_UNAUTHORIZED', 'send authorization: Bearer <token>')
    // Digests have one length, and every token is compared, so the time taken tells nothing about any of them.
    const hash = digest(sent)
    const known = this.#tokens.filter(token => timingSafeEqual(token.hash, hash))
    const [first] = known
    if (first === undefined) throw new RelayError('RELAY_ERR_ADMIN_UNAUTHORIZED', 'the token is not known')
    const granted = known.find(token => token.scope === 'write') ?? known.find(token => token.scope === scope)
    if (granted === undefined) throw new RelayError('RELAY_ERR_ADMIN_SCOPE', `the token may ${first.scope} only`)
    return granted
  }
}
