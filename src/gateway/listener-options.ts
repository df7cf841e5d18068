import type { TlsMaterial } from '../channel/tls-material.ts'
import type { GatewaySettings } from '../channel/to-gateway.ts'
import type { SessionTransport } from '../channel/session-transports.ts'
import type { ListenerOptions } from './transports/viewer-transport.ts'

/** Path a session asks for. */
const VIEWER_PATH = '/v1/viewer'

/** What a listener of the gateway is opened with. */
export function listenerOptions (settings: GatewaySettings, name: SessionTransport, tls: TlsMaterial): ListenerOptions {
  const { host, maxSessions, maxStreamsPerSession, handshakeTimeoutMs, idleTimeoutMs, ports } = settings
  return {
    host,
    port: ports[name],
    tls,
    path: VIEWER_PATH,
    maxSessions,
    // Chromium refuses streams beyond the credit instead of waiting for more, so the engine gives more than the session uses.
    maxStreamsPerSession: Math.max(1_000, maxStreamsPerSession * 4),
    handshakeTimeoutMs,
    idleTimeoutMs
  }
}
