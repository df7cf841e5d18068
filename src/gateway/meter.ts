import { MAX_LATENCIES, type GatewayCounts } from '../channel/from-gateway.ts'
import type { Counted, CounterLabels, GatewayCounter } from '../channel/gateway-counters.ts'
import type { SessionTransportName } from '../protocol/session-transports.ts'
import type { StreamReport } from './session/session-types.ts'

/** What is counted between two heartbeats; bounded whatever happens in between: labels have closed lists of values. */
export class GatewayMeter {
  #counters = new Map<string, Counted>()
  #latencies: GatewayCounts['latencies'] = []

  /** @param by may be negative for what came back: it is taken off what comes next, since counters do not fall */
  count<N extends GatewayCounter> (name: N, labels: CounterLabels<N>, by = 1): void {
    if (by === 0) return
    const series = `${name} ${Object.values(labels).join(' ')}`
    const known = this.#counters.get(series)
    if (known === undefined) this.#counters.set(series, [name, labels, by] as Counted)
    else known[2] += by
  }

  stream (transport: SessionTransportName, { outcome, status, bytes, origin, firstByteMs, totalMs }: StreamReport): void {
    this.count('icn_relay_viewer_streams_total', { transport, outcome })
    if (status === 429) this.count('icn_relay_viewer_requests_limited_total', { transport })
    this.count('icn_relay_bytes_served_total', { transport }, bytes)
    // Beyond the bound a stream still counts and its latency is not sampled.
    if (origin === undefined || outcome !== 'ok' || this.#latencies.length + 2 > MAX_LATENCIES) return
    const result = origin.hit ? 'hit' : 'miss'
    if (firstByteMs !== undefined) this.#latencies.push([transport, result, 'first_byte', firstByteMs / 1_000])
    if (totalMs !== undefined) this.#latencies.push([transport, result, 'complete', totalMs / 1_000])
  }

  /** What has gathered since the last call. */
  take (): GatewayCounts {
    const counters = [...this.#counters.values()].filter(([, , by]) => by > 0)
    this.#counters = new Map([...this.#counters].filter(([, [, , by]]) => by < 0))
    const latencies = this.#latencies
    this.#latencies = []
    return { counters, latencies }
  }
}
