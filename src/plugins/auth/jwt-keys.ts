import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { JwtKeySettings } from '../../admission/auth-settings.ts'
import { RelayError } from '../../base/errors.ts'

/** Keys of one relay at most. */
export const MAX_JWT_KEYS = 64
/** RFC 7518 §3.2: a key of HS256 is at least as long as the hash. */
const MIN_HS256_BYTES = 32
/** RFC 7518 §3.3. */
const MIN_RSA_BITS = 2_048

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
/** RFC 9864 renames the first to the second. */
const ED25519 = ['EdDSA', 'Ed25519']

type JwkJson = Readonly<Record<string, unknown>>

function fail (detail: string): never {
  throw new RelayError('RELAY_ERR_CONFIG', detail)
}

/** The algorithms a key may be used with, best known first; empty when it signs no JWT. */
function algorithmsOf (key: KeyObject): readonly string[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ed25519') return ED25519
  if (key.asymmetricKeyType === 'ec' && CURVES[namedCurve] !== undefined) return [CURVES[namedCurve]]
  return key.asymmetricKeyType === 'rsa' && modulusLength >= MIN_RSA_BITS ? RSA : []
}

/**
 * The shared secret of HS256: the text itself, without line end.
 * @param name of the configuration key, for errors: none of them repeats what was read
 * @throws RelayError RELAY_ERR_CONFIG
 */
export function secretKey (text: string, name: string): JwtKeySettings {
  const secret = Buffer.from(text.trim())
  // Whoever confuses the two would make everybody who knows the public key a signer.
  if (text.includes('-----BEGIN')) fail(`${name} holds a PEM key; HS256 has a shared secret, public keys belong to auth.jwt.public_key_files`)
  if (secret.length < MIN_HS256_BYTES) fail(`${name} must have at least ${MIN_HS256_BYTES} bytes`)
  return { algorithms: ['HS256'], key: { kind: 'secret', secret: secret.toString('base64') } }
}

/**
 * A public key or certificate in PEM; its type says the algorithm, RS256 for RSA.
 * @throws RelayError RELAY_ERR_CONFIG
 */
export function pemKey (text: string, name: string): JwtKeySettings {
  // createPublicKey would take the public half of it, and the private one has no business here.
  if (text.includes('PRIVATE KEY-----')) fail(`${name} holds a private key; the relay needs the public one`)
  let key: KeyObject
  try {
    key = createPublicKey(text)
  } catch {
    return fail(`${name} is not a public key or certificate in PEM`)
  }
  const [algorithm, ...others] = algorithmsOf(key)
  if (algorithm === undefined) return fail(`${name} is not an Ed25519, P-256, P-384, P-521 or RSA (2048 bits or more) key`)
  return { algorithms: algorithm === 'EdDSA' ? [algorithm, ...others] : [algorithm], key: { kind: 'public', jwk: key.export({ format: 'jwk' }) } }
}

/**
 * The signing keys of a JWK Set (RFC 7517 §5): `alg` says the algorithm, else the type does, RS256 for RSA. Keys for other uses and of
 * unknown types are passed over.
 * @throws RelayError RELAY_ERR_CONFIG also when no key is left, and when a key is secret
 */
export function jwksKeys (text: string, name: string): JwtKeySettings[] {
  let set: unknown
  try {
    set = JSON.parse(text)
  } catch {
    return fail(`${name} is not JSON`)
  }
  const listed = typeof set === 'object' && set !== null && 'keys' in set && Array.isArray(set.keys) ? set.keys as unknown[] : fail(`${name} is not a JWK Set: it has no list of keys`)
  if (listed.length > MAX_JWT_KEYS) fail(`${name} has more than ${MAX_JWT_KEYS} keys`)
  const keys = listed.flatMap((jwk, position) => jwkOf(jwk, `${name} key ${position}`))
  return keys.length > 0 ? keys : fail(`${name} has no key that signs JWTs`)
}

function jwkOf (value: unknown, name: string): JwtKeySettings[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(`${name} is not a JWK`)
  const jwk = value as JwkJson
  const { use, key_ops: operations, kid, alg } = jwk
  if (jwk['kty'] === 'oct' || jwk['d'] !== undefined || jwk['k'] !== undefined) return fail(`${name} is secret; a JWK Set here holds public keys`)
  if ((use !== undefined && use !== 'sig') || (Array.isArray(operations) && !operations.includes('verify'))) return []
  if (kid !== undefined && typeof kid !== 'string') return fail(`${name} has a kid that is not text`)
  let key: KeyObject
  try {
    key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  } catch {
    return []
  }
  const possible = algorithmsOf(key)
  const pinned = alg === undefined ? possible.slice(0, 1) : possible.filter(each => each === alg)
  if (pinned.length === 0) return []
  const algorithms = ED25519.includes(pinned[0] ?? '') ? ED25519 : pinned
  return [{ algorithms, ...kid === undefined ? {} : { kid }, key: { kind: 'public', jwk: key.export({ format: 'jwk' }) } }]
}
