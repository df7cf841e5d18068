import type { JwtSettings } from './auth-settings.ts'
import { CID_PREFIX, CLASS_NAME, IDENTITY, MAX_CID_PREFIXES, type ViewerGrant } from './verdict.ts'

type Claims = Readonly<Record<string, unknown>>

/** Why claims are refused; the text is constant and safe to show. */
export type ClaimFault = string

/** A NumericDate (RFC 7519 §2) in milliseconds; undefined when absent. @throws TypeError when it is something else, or no number can hold them */
function dateClaim (claims: Claims, name: string): number | undefined {
  const value = claims[name]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isFinite(value * 1_000)) throw new TypeError(`the ${name} claim of the token is not a number`)
  return value * 1_000
}

/** `cid` and `cids`, each a prefix or a list of them; undefined when neither is there. @throws TypeError */
function scopeOf (claims: Claims): string[] | undefined {
  const listed = ['cid', 'cids'].flatMap(name => claims[name] === undefined ? [] : [claims[name]])
  if (listed.length === 0) return undefined
  const prefixes: unknown[] = listed.flat()
  if (prefixes.length > MAX_CID_PREFIXES) throw new TypeError(`the token names more than ${MAX_CID_PREFIXES} CID prefixes`)
  return prefixes.map(prefix => {
    if (typeof prefix !== 'string' || !CID_PREFIX.test(prefix)) throw new TypeError('a CID prefix of the token is not the start of a CID')
    return prefix
  })
}

function identityOf (claims: Claims): string | undefined {
  const { sub } = claims
  if (sub === undefined) return undefined
  if (typeof sub !== 'string' || !IDENTITY.test(sub)) throw new TypeError('the sub claim of the token is not 1 to 256 visible ASCII characters')
  return sub
}

function isAddressed (aud: unknown, audience: string): boolean {
  return aud === audience || (Array.isArray(aud) && aud.includes(audience))
}

/**
 * What the claims of a genuine JWT grant (RFC 7519 §4.1). A class that is not a class name counts as none: weights are not a matter of access.
 * @param payload bytes of the JWT claims set
 */
export function grantOf (payload: Uint8Array, settings: Omit<JwtSettings, 'keys'>): ViewerGrant | ClaimFault {
  let claims: Claims
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'the token holds no claims'
    claims = value as Claims
  } catch {
    return 'the token holds no claims'
  }
  const { issuer, audience, requireExp, clockToleranceMs } = settings
  if (issuer !== undefined && claims['iss'] !== issuer) return 'the token comes from another issuer'
  if (audience !== undefined && !isAddressed(claims['aud'], audience)) return 'the token is for another audience'
  try {
    const [exp, nbf, cidPrefixes, identity] = [dateClaim(claims, 'exp'), dateClaim(claims, 'nbf'), scopeOf(claims), identityOf(claims)]
    if (exp === undefined && requireExp) return 'the token has no exp claim'
    const name = claims['class']
    return {
      ...identity === undefined ? {} : { identity },
      ...typeof name === 'string' && CLASS_NAME.test(name) ? { class: name } : {},
      ...cidPrefixes === undefined ? {} : { cidPrefixes },
      ...nbf === undefined ? {} : { notBefore: nbf - clockToleranceMs },
      ...exp === undefined ? {} : { expiresAt: exp + clockToleranceMs }
    }
  } catch (error) {
    return error instanceof TypeError ? error.message : 'the token holds no claims'
  }
}
