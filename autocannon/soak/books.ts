/** Whether what viewers saw and what the relay counted is one story; pure. */
import { total, type Counters } from '../relay-counters.ts'

/** What the viewers of one transport saw. */
export interface TransportTally {
  /** Bodies that came whole, and were right. */
  readonly ok: number
  readonly okBytes: number
  /** Requests that got an error as their answer. */
  readonly refused: number
  /** Requests without a whole answer. */
  readonly broken: number
  /** Bodies that came whole with wrong bytes. */
  readonly wrong: number
}

export type Tallies = Readonly<Record<string, TransportTally>>

/** Counters that grew between two readings. */
export interface Grown {
  readonly hits: number
  readonly misses: number
  readonly failures: number
  readonly httpRequests: number
  readonly streams: number
  readonly bytes: Readonly<Record<string, number>>
}

const HTTP_REQUESTS = 'icn_relay_viewer_http_request_duration_seconds_count'
/** Of a response over a session; they have some 400. */
const MAX_HEAD_BYTES = 2_048
export const TRANSPORTS = ['http', 'webtransport', 'websocket'] as const

/** How much the counters grew that the books are about. */
export function grown (before: Counters, after: Counters): Grown {
  const by = (name: string, labels = ''): number => total(after, name, labels) - total(before, name, labels)
  return {
    hits: by('icn_relay_cache_hits_total'),
    misses: by('icn_relay_cache_misses_total'),
    failures: by('icn_relay_open_failures_total'),
    httpRequests: by(HTTP_REQUESTS, 'route="/shards/*"'),
    streams: by('icn_relay_viewer_streams_total'),
    bytes: Object.fromEntries(TRANSPORTS.map(transport => [transport, by('icn_relay_bytes_served_total', `transport="${transport}"`)]))
  }
}

const sum = (tallies: readonly TransportTally[], of: (tally: TransportTally) => number): number => tallies.reduce((all, tally) => all + of(tally), 0)

/**
 * The books of a time in which things broke. Every whole answer was opened once; a request that broke off may or may not have come that
 * far, and what a killed gateway had not reported is lost: so each count lies between what certainly was and what may have been.
 */
export function checkStorm (tallies: Tallies, counted: Grown, maxBytes: number): string[] {
  const transports = Object.values(tallies)
  const [ok, refused, broken] = [sum(transports, tally => tally.ok), sum(transports, tally => tally.refused), sum(transports, tally => tally.broken)]
  const faults: string[] = []
  const between = (what: string, value: number, least: number, most: number): void => {
    if (value < least || value > most) faults.push(`storm: ${what} is ${value}, and must be ${least} to ${most}`)
  }
  between('hits + misses', counted.hits + counted.misses, ok, ok + refused + broken)
  between('hits + misses + errors', counted.hits + counted.misses + counted.failures, ok, ok + refused + broken)
  const { http } = tallies
  if (http !== undefined) {
    between('requests served over HTTP', counted.httpRequests, http.ok + http.refused, http.ok + http.refused + http.broken)
    between('bytes served over HTTP', counted.bytes['http'] ?? 0, http.okBytes, http.okBytes + (http.refused + http.broken) * maxBytes)
  }
  const sessions = Object.entries(tallies).filter(([transport]) => transport !== 'http').map(([, tally]) => tally)
  between('streams served', counted.streams, 0, sum(sessions, tally => tally.ok + tally.refused + tally.broken))
  return faults
}

/** The books of a calm time, with nothing in flight at either end: every count is exact. */
export function checkCalm (tallies: Tallies, counted: Grown): string[] {
  const transports = Object.values(tallies)
  const asked = sum(transports, tally => tally.ok + tally.refused)
  const faults: string[] = []
  const equal = (what: string, value: number, expected: number): void => {
    if (value !== expected) faults.push(`calm: ${what} is ${value}, and must be ${expected}`)
  }
  equal('requests that broke off', sum(transports, tally => tally.broken), 0)
  equal('hits + misses + errors', counted.hits + counted.misses + counted.failures, asked)
  equal('requests served over HTTP', counted.httpRequests, (tallies['http']?.ok ?? 0) + (tallies['http']?.refused ?? 0))
  const sessions = Object.entries(tallies).filter(([transport]) => transport !== 'http').map(([, tally]) => tally)
  equal('streams served', counted.streams, sum(sessions, tally => tally.ok + tally.refused))
  for (const [transport, tally] of Object.entries(tallies)) {
    const bytes = counted.bytes[transport] ?? 0
    if (transport === 'http' && tally.refused === 0) equal('bytes served over http', bytes, tally.okBytes)
    // The gateway counts the heads of its responses, and the documents of its refusals, along with the bodies.
    else if (bytes < tally.okBytes || bytes > tally.okBytes + (tally.ok + tally.refused) * MAX_HEAD_BYTES) faults.push(`calm: bytes served over ${transport} are ${bytes}, with bodies of ${tally.okBytes}`)
    if (tally.ok === 0) faults.push(`calm: nobody got anything over ${transport}`)
  }
  return faults
}

/** Wrong bytes are wrong at any time. */
export function checkBytes (tallies: Tallies): string[] {
  return Object.entries(tallies).filter(([, tally]) => tally.wrong > 0).map(([transport, tally]) => `${tally.wrong} bodies with wrong bytes over ${transport}`)
}
