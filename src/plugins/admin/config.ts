import Type from 'typebox'
import { CidPrefixes, count, host, live, port, section } from '../../config/parts.ts'

/** What an authorization header can carry, long enough not to be guessed. */
export const ADMIN_TOKEN = /^[!-~]{16,512}$/

const AdminToken = Type.Object({
  token: Type.Optional(Type.String({ pattern: ADMIN_TOKEN.source, secret: true })),
  token_file: Type.Optional(Type.String({ minLength: 1 })),
  scope: Type.Union([Type.Literal('read'), Type.Literal('purge'), Type.Literal('write')]),
  cid_prefixes: Type.Optional(CidPrefixes),
  name: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$' }))
}, { additionalProperties: false })

/** What the log calls them. */
export function tokenNames (tokens: readonly { readonly name?: string }[]): string[] {
  return tokens.map(({ name = '' }, position) => name === '' ? `token-${position + 1}` : name)
}

/** Keys of `[admin]`. */
export const adminConfig = section({
  host: host('127.0.0.1', 'address the admin listener binds'),
  port: port(9103, 'admin and metrics port'),
  tokens: Type.Array(AdminToken, { default: [], maxItems: 64, live: true, description: 'bearer tokens: `{ token = "…" }` or `{ token_file = "…" }` with `scope = "read"`, `"purge"` (which may purge and nothing else; with `cid_prefixes`, only CIDs that begin so) or `"write"`, and a `name` for the log (`token-1` and so on by default); without any, one is made at the first start and kept in `admin-token` in the cache directory' }),
  loopback_without_token: Type.Boolean({ default: false, live: true, description: 'make no token: without `tokens`, /admin/v1 then answers whoever asks on loopback, local users and programs included' }),
  dashboard: Type.Boolean({ default: true, description: 'serve the dashboard at `/` of the admin listener: a page for everybody who reaches it, which shows nothing without a token' }),
  requests_per_minute: live(count(600, 1_000_000, 'requests to /admin/v1 per address and minute'))
}, 'What operators connect to.')
