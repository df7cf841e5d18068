import type { AuthSettings, JwtKeySettings, JwtSettings, SignedUrlKey, StaticTokenSettings } from '../../admission/auth-settings.ts'
import { MIN_SECRET_BYTES } from '../../admission/signed-url.ts'
import { configuredHash, HASHED_TOKEN } from '../../admission/static-tokens.ts'
import { RelayError } from '../../base/errors.ts'
import { readText } from '../../base/read-text.ts'
import type { Config } from '../../config/schema.ts'
import { jwksKeys, MAX_JWT_KEYS, pemKey, secretKey } from './jwt-keys.ts'

type AuthConfig = Config['auth']

/** Largest key file read: a JWK Set of {@link MAX_JWT_KEYS} RSA keys with certificates. */
const MAX_FILE_BYTES = 1_048_576

function fail (detail: string, cause?: unknown): never {
  throw new RelayError('RELAY_ERR_CONFIG', detail, { cause })
}

/** The text of a file. @param name of the configuration key and the file, for errors: none of them repeats what the file holds */
async function readNamed (name: string, file: string): Promise<string> {
  const read = await readText(file, MAX_FILE_BYTES)
  return 'problem' in read ? fail(`${name} ${read.problem}`) : read.text
}

const label = (key: string, file: string): string => `${key} ${file}`

/** Every file the configuration names for viewer authentication. */
export function authFiles ({ jwt, signed_urls: urls }: AuthConfig): string[] {
  const secrets = urls.keys.flatMap(({ secret_file: file }) => file ?? [])
  return [...new Set([jwt.hs256_secret_file, jwt.jwks_file, ...jwt.public_key_files, ...secrets].filter(file => file !== ''))]
}

/** Keys whose values are tokens in plain text, for a warning. */
export function plaintextTokens ({ tokens }: AuthConfig): string[] {
  return tokens.flatMap((item, position) => HASHED_TOKEN.test(typeof item === 'string' ? item : item.token) ? [] : [`auth.tokens.${position}`])
}

function staticTokens ({ tokens }: AuthConfig): StaticTokenSettings[] {
  return tokens.map(item => {
    if (typeof item === 'string') return { hash: configuredHash(item) }
    const { token, class: name, cid_prefixes: cidPrefixes } = item
    return { hash: configuredHash(token), ...name === undefined ? {} : { class: name }, ...cidPrefixes === undefined ? {} : { cidPrefixes } }
  })
}

async function jwtSettings ({ jwt }: AuthConfig): Promise<JwtSettings | undefined> {
  const { hs256_secret: inline, hs256_secret_file: secretFile, public_key_files: pems, jwks_file: jwks, issuer, audience } = jwt
  const keys: JwtKeySettings[] = []
  if (inline !== '') keys.push(secretKey(inline, 'auth.jwt.hs256_secret'))
  if (secretFile !== '') {
    const name = label('auth.jwt.hs256_secret_file', secretFile)
    keys.push(secretKey(await readNamed(name, secretFile), name))
  }
  for (const [position, file] of pems.entries()) {
    const name = label(`auth.jwt.public_key_files.${position}`, file)
    keys.push(pemKey(await readNamed(name, file), name))
  }
  if (jwks !== '') {
    const name = label('auth.jwt.jwks_file', jwks)
    keys.push(...jwksKeys(await readNamed(name, jwks), name))
  }
  if (keys.length === 0) return undefined
  if (keys.length > MAX_JWT_KEYS) fail(`auth.jwt has more than ${MAX_JWT_KEYS} keys`)
  return {
    keys,
    ...issuer === '' ? {} : { issuer },
    ...audience === '' ? {} : { audience },
    requireExp: jwt.require_exp,
    clockToleranceMs: jwt.clock_tolerance_ms
  }
}

async function signedUrlKeys ({ signed_urls: urls }: AuthConfig): Promise<SignedUrlKey[]> {
  return await Promise.all(urls.keys.map(async ({ kid, secret, secret_file: file = '' }, position) => {
    if (secret !== undefined) return { kid, secret }
    const name = label(`auth.signed_urls.keys.${position}.secret_file`, file)
    const text = (await readNamed(name, file)).trim()
    if (Buffer.byteLength(text) < MIN_SECRET_BYTES) fail(`${name} must have at least ${MIN_SECRET_BYTES} bytes`)
    return { kid, secret: text }
  }))
}

/**
 * All that viewers are judged by, files included.
 * @throws RelayError RELAY_ERR_CONFIG naming the key and the file, and never what it holds
 */
export async function readAuth (config: AuthConfig): Promise<AuthSettings> {
  const jwt = await jwtSettings(config)
  return { require: config.require, tokens: staticTokens(config), ...jwt === undefined ? {} : { jwt }, signedUrlKeys: await signedUrlKeys(config) }
}
