import { SESSION_TRANSPORTS } from '../protocol/session-transports.ts'
import type { Config } from './schema.ts'

/** A port that the relay or its gateway listens on. */
export interface Listener {
  /** Of the configuration. */
  readonly key: string
  readonly protocol: 'tcp' | 'udp'
  readonly host: string
  /** 0 for any. */
  readonly port: number
}

/** Every port that a relay with this configuration listens on. */
export function listenersOf ({ viewer, admin, transport }: Pick<Config, 'viewer' | 'admin' | 'transport'>): Listener[] {
  const sessions = transport.engine === 'off' ? [] : SESSION_TRANSPORTS
  return [
    { key: 'viewer.port', protocol: 'tcp', host: viewer.host, port: viewer.port },
    { key: 'admin.port', protocol: 'tcp', host: admin.host, port: admin.port },
    ...sessions.map(({ port, udp }): Listener => ({ key: `viewer.${port}`, protocol: udp ? 'udp' : 'tcp', host: viewer.host, port: viewer[port] }))
  ]
}
