import { createHmac, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import { parseShardPath } from '../protocol/shard-key.ts'
import { canonicalAddress } from './address-key.ts'
import type { SignedUrlKey } from './auth-settings.ts'
import { CLASS_NAME, IDENTITY, refused, type Verdict } from './verdict.ts'

/*
 * Signed URLs for viewer HTTP, in the manner of nginx secure_link and of the CDNs' signed URLs:
 * `/shards/<CID>/shard_0.bin?exp=<unix s>&kid=<key id>&sig=<base64url>`, where `sig` is HMAC-SHA-256 over the lines of `message`.
 */

/** What a signature is for. */
export interface UrlScope {
  /** The one path it opens; or a prefix that ends with a slash, `/shards/<CID>/` or `/shards/`, for all paths below. */
  readonly path: string
  /** Unix time from which it is refused, whole seconds. */
  readonly expiresAt: number
  /** Who it was made for: the viewer's identity. */
  readonly viewer?: string
  /** The one address it may be used from. */
  readonly ip?: string
  /** Weight class. */
  readonly class?: string
}

/** Names of keys. */
const KEY_ID = /^[A-Za-z0-9._-]{1,64}$/
/** Shortest secret, bytes: the size of the hash (RFC 2104 §3). */
export const MIN_SECRET_BYTES = 32

const PREFIX = /^\/shards\/(?:[A-Za-z0-9_-]{1,128}\/)?$/
const EXPIRY = /^[1-9]\d{0,11}$/
const SIGNATURE = /^[A-Za-z0-9_-]{43}$/
const PARAMETERS = ['exp', 'kid', 'sig', 'prefix', 'viewer', 'ip', 'class'] as const

/** What is signed: one line for each part, so that no two scopes have the same text; absent parts are empty lines. */
function message (scope: UrlScope, kid: string): string {
  const kind = scope.path.endsWith('/') ? 'prefix' : 'path'
  return ['icn-relay signed url 1', kind, scope.path, scope.expiresAt, kid, scope.viewer ?? '', scope.ip ?? '', scope.class ?? ''].join('\n')
}

function signature (scope: UrlScope, { kid, secret }: SignedUrlKey): Buffer {
  return createHmac('sha256', secret).update(message(scope, kid)).digest()
}

/** @throws RangeError naming the part that cannot be signed; RelayError RELAY_ERR_SHARD_PATH */
function checkScope ({ path, expiresAt, viewer, ip, class: name }: UrlScope, kid: string): void {
  if (!path.endsWith('/')) parseShardPath(path)
  else if (!PREFIX.test(path)) throw new RangeError('a prefix is /shards/<CID>/, or /shards/ for everything')
  if (!EXPIRY.test(String(expiresAt))) throw new RangeError('the expiry is not a Unix time in whole seconds')
  if (!KEY_ID.test(kid)) throw new RangeError('a key id has 1 to 64 of A-Z a-z 0-9 . _ -')
  if (viewer !== undefined && !IDENTITY.test(viewer)) throw new RangeError('a viewer has 1 to 256 visible ASCII characters')
  if (ip !== undefined && isIP(ip) === 0) throw new RangeError('the address is not an IP address')
  if (name !== undefined && !CLASS_NAME.test(name)) throw new RangeError('a class has 1 to 32 of A-Z a-z 0-9 _ -')
}

/**
 * The query that opens a path, or all paths below a prefix, without its question mark; to be used as it is.
 * @throws RangeError naming the part of the scope that cannot be signed; RelayError RELAY_ERR_SHARD_PATH
 */
export function signQuery (scope: UrlScope, key: SignedUrlKey): string {
  checkScope(scope, key.kid)
  const { path, expiresAt, viewer, ip, class: name } = scope
  const query = new URLSearchParams({
    exp: String(expiresAt),
    kid: key.kid,
    ...path.endsWith('/') ? { prefix: path } : {},
    ...viewer === undefined ? {} : { viewer },
    ...ip === undefined ? {} : { ip },
    ...name === undefined ? {} : { class: name },
    sig: signature(scope, key).toString('base64url')
  })
  // A slash needs no escape in a query (RFC 3986 §3.4).
  return query.toString().replaceAll('%2F', '/')
}

/** A path with its signature; a prefix is not a URL by itself, see {@link signQuery}. */
export function signUrl (scope: UrlScope, key: SignedUrlKey): string {
  return `${scope.path}?${signQuery(scope, key)}`
}

/** The HTTP side: judges the signature in a request target. */
export class SignedUrls {
  readonly #keys: ReadonlyMap<string, SignedUrlKey>

  constructor (keys: readonly SignedUrlKey[]) {
    this.#keys = new Map(keys.map(key => [key.kid, key]))
  }

  /**
   * @param target of the request as it was sent: path and query
   * @param ip peer address
   * @param now wall clock, milliseconds
   * @returns undefined when the target carries no signature
   */
  judge (target: string, ip: string | undefined, now: number): Verdict | undefined {
    const start = target.indexOf('?')
    if (start < 0) return undefined
    const query = new URLSearchParams(target.slice(start + 1))
    if (!query.has('sig')) return undefined
    const path = target.slice(0, start)
    const invalid = refused('RELAY_ERR_VIEWER_UNAUTHORIZED', 'the signature of the URL is not valid')
    // Of two values, signer and relay could each mean another.
    if (PARAMETERS.some(name => query.getAll(name).length > 1)) return invalid
    const part = (name: typeof PARAMETERS[number]): string | undefined => query.get(name) ?? undefined
    const [exp = '', kid = '', sig = '', prefix, viewer, only, name] = PARAMETERS.map(part)
    const key = this.#keys.get(kid)
    if (key === undefined || !EXPIRY.test(exp) || !SIGNATURE.test(sig) || (prefix !== undefined && !PREFIX.test(prefix)) || (prefix === undefined && path.endsWith('/'))) return invalid
    if ((viewer !== undefined && !IDENTITY.test(viewer)) || (only !== undefined && isIP(only) === 0) || (name !== undefined && !CLASS_NAME.test(name))) return invalid
    const scope: UrlScope = {
      path: prefix ?? path,
      expiresAt: Number(exp),
      ...viewer === undefined ? {} : { viewer },
      ...only === undefined ? {} : { ip: only },
      ...name === undefined ? {} : { class: name }
    }
    const given = Buffer.from(sig, 'base64url')
    // The last character has bits that decoding drops: only one spelling counts.
    if (given.toString('base64url') !== sig || !timingSafeEqual(given, signature(scope, key))) return invalid
    if (!path.startsWith(scope.path)) return refused('RELAY_ERR_VIEWER_SCOPE', 'the signature of the URL is for other paths')
    if (only !== undefined && (ip === undefined || canonicalAddress(ip) !== canonicalAddress(only))) return refused('RELAY_ERR_VIEWER_SCOPE', 'the signature of the URL is for another address')
    const expiresAt = scope.expiresAt * 1_000
    if (now >= expiresAt) return refused('RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'the signature of the URL has expired')
    return { ok: true, ...viewer === undefined ? {} : { identity: viewer }, ...name === undefined ? {} : { class: name }, expiresAt }
  }
}
