import { isIPv6 } from 'node:net'
import { backoff } from '../circuit.ts'
import { uniqueNodes, type NodeSpec } from './node-source.ts'

/** What is looked up, and what an answer means. */
export interface DnsQuery {
  /** Name that is asked for, without a dot at the end. */
  readonly dns: string
  readonly type: 'SRV' | 'A' | 'AAAA'
  /** With addresses, `http` only: a certificate is for a name, and these answers have none. */
  readonly scheme: 'http' | 'https'
  /** For addresses; an SRV record brings its own. */
  readonly port: number
  readonly region: string
  readonly role: 'origin' | 'relay'
  readonly operator?: string
}

/** An address record as `node:dns` gives it; `ttl` in seconds. */
export interface AddressRecord {
  readonly address: string
  readonly ttl: number
}

/** An SRV record (RFC 2782) as `node:dns` gives it, without its time to live. */
export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/** A record of 0 s would have us ask without pause, ms. */
export const MIN_TTL_MS = 5_000
/** A record of a week would hold us to it after a change, ms. */
export const MAX_TTL_MS = 3_600_000
/** `node:dns` does not tell the time to live of SRV records; a minute is what service discovery usually has, ms. */
export const SRV_TTL_MS = 60_000
/** First pause after a failure, and the longest: the last good answer serves meanwhile, ms. */
export const RETRY_INITIAL_MS = 5_000
export const RETRY_MAX_MS = 300_000
/** Share of a time to live by which look-ups come early, so that relays started together do not ask together. */
const JITTER = 0.1

/** A host name; a target may hold any bytes, and a slash or an at sign would change what the URL means. */
const HOST = /^[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,126}\.?$/

/** Time until the next look-up after an answer, ms: its shortest time to live, within bounds, up to a tenth early. @param random in [0, 1) */
export function refreshDelay (ttlMs: number, random: number): number {
  const clamped = Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, Number.isFinite(ttlMs) ? ttlMs : MIN_TTL_MS))
  return Math.max(MIN_TTL_MS, clamped * (1 - JITTER * random))
}

/** Time until the next look-up after `failures` (one or more) in a row, ms. @param random in [0, 1) */
export function retryDelay (failures: number, random: number): number {
  return backoff(failures - 1, random, { initialMs: RETRY_INITIAL_MS, maxMs: RETRY_MAX_MS })
}

/** What every node of an answer has. */
function nodeOf ({ region, role, operator }: Pick<DnsQuery, 'region' | 'role' | 'operator'>): Omit<NodeSpec, 'url'> {
  return { region, role, ...operator === undefined ? {} : { operator } }
}

/** The nodes of an address answer in a fixed order, and its shortest time to live, ms; undefined when it names none. */
export function fromAddresses (records: readonly AddressRecord[], { scheme, port, ...query }: DnsQuery): { nodes: NodeSpec[], ttlMs: number } | undefined {
  if (records.length === 0) return undefined
  const hosts = records.map(({ address }) => isIPv6(address) ? `[${address}]` : address).toSorted()
  return {
    nodes: uniqueNodes(hosts.map(host => ({ url: new URL(`${scheme}://${host}:${port}`).origin, ...nodeOf(query) }))),
    ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1_000
  }
}

/**
 * The nodes of an SRV answer, preferred ones first so that the bound on their number drops the others; `.` as the target says that
 * there is no such service (RFC 2782). Undefined when it names none.
 */
export function fromServices (records: readonly SrvRecord[], { scheme, ...query }: DnsQuery): { nodes: NodeSpec[], ttlMs: number } | undefined {
  const usable = records.filter(({ name, port }) => HOST.test(name) && port > 0 && URL.canParse(`${scheme}://${name}:${port}`))
  if (usable.length === 0) return undefined
  const ordered = usable.toSorted((a, b) => a.priority - b.priority || b.weight - a.weight || a.port - b.port || (a.name < b.name ? -1 : 1))
  return { nodes: uniqueNodes(ordered.map(({ name, port }) => ({ url: new URL(`${scheme}://${name}:${port}`).origin, ...nodeOf(query) }))), ttlMs: SRV_TTL_MS }
}
