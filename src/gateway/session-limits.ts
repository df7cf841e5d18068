import type { GatewayLimits } from '../channel/live-settings.ts'
import type { GatewaySettings } from '../channel/to-gateway.ts'
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './session/session-types.ts'
import type { Shedding } from './shedding.ts'

/** Limits of a session that begins now, or of all of them when `limits` have changed. */
export function sessionLimits ({ viewer, transport }: Pick<GatewaySettings, 'viewer' | 'transport'>, limits: Pick<GatewayLimits, 'requestsPerSecondPerViewer'>, shedding: Pick<Shedding, 'burstFactor'>): SessionLimits {
  return {
    ...DEFAULT_SESSION_LIMITS,
    requestsPerSecond: limits.requestsPerSecondPerViewer,
    // Asked at every read, so that sessions under way follow.
    get maxChunkBytes () { return DEFAULT_SESSION_LIMITS.maxChunkBytes * shedding.burstFactor },
    maxStreams: transport.max_streams_per_session,
    requestTimeoutMs: viewer.request_timeout_ms,
    idleTimeoutMs: transport.idle_timeout_ms
  }
}
