import type { TransportCandidate, TransportMemory } from './transport-memory.ts'
import type { TransportFailure, TransportInfo, TransportName } from './transports.ts'

/** The transports of one client and what is remembered of them. */
export class TransportChoice {
  readonly #memory: TransportMemory
  readonly #transports: readonly TransportName[]
  readonly #now: () => number
  readonly #had = new Set<TransportName>()

  /** @param transports to try, best first */
  constructor (memory: TransportMemory, transports: readonly TransportName[], now: () => number) {
    this.#memory = memory
    this.#transports = transports
    this.#now = now
  }

  /** In the order in which to try them. */
  candidates (relayUrl: string): TransportCandidate[] {
    return this.#memory.order(relayUrl, this.#transports, this.#now())
  }

  /** Rank of a transport, 0 for the best. */
  rank ({ relayUrl, transport }: Pick<TransportInfo, 'relayUrl' | 'transport'>): number {
    return this.candidates(relayUrl).findIndex(candidate => candidate.transport === transport)
  }

  /** Milliseconds until a transport is no longer held back; undefined when none is. */
  changesIn (relayUrl: string): number | undefined {
    const now = this.#now()
    const at = this.#memory.changesAt(relayUrl, now)
    return at === undefined ? undefined : at - now
  }

  /** The client is connected over it. */
  taken (transport: TransportName): void { this.#had.add(transport) }

  /** It did badly. */
  demote ({ relayUrl, transport }: Pick<TransportInfo, 'relayUrl' | 'transport'>, reason: string): void {
    this.#memory.demote(relayUrl, transport, reason, this.#now())
  }

  /** These gave no answer where another did. Of one that has carried this client it says more about the relay, which may be starting again. */
  unanswered (relayUrl: string, failures: readonly TransportFailure[]): void {
    for (const { transport, reason } of failures) if (!this.#had.has(transport)) this.demote({ relayUrl, transport }, reason)
  }

  /** This one proved to be faster than the one in use: those before it come after it from now on. */
  chosen ({ relayUrl, transport }: TransportInfo): void {
    for (const before of this.#transports.slice(0, this.#transports.indexOf(transport))) this.demote({ relayUrl, transport: before }, `${transport} was faster`)
  }
}
