import { BACKDATE_MS } from './self-signed.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** The next certificate is created, and its hash published, this long before the current one ends. */
export const CREATE_NEXT_MS = 3 * DAY_MS
/** The next certificate takes over this long before the current one ends: viewers' clocks and long outages fit in. */
export const SWITCH_MS = DAY_MS
/** A next certificate that was created late is still published this long before it takes over. */
export const PUBLISH_MS = HOUR_MS
/** However late, the switch happens this long before the current certificate ends. */
export const LAST_MOMENT_MS = 300_000

/** Validity of one certificate, milliseconds since the epoch. */
export interface Validity {
  readonly notBefore: number
  readonly notAfter: number
}

export interface CertificatePair {
  readonly current: Validity | undefined
  readonly next: Validity | undefined
}

export type RenewalAction =
  /** Nothing usable: create a certificate and serve it immediately. */
  | { readonly do: 'create-current' }
  /** Create the one that follows and publish its hash. */
  | { readonly do: 'create-next' }
  /** Serve the next certificate; it becomes the current one. */
  | { readonly do: 'switch' }
  /** Nothing to do before this time, milliseconds since the epoch. */
  | { readonly do: 'wait', readonly until: number }

/** What to do about a pair of self-signed certificates at a time; repeated until it says wait. */
export function nextAction (now: number, pair: CertificatePair): RenewalAction {
  const next = pair.next !== undefined && isValid(now, pair.next) ? pair.next : undefined
  const { current } = pair
  if (current === undefined || !isValid(now, current)) return { do: next === undefined ? 'create-current' : 'switch' }
  // A next one that ends with the current one, or before it, prolongs nothing.
  if (next === undefined || next.notAfter <= current.notAfter) {
    const createAt = current.notAfter - CREATE_NEXT_MS
    return now >= createAt ? { do: 'create-next' } : { do: 'wait', until: createAt }
  }
  const published = next.notBefore + BACKDATE_MS + PUBLISH_MS
  const switchAt = Math.min(Math.max(current.notAfter - SWITCH_MS, published), current.notAfter - LAST_MOMENT_MS)
  return now >= switchAt ? { do: 'switch' } : { do: 'wait', until: switchAt }
}

function isValid (now: number, validity: Validity): boolean {
  return now >= validity.notBefore && now < validity.notAfter
}
