import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { compactVerify, decodeProtectedHeader } from 'jose'
import type { JwtKeySettings, JwtSettings } from './auth-settings.ts'
import { grantOf, type ClaimFault } from './jwt-claims.ts'
import type { ViewerGrant } from './verdict.ts'

interface Key {
  readonly algorithms: readonly string[]
  readonly kid: string | undefined
  readonly object: KeyObject
}

/** Keys one token is tried against: a token without `kid` must not cost a signature check for every key there is. */
const MAX_TRIES = 4

const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)$/
const INVALID = 'the token is not valid'

/** Whether a token has the form of a signed JWT (RFC 7515 §7.1) and is its only spelling: the last character of base64url may have unused bits. */
function isCompact (token: string): boolean {
  const signature = COMPACT.exec(token)?.[1]
  return signature !== undefined && Buffer.from(signature, 'base64url').toString('base64url') === signature
}

function keyObject ({ key }: JwtKeySettings): KeyObject {
  return key.kind === 'secret' ? createSecretKey(key.secret, 'base64') : createPublicKey({ key: key.jwk, format: 'jwk' })
}

/** Checks signatures of JWTs and reads what they grant. Time plays no part: `exp` and `nbf` are in the grant. */
export class JwtVerifier {
  readonly #settings: JwtSettings
  readonly #keys: readonly Key[]

  /** @throws Error when a key is none; settings made by `readAuth` hold good ones only */
  constructor (settings: JwtSettings) {
    this.#settings = settings
    this.#keys = settings.keys.map(key => ({ algorithms: key.algorithms, kid: key.kid, object: keyObject(key) }))
  }

  /** The grant of a genuine token, or in constant words why there is none; never rejects. */
  async verify (token: string): Promise<ViewerGrant | ClaimFault> {
    if (!isCompact(token)) return INVALID
    let alg: string
    let keys: readonly Key[]
    try {
      const header = decodeProtectedHeader(token)
      // RFC 7515 §4.1.11: an extension that we do not know forbids the token; we know none.
      if (typeof header.alg !== 'string' || header.crit !== undefined || header.b64 !== undefined) return INVALID
      alg = header.alg
      keys = this.#candidates(alg, header.kid)
    } catch {
      return INVALID
    }
    for (const { object } of keys) {
      let payload: Uint8Array
      try {
        payload = (await compactVerify(token, object, { algorithms: [alg] })).payload
      } catch {
        // Signed with another key, or not at all.
        continue
      }
      return grantOf(payload, this.#settings)
    }
    return INVALID
  }

  /** A key is used with its own algorithms only, whatever the token says; `none` belongs to no key. */
  #candidates (alg: string, kid: unknown): readonly Key[] {
    return this.#keys.filter(key => key.algorithms.includes(alg) && (kid === undefined || key.kid === undefined || key.kid === kid)).slice(0, MAX_TRIES)
  }
}
