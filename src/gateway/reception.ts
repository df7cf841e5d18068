import { ViewerNetworks, type NetworkLists } from '../admission/viewer-networks.ts'
import { ERRORS } from '../base/errors.ts'
import type { HandshakeLimiter } from '../admission/handshake-limiter.ts'
import type { SessionRequest } from '../protocol/transport-session.ts'
import type { TicketGate } from './ticket-gate.ts'
import type { SessionDecision } from './transports/viewer-transport.ts'

/** Address of viewers whose engine does not tell it and who have no ticket: they share one. */
const UNKNOWN_ADDRESS = 'unknown'
/** What a client puts into the URL of each of its sessions: 128 bits or more of its own choice. */
const VIEWER_ID = /^[A-Za-z0-9_-]{16,64}$/

/** Whom a session belongs to. */
export interface Visitor {
  readonly ip: string
  readonly port: number | undefined
  /** The same for all sessions of one client, from one address; undefined when it does not say. */
  readonly viewer: string | undefined
}

export interface ReceptionDeps {
  readonly tickets: TicketGate
  readonly requireTicket: boolean
  readonly networks: NetworkLists
  /** Limits those who come without a ticket; everybody else has met the limits before. */
  readonly handshakes: Pick<HandshakeLimiter, 'admit'>
  readonly clock: { readonly now: () => number, readonly monotonic: () => number }
}

type RefusedSession = Extract<SessionDecision, { accept: false }>

/** Finds out who asks for a session: by the address of the connection, or by the ticket where the engine does not tell it. */
export class Reception {
  readonly #deps: ReceptionDeps
  #networks: ViewerNetworks
  readonly #visitors = new WeakMap<SessionRequest, Visitor>()

  constructor (deps: ReceptionDeps) {
    this.#deps = deps
    this.#networks = new ViewerNetworks(deps.networks)
  }

  /** Lets in by these lists from now on. */
  useNetworks (lists: NetworkLists): ViewerNetworks { return (this.#networks = new ViewerNetworks(lists)) }

  /** Whose request it is; remembered with it. A ticket is spent by this. */
  identify (request: SessionRequest): Visitor | RefusedSession {
    const query = new URLSearchParams(request.path.split('?', 2)[1])
    const name = query.get('viewer') ?? ''
    const viewer = VIEWER_ID.test(name) ? name : undefined
    if (request.peer !== undefined) return this.#keep(request, { ...request.peer, viewer })
    const ticket = query.get('ticket')
    if (ticket === null) return this.#stranger() ?? this.#keep(request, { ip: UNKNOWN_ADDRESS, port: undefined, viewer })
    const verdict = this.#deps.tickets.admit(ticket, this.#deps.clock.now())
    if (verdict.ok) return this.#keep(request, { ip: verdict.address, port: undefined, viewer })
    const status = { malformed: 403, forged: 403, expired: 403, spent: 409, full: 429 }[verdict.fault]
    return { accept: false, status, failure: 'ticket' }
  }

  /** Who asked for the session; to be called for requests that were identified. */
  visitor (request: SessionRequest): Visitor {
    return this.#visitors.get(request) ?? { ip: UNKNOWN_ADDRESS, port: undefined, viewer: undefined }
  }

  #stranger (): RefusedSession | undefined {
    const { requireTicket, handshakes, clock } = this.#deps
    if (requireTicket) return { accept: false, status: 403, failure: 'ticket' }
    const verdict = handshakes.admit(UNKNOWN_ADDRESS, clock.monotonic())
    return verdict !== 'admit' ? { accept: false, status: 429, failure: verdict } : undefined
  }

  #keep (request: SessionRequest, visitor: Visitor): Visitor | RefusedSession {
    if (this.#networks.refuses(visitor.ip)) return { accept: false, status: ERRORS.RELAY_ERR_VIEWER_NETWORK.status, failure: 'network' }
    this.#visitors.set(request, visitor)
    return visitor
  }
}
