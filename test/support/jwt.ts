import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import type { JwtKeySettings, JwtSettings } from '../../src/admission/auth-settings.ts'
import { pemKey, secretKey } from '../../src/plugins/auth/jwt-keys.ts'

/** 2030-01-01T00:00:00Z, Unix seconds; tests set their clocks by it. */
export const EPOCH_S = 1_893_456_000

export const SECRET = 'a shared secret of thirty-two bytes or more'

export interface KeyPair {
  readonly alg: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly pem: string
}

function pair (alg: string, { privateKey, publicKey }: { privateKey: KeyObject, publicKey: KeyObject }): KeyPair {
  return { alg, privateKey, publicKey, pem: publicKey.export({ format: 'pem', type: 'spki' }).toString() }
}

export function keyPair (alg: 'EdDSA' | 'ES256' | 'ES384' | 'ES512' | 'RS256'): KeyPair {
  if (alg === 'EdDSA') return pair(alg, generateKeyPairSync('ed25519'))
  if (alg === 'RS256') return pair(alg, generateKeyPairSync('rsa', { modulusLength: 2_048 }))
  return pair(alg, generateKeyPairSync('ec', { namedCurve: { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[alg] }))
}

/** Signs claims with a key pair, or with the shared secret. */
export async function makeJwt (claims: Record<string, unknown>, key: KeyPair | string = SECRET, header: Record<string, unknown> = {}): Promise<string> {
  const alg = typeof key === 'string' ? 'HS256' : key.alg
  return await new SignJWT(claims).setProtectedHeader({ alg, ...header }).sign(typeof key === 'string' ? Buffer.from(key) : key.privateKey)
}

export function jwtSettings (keys: readonly JwtKeySettings[] = [secretKey(SECRET, 'test')], overrides: Partial<JwtSettings> = {}): JwtSettings {
  return { keys, requireExp: true, clockToleranceMs: 0, ...overrides }
}

export function publicKeySettings (key: KeyPair): JwtKeySettings {
  return pemKey(key.pem, 'test')
}
