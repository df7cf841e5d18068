/** What a connection needs of its endpoint, and tells it. */
import type { H3Connection } from './h3-connection.ts'
import type { OwnerEvent } from './link-sessions.ts'
import type { Link } from './link.ts'
import type { HostPort, QuicheBinding, QuicheCloseReason, QuicheConnection } from './quiche-binding.ts'

export interface LinkHooks {
  /** Step this link soon. */
  wake (link: Link): void
  /** Space for one packet, or undefined while the socket cannot take more. */
  packetBuffer (): Buffer | undefined
  /** Takes the packet written to the last buffer, `length` bytes of it. */
  transmit (length: number, to: HostPort): void
  /** A further connection id for the peer to reach us by, already routed, with its reset token. */
  issueId (link: Link): { id: Buffer, resetToken: bigint }
  retireId (id: Uint8Array): void
  /** The handshake is complete; false refuses the peer. */
  established (link: Link): boolean
  owner (link: Link, event: OwnerEvent): void
  /** Closed, by either side, or timed out; late packets may still arrive. Called once. */
  ending (link: Link, end: LinkEnd): void
  /** The quiche object is gone. Called once, after `ending`. */
  gone (link: Link): void
}

export interface LinkEnd {
  readonly established: boolean
  readonly timedOut: boolean
  /** What this side closed with, and what the peer did. */
  readonly local: QuicheCloseReason | null
  readonly peer: QuicheCloseReason | null
}

export interface LinkSetup {
  readonly binding: QuicheBinding
  readonly conn: QuicheConnection
  readonly h3: H3Connection
  readonly isServer: boolean
  readonly local: HostPort
  readonly peer: HostPort
  readonly hooks: LinkHooks
}
