import type { RefusalCode } from '../admission/verdict.ts'
import { MAX_LATENCIES, type GatewayCounts } from '../channel/from-gateway.ts'
import type { SessionTransportName } from '../protocol/transport-session.ts'
import type { StreamReport } from './session/session-types.ts'
import type { HandshakeFailure } from './transports/viewer-transport.ts'

/** `refusals` is optional on the channel, here it is always there. */
function empty (): GatewayCounts & Required<Pick<GatewayCounts, 'refusals'>> {
  return { handshakes: {}, handshakeFailures: {}, refusals: {}, streams: [], limited: {}, bytes: {}, latencies: [] }
}

const add = (counts: Record<string, number>, key: string, by: number): void => { counts[key] = (counts[key] ?? 0) + by }

function addTo (streams: GatewayCounts['streams'], { transport, outcome }: Omit<GatewayCounts['streams'][number], 'count'>): void {
  const known = streams.find(one => one.transport === transport && one.outcome === outcome)
  if (known === undefined) streams.push({ transport, outcome, count: 1 })
  else known.count++
}

/** Counts between two heartbeats; bounded whatever happens in between. */
export class GatewayMeter {
  #counts = empty()
  readonly #granted: Record<string, number> = {}

  handshake (transport: SessionTransportName): void { add(this.#counts.handshakes, transport, 1) }

  handshakeFailed (reason: HandshakeFailure): void { add(this.#counts.handshakeFailures, reason, 1) }

  shed (): void { this.#counts.shed = (this.#counts.shed ?? 0) + 1 }
  /** A viewer was refused, at its handshake or for a request. */
  refusal (code: RefusalCode): void { add(this.#counts.refusals, code, 1) }

  stream (transport: SessionTransportName, report: StreamReport): void {
    addTo(this.#counts.streams, { transport, outcome: report.outcome })
    if (report.status === 429) add(this.#counts.limited, transport, 1)
    add(this.#counts.bytes, transport, report.bytes)
    // Beyond the bound a stream still counts and its latency is not sampled.
    const { latencies } = this.#counts
    if (report.origin === undefined || report.outcome !== 'ok' || latencies.length + 2 > MAX_LATENCIES) return
    const result = report.origin.hit ? 'hit' : 'miss'
    if (report.firstByteMs !== undefined) latencies.push([transport, result, 'first_byte', report.firstByteMs / 1_000])
    if (report.totalMs !== undefined) latencies.push([transport, result, 'complete', report.totalMs / 1_000])
  }

  /** Bytes that had to be admitted; negative when they came back. */
  granted (transport: SessionTransportName, bytes: number): void { add(this.#granted, transport, bytes) }

  /** Milliseconds a viewer has waited for bandwidth. */
  throttled (transport: SessionTransportName, ms: number): void {
    if (ms > 0) add(this.#counts.throttledMs ??= {}, transport, ms)
  }

  /** What has gathered since the last call. */
  take (): GatewayCounts {
    const counts = this.#counts
    this.#counts = empty()
    // What came back after it was counted is taken off what is granted next: counters do not fall.
    const rising = Object.entries(this.#granted).filter(([, bytes]) => bytes > 0)
    if (rising.length > 0) counts.granted = Object.fromEntries(rising)
    for (const [transport] of rising) this.#granted[transport] = 0
    return counts
  }
}
