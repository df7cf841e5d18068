import type { JsonWebKey } from 'node:crypto'

/** A static token; the token itself is nowhere in the process that judges it. */
export interface StaticTokenSettings {
  /** SHA-256 of the token, lower-case hex. */
  readonly hash: string
  readonly class?: string
  /** CIDs start with one of these; undefined for all. */
  readonly cidPrefixes?: readonly string[]
}

/** A key that signs JWTs, and the only algorithms it may be used with (RFC 8725 §3.1). */
export interface JwtKeySettings {
  readonly algorithms: readonly string[]
  readonly kid?: string
  /** A public key, or the shared secret of HS256 in base64. */
  readonly key: { readonly kind: 'public', readonly jwk: JsonWebKey } | { readonly kind: 'secret', readonly secret: string }
}

export interface JwtSettings {
  readonly keys: readonly JwtKeySettings[]
  /** What `iss` must be; undefined for anything. */
  readonly issuer?: string
  /** What `aud` must contain; undefined for anything. */
  readonly audience?: string
  readonly requireExp: boolean
  readonly clockToleranceMs: number
}

export interface SignedUrlKey {
  readonly kid: string
  readonly secret: string
}

/** All that viewers are judged by; plain data, so that it can cross processes. */
export interface AuthSettings {
  /** Whether a viewer without valid credentials is refused. */
  readonly require: boolean
  readonly tokens: readonly StaticTokenSettings[]
  readonly jwt?: JwtSettings
  /** The first signs; all are accepted. */
  readonly signedUrlKeys: readonly SignedUrlKey[]
}

export const OPEN: AuthSettings = { require: false, tokens: [], signedUrlKeys: [] }

/** The part that the gateway process needs: signed URLs are HTTP only, so their secrets stay here. */
export function forGateway (settings: AuthSettings): AuthSettings {
  return { ...settings, signedUrlKeys: [] }
}
