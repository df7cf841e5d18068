/** What the relay and the thread of libp2p say to each other. */
import type { CidHolder, HolderFault } from '../../protocol/holder-record.ts'

/** What the thread is started with. */
export interface P2pSettings {
  /** Seed of the Ed25519 key, 32 bytes. */
  readonly seed: Uint8Array
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly bootstrap: readonly string[]
  readonly protocol: string
  readonly maxConnections: number
  readonly allowPrivate: boolean
  /** Raw keys, base64. */
  readonly publishers: readonly string[]
  readonly maxAgeMs: number
  /** Of the relay, for peers that ask what we are. */
  readonly version: string
}

/** A record that is believed. */
export interface KnownHolders {
  readonly holders: readonly CidHolder[]
  /** Ms since the epoch. */
  readonly issuedAt: number
  /** Ms since the epoch; undefined when it does not say. */
  readonly expiresAt: number | undefined
}

export interface P2pPeer {
  readonly id: string
  /** Multiaddr of the connection. */
  readonly address: string
}

export interface P2pState {
  /** Our own. */
  readonly peerId: string
  /** Our own, as others are told. */
  readonly addresses: readonly string[]
  /** At most {@link SHOWN_PEERS}. */
  readonly peers: readonly P2pPeer[]
  /** Of all peers connected. */
  readonly connected: number
  /** What we are advertised as, once a peer has taken it; undefined before. */
  readonly advertised: string | undefined
}

export const SHOWN_PEERS = 256

/** To the thread. */
export type P2pOrder =
  | { readonly do: 'find', readonly id: number, readonly cid: string }
  | { readonly do: 'cancel', readonly id: number }
  /** Undefined ends it. */
  | { readonly do: 'advertise', readonly text: string | undefined }
  | { readonly do: 'close' }

/** From the thread. */
export type P2pReport =
  | { readonly is: 'ready' }
  | { readonly is: 'unfit', readonly code: 'RELAY_ERR_CONFIG' | 'RELAY_ERR_LISTEN', readonly detail: string }
  | { readonly is: 'state', readonly state: P2pState }
  | { readonly is: 'found', readonly id: number, readonly known: KnownHolders }
  | { readonly is: 'refused', readonly cid: string, readonly fault: HolderFault, readonly detail: string }
  /** `error`: why not all that could be asked were. */
  | { readonly is: 'ended', readonly id: number, readonly error: string | undefined }
  | { readonly is: 'log', readonly level: 'info' | 'warn', readonly message: string, readonly fields: Record<string, unknown> }
