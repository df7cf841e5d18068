import type { TlsMaterial } from '../channel/tls-material.ts'
import type { GatewaySettings } from '../channel/to-gateway.ts'
import type { SessionTransport } from '../protocol/session-transports.ts'
import type { ListenerOptions } from './transports/viewer-transport.ts'

/** Path a session asks for. */
const VIEWER_PATH = '/v1/viewer'

/** What a listener of the gateway is opened with. */
export function listenerOptions ({ viewer, transport, ports, websocketFd }: GatewaySettings, name: SessionTransport, tls: TlsMaterial): ListenerOptions {
  return {
    host: viewer.host,
    port: ports[name],
    ...name === 'websocket' ? { fd: websocketFd } : {},
    tls,
    path: VIEWER_PATH,
    maxSessions: transport.max_sessions,
    // Chromium refuses streams beyond the credit instead of waiting for more, so the engine gives more than the session uses.
    maxStreamsPerSession: Math.max(1_000, transport.max_streams_per_session * 4),
    handshakeTimeoutMs: transport.handshake_timeout_ms,
    idleTimeoutMs: transport.idle_timeout_ms
  }
}
