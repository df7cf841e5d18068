import Type from 'typebox'
import { CidPrefixes, explained, file, section } from '../../config/parts.ts'

/** Hashed as `icn-relay --hash-token` does it, or as it is. */
const VIEWER_TOKEN = { pattern: '^(?:sha256:[0-9a-fA-F]{64}|(?!sha256:)[\\s\\S]{16,512})$' }

const VIEWER_TOKEN_IS = 'must be "sha256:" and 64 hexadecimal digits, or a token of 16 to 512 characters'

/** Not a choice of two schemas: each keyword below is for one of the types only, so that a mistake is named for what it is. */
const ViewerToken = explained<string | { token: string, class?: string, cid_prefixes?: string[] }>({
  type: ['string', 'object'],
  secret: true,
  ...VIEWER_TOKEN,
  required: ['token'],
  additionalProperties: false,
  properties: {
    token: explained<string>({ type: 'string', secret: true, ...VIEWER_TOKEN }, VIEWER_TOKEN_IS),
    class: Type.String({ pattern: '^[A-Za-z0-9_-]{1,32}$' }),
    cid_prefixes: CidPrefixes
  }
}, VIEWER_TOKEN_IS)

const SignedUrlKey = Type.Object({
  kid: Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$' }),
  secret: Type.Optional(Type.String({ minLength: 32, maxLength: 512, secret: true })),
  secret_file: Type.Optional(Type.String({ minLength: 1 }))
}, { additionalProperties: false })

/** Keys of `[auth]`. */
export const authConfig = section({
  require: Type.Boolean({ default: false, description: 'refuse viewers without a token' }),
  tokens: Type.Array(ViewerToken, { default: [], maxItems: 1_000, description: 'static viewer tokens: `"sha256:<64 hex>"` as `icn-relay --hash-token` prints it, or `{ token = "sha256:…", class = "premium", cid_prefixes = ["Qm"] }`; plain text is accepted with a warning' }),
  jwt: section({
    hs256_secret: Type.String({ maxLength: 512, default: '', secret: true, description: 'shared secret of HS256, 32 bytes or more; better in a file' }),
    hs256_secret_file: file('file with the shared secret of HS256'),
    public_key_files: Type.Array(Type.String({ minLength: 1, maxLength: 4_096 }), { default: [], maxItems: 16, description: 'PEM files of public keys or certificates: Ed25519 (EdDSA), P-256, P-384, P-521 (ES256, ES384, ES512), RSA (RS256)' }),
    jwks_file: file('JWK Set with public keys, `alg` and `kid` respected'),
    issuer: Type.String({ maxLength: 512, default: '', description: 'what `iss` must be; empty for anything' }),
    audience: Type.String({ maxLength: 512, default: '', description: 'what `aud` must contain; empty for anything' }),
    require_exp: Type.Boolean({ default: true, description: 'refuse tokens without `exp`' }),
    clock_tolerance_ms: Type.Integer({ minimum: 0, maximum: 600_000, default: 5_000, unit: 'time', description: 'how far the clock of the issuer may be off, milliseconds' })
  }, 'JSON Web Tokens of viewers; the files are read again when they change and on SIGHUP.'),
  signed_urls: section({
    keys: Type.Array(SignedUrlKey, { default: [], maxItems: 16, description: 'keys of signed URLs: `{ kid = "2026-01", secret_file = "…" }`, or `secret` of 32 characters or more; the first one signs, all are accepted' })
  }, 'Signed URLs for viewer HTTP; the files are read again when they change and on SIGHUP.')
}, 'Viewer authentication.', { live: true })
