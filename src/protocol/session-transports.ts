/**
 * The transports that sessions come over, best first. Another one is a row here and a way to open it in `gateway/transports/open.ts`; what viewers are
 * offered, told, counted and shown follows, and its port. `port` is the key of `[viewer]` with that; over UDP it may be that of viewer HTTP, which is over TCP,
 * and otherwise the key is its own, with a default and words for the configuration.
 */
export const SESSION_TRANSPORTS = [
  /** Over HTTP/3, which needs UDP. The engine does not tell who comes, so a ticket does. */
  { name: 'webtransport', scheme: 'https', udp: true, ticket: true, port: 'port' },
  /** Over TCP, for networks that block UDP. */
  { name: 'websocket', scheme: 'wss', udp: false, ticket: false, port: 'websocket_port', own: { usual: 9004, is: 'port of the WebSocket fallback' } }
] as const

export type SessionTransport = typeof SESSION_TRANSPORTS[number]['name']

/** Besides them the in-process pair of the tests. */
export const SESSION_TRANSPORT_NAMES = [...SESSION_TRANSPORTS.map(({ name }) => name), 'memory'] as const

/** How a session reached us. */
export type SessionTransportName = typeof SESSION_TRANSPORT_NAMES[number]

/** Something of each. */
export type PerTransport<T> = Readonly<Record<SessionTransport, T>>

/** @param of gives it for a row of the table */
export function perTransport<T> (of: (name: SessionTransport, row: typeof SESSION_TRANSPORTS[number]) => T): Record<SessionTransport, T> {
  return Object.fromEntries(SESSION_TRANSPORTS.map(row => [row.name, of(row.name, row)])) as Record<SessionTransport, T>
}
