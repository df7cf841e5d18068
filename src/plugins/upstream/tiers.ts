import { RelayError } from '../../base/errors.ts'
import { formatVia, receivedBy } from '../../protocol/via.ts'

/** Our place among relays that ask relays. */
export interface Tier {
  /** Our name in `via`, the same for the life of the process: `icn-relay-<id>`. */
  readonly pseudonym: string
  /** A request with as many `via` members is not forwarded any more. */
  readonly maxHops: number
}

const PREFIX = 'icn-relay-'

/** Characters of a host name that go into a pseudonym. */
const MAX_HOST_CHARS = 40

/**
 * The name of a relay in `via`.
 * @param id configured; '' makes one of the host's name and 32 random bits, so that two relays on one host differ
 * @param random in [0, 1)
 */
export function relayPseudonym (id: string, hostname: string, random: () => number): string {
  if (id !== '') return PREFIX + id
  const host = hostname.toLowerCase().replace(/[^a-z0-9-]+/g, '-').slice(0, MAX_HOST_CHARS)
  const suffix = Math.floor(random() * 2 ** 32).toString(16).padStart(8, '0')
  return `${PREFIX}${host === '' ? '' : `${host}-`}${suffix}`
}

/** Whether a relay forwarded the request, and not only a proxy that stands before us. */
export function cameFromRelay (via: readonly string[]): boolean {
  return via.some(member => receivedBy(member).startsWith(PREFIX))
}

/** Whether two requests came the same way. */
export function sameWay (a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((member, position) => member === b[position])
}

/**
 * Refuses a request that goes in circles, before it waits for anything: one that joined our own fill while that fill waits for the
 * one who asks would wait for itself.
 * @param via members of the request as it came in
 * @throws RelayError RELAY_ERR_LOOP (508, RFC 5842 §7.2)
 */
export function refuseLoop (via: readonly string[], { pseudonym, maxHops }: Tier): void {
  const self = pseudonym.toLowerCase()
  if (via.some(member => receivedBy(member) === self)) throw new RelayError('RELAY_ERR_LOOP', 'the request has passed this relay before')
  if (via.length >= maxHops) throw new RelayError('RELAY_ERR_LOOP', `the request has ${via.length} hops behind it, fewer than ${maxHops} are allowed`)
}

/** The `via` field of what we ask in turn: every gateway adds itself (RFC 9110 §7.6.3). */
export function onwardVia (via: readonly string[], pseudonym: string): string {
  return formatVia([...via, `1.1 ${pseudonym}`])
}
