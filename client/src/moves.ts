import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { relayBase } from './dial.ts'

/** Moves a relay may ask for in a minute; two relays that redirect to each other get no more. */
const MAX_MOVES_PER_MINUTE = 5

/** How often the client has followed a relay that sent it away. */
export class MoveBudget {
  #moves: number[] = []

  /** Whether one more is followed; counts it then. @param now monotonic, ms */
  spend (now: number): boolean {
    this.#moves = this.#moves.filter(at => now - at < 60_000)
    if (this.#moves.length >= MAX_MOVES_PER_MINUTE) return false
    this.#moves.push(now)
    return true
  }
}

/** Where a relay sends its viewers, best first: to itself when it drains and names nobody. */
export function destinations (message: Extract<ControlMessage, { type: 'drain' | 'redirect' }>, relayUrl: string): string[] {
  const wanted = message.type === 'redirect' ? [message.url] : message.alternates
  // A token must not leave in the clear because a relay says so.
  const urls = wanted.map(relayBase).filter(url => url !== undefined).filter(url => url.startsWith('https:') || relayUrl.startsWith('http:'))
  return message.type === 'drain' && wanted.length === 0 ? [relayUrl] : urls
}
