import { createHash, timingSafeEqual } from 'node:crypto'

export type Authorization = 'ok' | 'missing' | 'denied'

/** What static tokens are checked by; it crosses processes, the tokens do not. */
export interface TokenSettings {
  readonly require: boolean
  /** SHA-256, lower-case hex. */
  readonly tokenHashes: readonly string[]
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

export function tokenSettings ({ require, tokens }: { readonly require: boolean, readonly tokens: readonly string[] }): TokenSettings {
  return { require, tokenHashes: tokens.map(token => digest(token).toString('hex')) }
}

/** Judges viewer tokens against the configured list; the one place for every surface. */
export class StaticTokens {
  readonly required: boolean
  readonly #hashes: readonly Buffer[]

  constructor ({ require, tokenHashes }: TokenSettings) {
    this.required = require
    this.#hashes = tokenHashes.map(hash => Buffer.from(hash, 'hex'))
  }

  /** @param token undefined when the viewer sent none */
  judge (token: string | undefined): Authorization {
    if (!this.required) return 'ok'
    if (token === undefined) return 'missing'
    // Digests have one length, and every token is compared, so the time taken tells nothing about any of them.
    const hash = digest(token)
    let known = false
    for (const candidate of this.#hashes) known = timingSafeEqual(candidate, hash) || known
    return known ? 'ok' : 'denied'
  }
}

/** The token of a request: a bearer field (RFC 6750 §2.1), else `?token=` of its target. Secret, never to be logged. */
export function requestToken (authorization: string | undefined, target: string): string | undefined {
  const bearer = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  const query = target.indexOf('?')
  const token = query < 0 ? null : new URLSearchParams(target.slice(query + 1)).get('token')
  return token === null || token === '' ? undefined : token
}
