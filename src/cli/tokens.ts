import type { Readable } from 'node:stream'
import { signQuery, signUrl } from '../admission/signed-url.ts'
import { hashedToken } from '../admission/static-tokens.ts'
import { RelayError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { readAuth } from '../plugins/auth/auth-files.ts'

/* What makes tokens and signed URLs: each takes its input and gives the line to print. */

/** What `--sign-url` is asked for. */
export interface SignUrlRequest {
  /** A shard path, or a prefix that ends with a slash. */
  readonly path: string
  readonly expiresInSeconds: number
  readonly viewer: string | undefined
  readonly ip: string | undefined
}

/** More than a token that could be configured, characters. */
const MAX_INPUT_CHARS = 4_096

/**
 * One token from a stream, hashed for the configuration.
 * @throws RelayError RELAY_ERR_CONFIG, which does not repeat the input
 */
export async function hashToken (input: Readable): Promise<string> {
  let text = ''
  for await (const chunk of input.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    // One line is enough: at a terminal nobody ends the input.
    if (text.includes('\n') || text.length > MAX_INPUT_CHARS) break
  }
  const token = text.replace(/\r?\n$/, '')
  if (!/^[!-~]{16,512}$/.test(token)) {
    throw new RelayError('RELAY_ERR_CONFIG', '--hash-token: standard input must hold one token of 16 to 512 visible ASCII characters')
  }
  return hashedToken(token)
}

/**
 * A path with its signature, or for a prefix the query to put behind any path below it; signed with the first key of the configuration.
 * @param now wall clock, milliseconds
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function signedUrl (config: Config, { path, expiresInSeconds, viewer, ip }: SignUrlRequest, now: number): Promise<string> {
  const { signedUrlKeys: [key] } = await readAuth(config.auth)
  if (key === undefined) throw new RelayError('RELAY_ERR_CONFIG', '--sign-url: the configuration has no auth.signed_urls.keys')
  const scope = {
    path,
    expiresAt: Math.floor(now / 1_000) + expiresInSeconds,
    ...viewer === undefined ? {} : { viewer },
    ...ip === undefined ? {} : { ip }
  }
  try {
    return path.endsWith('/') ? `?${signQuery(scope, key)}` : signUrl(scope, key)
  } catch (error) {
    throw new RelayError('RELAY_ERR_CONFIG', `--sign-url: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
