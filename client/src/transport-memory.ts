import type { TransportName } from './transports.ts'

/** Relays remembered; a page meets a handful. */
const MAX_RELAYS = 64
/** How long a transport that did badly is tried last, milliseconds; doubles each time it does badly again. */
const FIRST_MS = 600_000
const LAST_MS = 86_400_000

interface Demotion {
  readonly until: number
  readonly forMs: number
  readonly reason: string
}

/** A transport in the order in which to try; `demoted` says why it comes late. */
export interface TransportCandidate {
  readonly transport: TransportName
  readonly demoted: string | undefined
}

/** What this network turned out to carry badly, by relay; holds {@link MAX_RELAYS} of them. */
export class TransportMemory {
  readonly #relays = new Map<string, Map<TransportName, Demotion>>()

  get size (): number { return this.#relays.size }

  /** From now on this transport is tried after the others, for a while. What many requests or clients meet at the same time counts once. */
  demote (relayUrl: string, transport: TransportName, reason: string, now: number): void {
    const known = this.#relays.get(relayUrl) ?? new Map<TransportName, Demotion>()
    const before = known.get(transport)
    if (before !== undefined && now < before.until) return
    const forMs = before === undefined ? FIRST_MS : Math.min(LAST_MS, before.forMs * 2)
    known.set(transport, { until: now + forMs, forMs, reason })
    this.#relays.delete(relayUrl)
    this.#relays.set(relayUrl, known)
    const [oldest] = this.#relays.keys()
    if (this.#relays.size > MAX_RELAYS && oldest !== undefined) this.#relays.delete(oldest)
  }

  /** These transports in the order to try them: what did badly comes last. */
  order (relayUrl: string, transports: readonly TransportName[], now: number): TransportCandidate[] {
    const known = this.#relays.get(relayUrl)
    const all = transports.map((transport): TransportCandidate => {
      const demotion = known?.get(transport)
      return { transport, demoted: demotion !== undefined && now < demotion.until ? demotion.reason : undefined }
    })
    return [...all.filter(({ demoted }) => demoted === undefined), ...all.filter(({ demoted }) => demoted !== undefined)]
  }

  /** When the next transport is no longer held back; undefined when none is. */
  changesAt (relayUrl: string, now: number): number | undefined {
    const ends = [...this.#relays.get(relayUrl)?.values() ?? []].map(({ until }) => until).filter(until => until > now)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }
}
