import { configuredHash } from '../admission/static-tokens.ts'
import type { Config } from './schema.ts'

/** What the schema cannot express about `[auth]`: a line for each problem, none of which repeats a secret. */
export function authProblems ({ auth }: Config): string[] {
  const problems: string[] = []
  const { tokens, jwt, signed_urls: urls } = auth
  const seen = new Map<string, number>()
  tokens.forEach((item, position) => {
    const hash = configuredHash(typeof item === 'string' ? item : item.token)
    const first = seen.get(hash)
    if (first !== undefined) problems.push(`auth.tokens.${position} repeats auth.tokens.${first}`)
    else seen.set(hash, position)
  })
  if (jwt.hs256_secret !== '' && jwt.hs256_secret_file !== '') problems.push('auth.jwt must have hs256_secret or hs256_secret_file, not both')
  const kids = new Set<string>()
  urls.keys.forEach(({ kid, secret, secret_file: file }, position) => {
    if ((secret === undefined) === (file === undefined)) problems.push(`auth.signed_urls.keys.${position} must have either secret or secret_file`)
    if (kids.has(kid)) problems.push(`auth.signed_urls.keys.${position}.kid repeats ${kid}`)
    kids.add(kid)
  })
  return problems
}
