import type { Config } from '../../config/config.ts'
import { perTransport, type PerTransport } from '../../protocol/session-transports.ts'

/** Ports that sessions come in by; 0 for any. @param http the TCP port of viewer HTTP, whose number HTTP/3 has over UDP */
export function sessionPorts ({ viewer }: Config, http = viewer.port): PerTransport<number> {
  return perTransport((_name, { port: key }) => key === 'port' ? http : viewer[key])
}
