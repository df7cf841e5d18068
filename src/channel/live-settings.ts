import type { AuthSettings } from '../admission/auth-settings.ts'
import type { NetworkLists } from '../admission/viewer-networks.ts'
import type { LimitNumbers } from '../admission/limit-numbers.ts'
import type { BandwidthClasses, GatewayShare } from '../pacing/bandwidth-limits.ts'
import type { AccessSettings } from './access-gate.ts'
import type { OverloadState } from './overload-states.ts'
import type { TlsMaterial } from './tls-material.ts'

/** The limits that the gateway enforces; those of plain HTTP are the relay's. */
export type GatewayLimits = Pick<LimitNumbers, 'handshakesPerSecond' | 'handshakesPerSecondPerIp' | 'trackedIps' | 'requestsPerSecondPerViewer'>

/** What may change while a gateway runs, for sessions that exist too. A gateway gets all of it at its start, and then what changes. */
export interface LiveSettings {
  readonly tls: TlsMaterial
  readonly limits: GatewayLimits
  /** Networks whose viewers are let in, and those whose are not. */
  readonly networks: NetworkLists
  /** What viewers are judged by. */
  readonly auth: AuthSettings
  /** Told to new sessions. */
  readonly region: string
  /** Which responses it tells of. */
  readonly access: AccessSettings
  /** Whether anybody reads debug lines; they do not cross the channel otherwise. */
  readonly debug: boolean
  /** The gateway's part of the bandwidth. */
  readonly share: GatewayShare
  /** How the viewers of the gateway share it, and what they are told. */
  readonly classes: BandwidthClasses
  /** While shedding, new sessions are sent to the targets in turn, base URLs of relays or super-nodes; without any they are refused. */
  readonly overload: { readonly state: OverloadState, readonly targets: readonly string[] }
  /** No new sessions, and those that exist are asked to move within the time, ms from now; undefined takes sessions again. */
  readonly drain: { readonly deadlineMs: number, readonly alternates: readonly string[] } | undefined
}
