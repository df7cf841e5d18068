/** In the order of preference. */
export const TRANSPORTS = ['webtransport', 'websocket', 'http'] as const

export type TransportName = typeof TRANSPORTS[number]
