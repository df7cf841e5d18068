import { AddressCounts } from '../admission/address-counts.ts'
import type { ViewerNetworks } from '../admission/viewer-networks.ts'
import type { SessionTransportName } from '../protocol/session-transports.ts'
import { CLOSE_CODE } from '../protocol/stream-codes.ts'
import type { SessionEntry } from './session-row.ts'

/** The sessions of a gateway, and how many of them each address has. */
export class SessionTable {
  readonly #sessions = new Map<string, SessionEntry>()
  readonly #perIp = new AddressCounts()
  /** Called whenever a session has gone. */
  readonly #leavers = new Set<() => void>()

  get size (): number { return this.#sessions.size }
  /** Addresses that have sessions. */
  get addresses (): number { return this.#perIp.size }

  [Symbol.iterator] (): IterableIterator<SessionEntry> { return this.#sessions.values() }

  /** Brings the rates of all sessions up to date. @param seconds since the last time @returns sessions by transport */
  measure (seconds: number, each: (entry: SessionEntry) => void): Record<string, number> {
    const sessions: Record<string, number> = {}
    for (const entry of this) {
      const { transport } = entry.session.transport
      sessions[transport] = (sessions[transport] ?? 0) + 1
      const { bytes } = entry.session.stats()
      entry.rate = entry.rate / 2 + (bytes - entry.bytes) / seconds / 2
      entry.bytes = bytes
      each(entry)
    }
    return sessions
  }

  get (id: string): SessionEntry | undefined { return this.#sessions.get(id) }

  /** Sessions of one address. */
  of (ip: string): number { return this.#perIp.of(ip) }

  over (transport: SessionTransportName): SessionEntry[] {
    return Array.from(this).filter(entry => entry.session.transport.transport === transport)
  }

  add (entry: SessionEntry): void {
    this.#sessions.set(entry.session.transport.id, entry)
    this.#perIp.add(entry.visitor.ip)
  }

  remove (entry: SessionEntry): void {
    this.#sessions.delete(entry.session.transport.id)
    this.#perIp.remove(entry.visitor.ip)
    for (const check of this.#leavers) check()
  }

  /** Ends the sessions of viewers who are not let in any more. */
  end (networks: ViewerNetworks): void {
    for (const { session, visitor } of this) if (networks.refuses(visitor.ip)) session.close(CLOSE_CODE.none, 'viewers of this network are not served here')
  }

  /** Waits until those who are waited for have gone, for a time at most. */
  async left (gone: () => boolean, withinMs: number): Promise<void> {
    let check = (): void => {}
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      check = () => { if (gone()) resolve() }
      timer = setTimeout(resolve, withinMs)
      this.#leavers.add(check)
      check()
    })
    clearTimeout(timer)
    this.#leavers.delete(check)
  }
}
