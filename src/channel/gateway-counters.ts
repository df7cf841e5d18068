import Type, { type TObject, type TSchema } from 'typebox'
import { REFUSALS } from '../admission/verdict.ts'
import { SESSION_TRANSPORT_NAMES } from '../protocol/session-transports.ts'

/*
 * What the gateway counts. A counter of its own is a row here and a call of its meter: the message that carries it, the check of that message and the
 * metric of the relay follow.
 */

/**
 * How a request over a session ends. `cancelled`: the viewer reset or stopped the stream; `stalled`: it accepted no byte for too long; `broken`: the
 * body was corrupt or could not be finished; `refused`: too many streams, or the session is ending.
 */
export const STREAM_OUTCOMES = ['ok', 'not-modified', 'client-error', 'server-error', 'cancelled', 'stalled', 'broken', 'refused', 'session-closed'] as const
export type StreamOutcome = typeof STREAM_OUTCOMES[number]
/** Why a handshake does not become a session. `ticket`: none, a bad one or a spent one; `network`: viewers of that address are not let in; `rate-…`: too many in a second, of one address or in total. */
export const HANDSHAKE_FAILURES = ['timeout', 'tls', 'protocol', 'refused', 'limit', 'ticket', 'network', 'rate-address', 'rate-total'] as const
export type HandshakeFailure = typeof HANDSHAKE_FAILURES[number]

/** The values that each label may have. */
type LabelValues = Readonly<Record<string, readonly string[]>>

const byTransport = { transport: SESSION_TRANSPORT_NAMES } as const

/** Counters that nobody else counts, with the help of the metric. */
export const OWN_COUNTERS = {
  icn_relay_viewer_handshakes_total: { help: 'Viewer sessions opened', labels: byTransport },
  icn_relay_viewer_handshake_failures_total: { help: 'Handshakes that did not become a session; rate-address and rate-total: too many in a second, of one address or in total', labels: { reason: HANDSHAKE_FAILURES } },
  icn_relay_viewer_streams_total: { help: 'Requests over viewer sessions by how they ended', labels: { ...byTransport, outcome: STREAM_OUTCOMES } }
} as const satisfies Record<string, { readonly help: string, readonly labels: LabelValues }>

export type OwnCounter = keyof typeof OWN_COUNTERS

/** Counters that HTTP has its part in: the concern that they are of describes them. */
const SHARED_COUNTERS = {
  icn_relay_viewer_requests_limited_total: byTransport,
  icn_relay_viewer_refusals_total: { code: REFUSALS },
  icn_relay_bytes_served_total: byTransport,
  icn_relay_bandwidth_granted_bytes_total: byTransport,
  icn_relay_bandwidth_throttled_seconds_total: byTransport,
  icn_relay_overload_shed_total: { kind: ['session'] }
} as const satisfies Record<string, LabelValues>

type Labels = typeof SHARED_COUNTERS & { readonly [N in keyof typeof OWN_COUNTERS]: typeof OWN_COUNTERS[N]['labels'] }

export type GatewayCounter = keyof Labels
/** The labels of a counter, each with one of its values. */
export type CounterLabels<N extends GatewayCounter> = { readonly [L in keyof Labels[N]]: Labels[N][L] extends readonly (infer V)[] ? V : never }
/** What has come to a counter since the last heartbeat. */
export type Counted = { [N in GatewayCounter]: [name: N, labels: CounterLabels<N>, by: number] }[GatewayCounter]

const LABELS: Readonly<Record<string, LabelValues>> = { ...SHARED_COUNTERS, ...Object.fromEntries(Object.entries(OWN_COUNTERS).map(([name, { labels }]) => [name, labels])) }

/** Every combination of labels once. */
const MAX_SERIES = Object.values(LABELS).reduce((sum, labels) => sum + Object.values(labels).reduce((product, values) => product * values.length, 1), 0)

const one = (words: readonly string[]): TSchema => Type.Unsafe<string>({ type: 'string', enum: words })
const labelsOf = (labels: LabelValues): TObject => Type.Object(Object.fromEntries(Object.entries(labels).map(([label, values]) => [label, one(values)])), { additionalProperties: false })

const Counters = Type.Array(Type.Union(Object.entries(LABELS).map(([name, labels]) => Type.Tuple([Type.Literal(name), labelsOf(labels), Type.Number({ minimum: 0 })]))), { maxItems: MAX_SERIES })

/** The counters of a heartbeat, as they are checked. */
export const CountersSchema = Type.Unsafe<Counted[]>(Counters)
