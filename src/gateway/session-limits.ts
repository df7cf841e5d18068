import type { GatewayLimits } from '../channel/live-settings.ts'
import type { GatewaySettings } from '../channel/to-gateway.ts'
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './session/session-types.ts'
import type { Shedding } from './shedding.ts'

/** Limits of a session that begins now, or of all of them when `limits` have changed. */
export function sessionLimits (settings: Pick<GatewaySettings, 'maxStreamsPerSession' | 'requestTimeoutMs' | 'idleTimeoutMs'>, limits: Pick<GatewayLimits, 'requestsPerSecondPerViewer'>, shedding: Pick<Shedding, 'burstFactor'>): SessionLimits {
  return {
    ...DEFAULT_SESSION_LIMITS,
    requestsPerSecond: limits.requestsPerSecondPerViewer,
    // Asked at every read, so that sessions under way follow.
    get maxChunkBytes () { return DEFAULT_SESSION_LIMITS.maxChunkBytes * shedding.burstFactor },
    maxStreams: settings.maxStreamsPerSession,
    requestTimeoutMs: settings.requestTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs
  }
}
