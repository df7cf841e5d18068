/** In the order of preference. */
export const TRANSPORTS = ['webtransport', 'websocket', 'http'] as const

export type TransportName = typeof TRANSPORTS[number]

export interface TransportFailure {
  readonly transport: TransportName
  readonly reason: string
}

/** How the client is connected, and why not in a better way. */
export interface TransportInfo {
  readonly transport: TransportName
  readonly relayUrl: string
  readonly region: string | undefined
  readonly failures: readonly TransportFailure[]
  /** The relay sheds load: what it does not offer now it may offer later. */
  readonly overloaded?: true
}
