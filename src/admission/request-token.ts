/** Longest token that is looked at, bytes; a JWT with a handful of claims has about 500. */
export const MAX_TOKEN_BYTES = 8_192

/** The token of a request: a bearer field (RFC 6750 §2.1), else `?token=` of its target. Secret, never to be logged. */
export function requestToken (authorization: string | undefined, target: string): string | undefined {
  const bearer = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  const query = target.indexOf('?')
  const token = query < 0 ? null : new URLSearchParams(target.slice(query + 1)).get('token')
  return token === null || token === '' ? undefined : token
}
