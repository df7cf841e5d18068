import type { AuthSettings } from './auth-settings.ts'
import { BUSY, JwtJudge, type JwtOutcome } from './jwt-judge.ts'
import { JwtVerifier } from './jwt-verifier.ts'
import { MAX_TOKEN_BYTES } from './request-token.ts'
import { SignedUrls } from './signed-url.ts'
import { StaticTokens, tokenHash } from './static-tokens.ts'
import { ANONYMOUS, applyGrant, MISSING, refused, type Verdict } from './verdict.ts'

/** What a viewer shows. */
export interface Credentials {
  /** As `requestToken` reads it; undefined when there is none. */
  readonly token: string | undefined
  /** Where signed URLs count: request target and peer address. A token goes before a signature. */
  readonly url?: { readonly target: string, readonly ip: string | undefined }
}

interface Means {
  readonly required: boolean
  readonly tokens: StaticTokens
  readonly jwt: JwtJudge | undefined
  readonly urls: SignedUrls | undefined
}

const UNKNOWN = refused('RELAY_ERR_VIEWER_UNAUTHORIZED', 'the token is not valid')
const TOO_LONG = refused('RELAY_ERR_VIEWER_UNAUTHORIZED', `the token is longer than ${MAX_TOKEN_BYTES} bytes`)
const TOO_MANY = refused('RELAY_ERR_VIEWER_VERIFIER_BUSY', 'too many tokens are being checked')

function meansOf ({ require, tokens, jwt, signedUrlKeys }: AuthSettings): Means {
  return {
    required: require,
    tokens: new StaticTokens(tokens),
    jwt: jwt === undefined ? undefined : new JwtJudge(new JwtVerifier(jwt)),
    urls: signedUrlKeys.length === 0 ? undefined : new SignedUrls(signedUrlKeys)
  }
}

/** Judges viewers: the one place for every surface. Static tokens, JWTs, signed URLs. */
export class ViewerJudge {
  readonly #now: () => number
  #means: Means

  /** @param now wall clock, milliseconds since the epoch */
  constructor (settings: AuthSettings, now: () => number) {
    this.#now = now
    this.#means = meansOf(settings)
  }

  get required (): boolean { return this.#means.required }

  /** Tokens remembered and signatures being checked. */
  sizes (): ReturnType<JwtJudge['sizes']> {
    return this.#means.jwt?.sizes() ?? { known: 0, knownBytes: 0, checking: 0 }
  }

  /** Judges by other settings from now on; what was remembered is forgotten. */
  replace (settings: AuthSettings): void {
    this.#means = meansOf(settings)
  }

  /**
   * Whether the viewer may go on, and as whom; immediately unless a signature has to be checked. Never rejects. While no credentials are
   * required, those that are not valid count for nothing instead of being refused.
   * @param cid of the object that is asked for; undefined where none is named yet, then the scope of the token does not matter
   */
  judge (credentials: Credentials, cid?: string): Verdict | Promise<Verdict> {
    const means = this.#means
    const verdict = this.#strictly(means, credentials, cid)
    return verdict instanceof Promise ? verdict.then(late => lenient(means, late)) : lenient(means, verdict)
  }

  #strictly ({ tokens, jwt, urls }: Means, { token, url }: Credentials, cid: string | undefined): Verdict | Promise<Verdict> {
    if (token === undefined) return (url === undefined ? undefined : urls?.judge(url.target, url.ip, this.#now())) ?? MISSING
    if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) return TOO_LONG
    const hash = tokenHash(token)
    const known = tokens.find(hash)
    if (known !== undefined) return applyGrant(known, cid, this.#now())
    if (jwt === undefined) return UNKNOWN
    const outcome = jwt.look(token, hash)
    return outcome instanceof Promise ? outcome.then(late => this.#outcome(late, cid)) : this.#outcome(outcome, cid)
  }

  #outcome (outcome: JwtOutcome, cid: string | undefined): Verdict {
    if (outcome === BUSY) return TOO_MANY
    return typeof outcome === 'string' ? refused('RELAY_ERR_VIEWER_UNAUTHORIZED', outcome) : applyGrant(outcome, cid, this.#now())
  }
}

function lenient ({ required }: Means, verdict: Verdict): Verdict {
  return verdict.ok || required ? verdict : ANONYMOUS
}
