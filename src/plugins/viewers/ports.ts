import type { PerTransport } from '../../channel/session-transports.ts'
import type { Config } from '../../config/config.ts'

/** Ports that sessions come in by; 0 for any. @param http the TCP port of viewer HTTP, whose number HTTP/3 has over UDP */
export function sessionPorts ({ viewer }: Config, http = viewer.port): PerTransport<number> {
  return { webtransport: http, websocket: viewer.websocket_port }
}
