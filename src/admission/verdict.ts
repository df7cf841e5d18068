import { ERRORS, RelayError } from '../base/errors.ts'

/** Why a viewer is refused; the label of a metric, so the list is closed. */
export const REFUSALS = [
  'RELAY_ERR_VIEWER_UNAUTHORIZED', 'RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'RELAY_ERR_VIEWER_TOKEN_EARLY', 'RELAY_ERR_VIEWER_SCOPE', 'RELAY_ERR_VIEWER_VERIFIER_BUSY'
] as const
export type RefusalCode = typeof REFUSALS[number]

/** A viewer that may go on. */
export interface Admitted {
  readonly ok: true
  /** Who it is: `sub` of a JWT, `viewer` of a signed URL; undefined for anonymous viewers and static tokens. 1 to 256 visible ASCII characters. */
  readonly identity?: string
  /** Weight class its token names, {@link CLASS_NAME}; undefined for the default class. Nobody has checked that such a class is configured. */
  readonly class?: string
  /** From then on the same token is refused, wall clock, milliseconds since the epoch. */
  readonly expiresAt?: number
}

export interface Refused {
  readonly ok: false
  readonly code: RefusalCode
  /** Constant text for the viewer. */
  readonly detail: string
  /** Whether there was nothing to judge. */
  readonly missing: boolean
}

export type Verdict = Admitted | Refused

/** A viewer without a token where none is required. */
export const ANONYMOUS: Admitted = { ok: true }

/** A viewer without a token where one is required. */
export const MISSING: Refused = { ok: false, code: 'RELAY_ERR_VIEWER_UNAUTHORIZED', detail: 'this relay wants a token', missing: true }

/** Names of weight classes. */
export const CLASS_NAME = /^[A-Za-z0-9_-]{1,32}$/
/** Who a viewer is: what a log line or an account can carry. */
export const IDENTITY = /^[!-~]{1,256}$/
/** Start of a CID. */
export const CID_PREFIX = /^[A-Za-z0-9_-]{1,128}$/
/** CID prefixes of one token. */
export const MAX_CID_PREFIXES = 64

/** What a genuine token stands for; whether it does so now and here is judged at each use. Times are wall clock, milliseconds since the epoch. */
export interface ViewerGrant {
  readonly identity?: string
  readonly class?: string
  /** CIDs start with one of these; undefined for all CIDs, empty for none. */
  readonly cidPrefixes?: readonly string[]
  readonly notBefore?: number
  readonly expiresAt?: number
}

export function refused (code: RefusalCode, detail: string): Refused {
  return { ok: false, code, detail, missing: false }
}

/** What a grant is worth now and, when a CID is given, for that object. */
export function applyGrant (grant: ViewerGrant, cid: string | undefined, now: number): Verdict {
  const { identity, class: name, cidPrefixes, notBefore, expiresAt } = grant
  // RFC 7519 §4.1.4: the time must be before `exp`; §4.1.5: at or after `nbf`.
  if (expiresAt !== undefined && now >= expiresAt) return refused('RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'the token has expired')
  if (notBefore !== undefined && now < notBefore) return refused('RELAY_ERR_VIEWER_TOKEN_EARLY', 'the token is not valid yet')
  if (cid !== undefined && cidPrefixes !== undefined && !cidPrefixes.some(prefix => cid.startsWith(prefix))) {
    return refused('RELAY_ERR_VIEWER_SCOPE', 'the token is not for this object')
  }
  return {
    ok: true,
    ...identity === undefined ? {} : { identity },
    ...name === undefined ? {} : { class: name },
    ...expiresAt === undefined ? {} : { expiresAt }
  }
}

/** A refused viewer as an error for the surface that met it. */
export class ViewerRefused extends RelayError {
  constructor ({ code, detail, missing }: Refused) {
    super(code, detail, { challenge: challenge(ERRORS[code].status, detail, missing) })
  }
}

function challenge (status: number, detail: string, missing: boolean): string | undefined {
  // RFC 6750 §3.1: a request without credentials is told no error.
  if (missing) return 'Bearer'
  const error = status === 401 ? 'invalid_token' : status === 403 ? 'insufficient_scope' : undefined
  return error === undefined ? undefined : `Bearer error="${error}", error_description="${detail}"`
}
