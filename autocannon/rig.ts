/** Real processes for every load test: super-nodes, and a relay as it is installed. */
import type { Faults } from '../demo/super-node/faults.ts'
import type { Cleanup } from '../tools/harness/cleanup.ts'
import { profiledEnvironment } from './profile/profiler.ts'
import { buildRelay, spawnRelay, spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../tools/harness/processes.ts'
import type { RelaySettings } from './scenario.ts'

export interface Rig {
  readonly relay: SpawnedRelay
  readonly nodes: readonly SpawnedNode[]
  /** Directory for profiles of the relay's processes, where it was started for that. */
  readonly profile?: string | undefined
}

export interface RigOptions {
  readonly superNodes?: number
  readonly faults?: Faults
  readonly settings?: RelaySettings
  /** A compiled `server.js`; one is built when it is not given. */
  readonly program?: string
  /** Environment of the relay and its gateway beside our own. */
  readonly env?: Readonly<Record<string, string>>
  /** Directory for CPU profiles of the measured parts of runs. */
  readonly profile?: string | undefined
}

const REGIONS = ['NA-WEST', 'EU-WEST', 'APAC']

const MANY = 1_000_000
/** An hour: an event loop that is late by less counts as well. */
const NEVER_MS = 3_600_000
/** What a super-node may take on a machine whose cores all are under load. */
const LATE_MS = 15_000

/**
 * A thousand viewers come from one address here, which a relay on the open network rightly refuses; and generator and super-nodes work
 * on the relay's machine, so that a late event loop or a late answer is not a failure, but the load itself.
 */
const LOAD_SETTINGS: RelaySettings = {
  admin: { requests_per_minute: MANY },
  // A super-node of the demo computes the manifest of a made-up video from all of its shards.
  cache: { integrity: 'digest' },
  // A miss is to cost one fetch.
  prefetch: { enabled: false },
  region: { override: 'NA-WEST' },
  limits: { handshakes_per_second: MANY, handshakes_per_second_per_ip: MANY, requests_per_second_per_viewer: MANY, connections_per_ip: MANY },
  overload: { degraded_delay_ms: NEVER_MS, shedding_delay_ms: NEVER_MS },
  transport: { max_sessions_per_ip: 100_000, max_sessions: 100_000 },
  upstream: { connect_timeout_ms: LATE_MS, headers_timeout_ms: LATE_MS, first_byte_timeout_ms: LATE_MS }
}

/** Section by section, the later ones over the earlier. */
export function loadSettings (...layers: ReadonlyArray<RelaySettings | undefined>): Record<string, Record<string, unknown>> {
  const merged: Record<string, Record<string, unknown>> = {}
  for (const layer of [LOAD_SETTINGS, ...layers]) {
    for (const [section, keys] of Object.entries(layer ?? {})) {
      merged[section] = { ...merged[section], ...keys }
    }
  }
  return merged
}

/** Starts super-nodes and a relay that asks them; both end with the cleanup. */
export async function startRig (cleanup: Cleanup, { superNodes = 1, faults = {}, settings, program, env = {}, profile }: RigOptions = {}): Promise<Rig> {
  const [built, nodes] = await Promise.all([
    program ?? buildRelay(cleanup),
    Promise.all(Array.from({ length: superNodes }, async (_, index) => await spawnSuperNode(cleanup, REGIONS[index % REGIONS.length] ?? 'NA-WEST', faults)))
  ])
  const profiled = profile === undefined ? {} : await profiledEnvironment(profile)
  const relay = await spawnRelay(cleanup, nodes, loadSettings(settings), undefined, { program: built, env: { ...env, ...profiled } })
  return { relay, nodes, profile }
}
