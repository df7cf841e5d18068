import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { AbusePhases } from './abuse-phases.ts'
import { gatewayPid, gatewaySizes } from './gateway-process.ts'
import { residentBytes } from './proc.ts'
import type { SpawnedRelay } from './processes.ts'

/** How much of each; a phase with 0 is left out. */
export interface AbuseCounts {
  readonly sessions: number
  readonly streams: number
  /** Sessions without a good ticket. */
  readonly uninvited: number
  /** Streams that are never ended and never read. */
  readonly unended: number
  /** Sessions that flood the gateway with unidirectional streams or datagrams. */
  readonly unwanted: number
  readonly halfOpen: number
  /** Handshakes with gaps in their CRYPTO data. */
  readonly cryptoGaps: number
  readonly datagrams: number
  readonly mutated: number
  /** Every n-th truncation of an upgrade request. */
  readonly truncationStep: number
}

export interface AbuseOptions {
  /** Growth of memory, bytes, whose end nobody waits for after a phase. */
  readonly tolerance?: number
  /** How often the gateway reports, as it is configured, ms. */
  readonly heartbeatMs?: number
}

export interface AbuseRow {
  readonly phase: string
  readonly count: number
  readonly seconds: number
  /** Resident memory of the gateway before, at most, and after, bytes. */
  readonly before: number
  readonly peak: number
  readonly after: number
  /** Longest answer that a viewer with a session of its own had to wait for meanwhile, ms. */
  readonly witnessMs: number
  /** The largest sizes seen on the way, of those that are not 0 when idle. */
  readonly largest: Readonly<Record<string, number>>
}

/** What keeps its content on purpose, within bounds of its own. */
const CACHES = ['source.seenKeys', 'source.ramBytes', 'gateway.spentTickets']
/** That of relays by default. */
const HEARTBEAT_MS = 250
const LOOK_MS = 100
/** Handshakes that go no further are forgotten by the engine after 30 s, and nothing tells when. */
const REST_MS = 45_000
/** What memory may differ by from one look to the next, bytes. */
const NOISE = 16 * 1_048_576

export class GatewayAbuse {
  readonly #relay: SpawnedRelay
  readonly #phases: AbusePhases
  /** A viewer that was there before and stays. */
  readonly #witness: TransportSession
  readonly #idle: Record<string, number>
  readonly #pid: number
  readonly #options: Required<AbuseOptions>

  private constructor (relay: SpawnedRelay, phases: AbusePhases, witness: TransportSession, idle: Record<string, number>, pid: number, options: Required<AbuseOptions>) {
    this.#relay = relay
    this.#phases = phases
    this.#witness = witness
    this.#idle = idle
    this.#pid = pid
    this.#options = options
  }

  static async of (relay: SpawnedRelay, { tolerance = NOISE, heartbeatMs = HEARTBEAT_MS }: AbuseOptions = {}): Promise<GatewayAbuse> {
    const phases = await AbusePhases.of(relay.viewerUrl)
    const pid = await gatewayPid(relay.pid)
    if (pid === undefined) throw new Error('no gateway')
    const witness = await phases.connect()
    await phases.ask(witness)
    // Sizes are as old as the last heartbeat.
    await new Promise(resolve => { setTimeout(resolve, 2 * heartbeatMs) })
    return new GatewayAbuse(relay, phases, witness, await gatewaySizes(relay.adminUrl), pid, { tolerance, heartbeatMs })
  }

