/**
 * The transports that sessions come over, best first. Another one is a row here, a way to open it in `gateway/transports/open.ts`, and its port in
 * `plugins/viewers/ports.ts`; what viewers are offered, told, counted and shown follows.
 */
export const SESSION_TRANSPORTS = [
  /** Over HTTP/3, which needs UDP. The engine does not tell who comes, so a ticket does. */
  { name: 'webtransport', scheme: 'https', udp: true, ticket: true },
  /** Over TCP, for networks that block UDP. */
  { name: 'websocket', scheme: 'wss', udp: false, ticket: false }
] as const

export type SessionTransport = typeof SESSION_TRANSPORTS[number]['name']

/** Something of each. */
export type PerTransport<T> = Readonly<Record<SessionTransport, T>>

export function perTransport<T> (of: (name: SessionTransport) => T): Record<SessionTransport, T> {
  return Object.fromEntries(SESSION_TRANSPORTS.map(({ name }) => [name, of(name)])) as Record<SessionTransport, T>
}
