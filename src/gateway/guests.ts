import { AddressCounts } from '../admission/address-counts.ts'
import type { TransportName } from '../protocol/transport-session.ts'
import type { Guest } from './session-row.ts'

/** The sessions of a gateway, and how many of them each address has. */
export class Guests {
  readonly #sessions = new Map<string, Guest>()
  readonly #perIp = new AddressCounts()
  /** Called whenever a session has gone. */
  readonly #leavers = new Set<() => void>()

  get size (): number { return this.#sessions.size }
  /** Addresses that have sessions. */
  get addresses (): number { return this.#perIp.size }

  [Symbol.iterator] (): IterableIterator<Guest> { return this.#sessions.values() }

  /** Brings the rates of all sessions up to date. @param seconds since the last time @returns sessions by transport */
  measure (seconds: number, each: (guest: Guest) => void): Record<string, number> {
    const sessions: Record<string, number> = {}
    for (const guest of this) {
      const { transport } = guest.session.transport
      sessions[transport] = (sessions[transport] ?? 0) + 1
      const { bytes } = guest.session.stats()
      guest.rate = guest.rate / 2 + (bytes - guest.bytes) / seconds / 2
      guest.bytes = bytes
      each(guest)
    }
    return sessions
  }

  get (id: string): Guest | undefined { return this.#sessions.get(id) }

  /** Sessions of one address. */
  of (ip: string): number { return this.#perIp.of(ip) }

  over (transport: TransportName): Guest[] {
    return Array.from(this).filter(guest => guest.session.transport.transport === transport)
  }

  add (guest: Guest): void {
    this.#sessions.set(guest.session.transport.id, guest)
    this.#perIp.add(guest.visitor.ip)
  }

  remove (guest: Guest): void {
    this.#sessions.delete(guest.session.transport.id)
    this.#perIp.remove(guest.visitor.ip)
    for (const check of this.#leavers) check()
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