  /** The witness leaves; else its engine would keep this process for half a minute. */
  end (): void { this.#witness.close() }

  /** One phase after the other; after each everything is back at its idle size, and a viewer is served. @throws Error when not */
  async run (counts: AbuseCounts, onRow: (row: AbuseRow) => void = () => {}): Promise<AbuseRow[]> {
    const phases: [string, number, (count: number) => Promise<void>][] = [
      ['sessions one after the other', counts.sessions, async count => { await this.#phases.sessions(count) }],
      ['streams one after the other', counts.streams, async count => { await this.#phases.streams(count) }],
      ['sessions without a good ticket', counts.uninvited, async count => { await this.#phases.uninvited(count) }],
      ['streams never ended and never read', counts.unended, async count => { await this.#phases.unended(count) }],
      ['floods of datagrams and unidirectional streams', counts.unwanted, async count => { await this.#phases.unwanted(count) }],
      ['half-open handshakes', counts.halfOpen, async count => { await this.#phases.halfOpen(count) }],
      ['handshakes with gaps', counts.cryptoGaps, async count => { await this.#phases.cryptoGaps(count) }],
      ['random datagrams', counts.datagrams, async count => { await this.#phases.datagrams(count) }],
      ['mutated packets of a session', counts.mutated, async count => { await this.#phases.mutated(count) }],
      ['truncations of an upgrade', counts.truncationStep, async step => { await this.#phases.truncations(step) }]
    ]
    const rows: AbuseRow[] = []
    for (const [phase, count, run] of phases) {
      if (count === 0) continue
      const row = await this.#measured(phase, count, run)
      onRow(row)
      rows.push(row)
    }
    return rows
  }

  async #measured (phase: string, count: number, run: (count: number) => Promise<void>): Promise<AbuseRow> {
    const before = await residentBytes(this.#pid)
    const largest: Record<string, number> = {}
    const seen = { peak: before, witnessMs: 0, looking: true }
    const look = (async () => {
      while (seen.looking) {
        seen.peak = Math.max(seen.peak, await residentBytes(this.#pid).catch(() => 0))
        for (const [name, size] of Object.entries(await gatewaySizes(this.#relay.adminUrl))) {
          if (!CACHES.includes(name) && size > (largest[name] ?? this.#idle[name] ?? 0)) largest[name] = size
        }
        const asked = performance.now()
        await this.#phases.ask(this.#witness)
        seen.witnessMs = Math.max(seen.witnessMs, performance.now() - asked)
        await new Promise(resolve => { setTimeout(resolve, LOOK_MS) })
      }
    })()
    // It is awaited below; until then its failure is not an unhandled one.
    look.catch(() => {})
    const start = performance.now()
    await run(count)
    const seconds = (performance.now() - start) / 1_000
    await this.#settled(phase)
    const after = await this.#rested(before)
    seen.looking = false
    await look
    const session = await this.#phases.connect()
    await this.#phases.ask(session)
    session.close()
    await this.#settled(phase)
    if (await gatewayPid(this.#relay.pid) !== this.#pid) throw new Error(`${phase}: the gateway was restarted`)
    return { phase, count, seconds, before, peak: seen.peak, after, witnessMs: seen.witnessMs, largest }
  }

  /** Resident memory once it is back where it was, or what it is when that does not come. */
  async #rested (before: number): Promise<number> {
    const end = performance.now() + REST_MS
    for (;;) {
      const now = await residentBytes(this.#pid)
      if (now < before + this.#options.tolerance || performance.now() > end) return now
      await new Promise(resolve => { setTimeout(resolve, LOOK_MS) })
    }
  }

  /** Waits until nothing but the caches differs from an idle gateway. */
  async #settled (phase: string): Promise<void> {
    // Sizes are as old as the last heartbeat: what they say now may be from before the phase.
    await new Promise(resolve => { setTimeout(resolve, 2 * this.#options.heartbeatMs) })
    const end = Date.now() + 60_000
    for (;;) {
      const sizes = await gatewaySizes(this.#relay.adminUrl)
      const left = Object.entries(sizes).filter(([name, size]) => !CACHES.includes(name) && size > (this.#idle[name] ?? 0))
      if (left.length === 0) return
      if (Date.now() > end) throw new Error(`${phase}: left behind ${JSON.stringify(left)}`)
      await new Promise(resolve => { setTimeout(resolve, 50) })
    }
  }
}
