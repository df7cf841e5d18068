import type { Scenario } from './scenario.ts'

/** Names of scenarios for `--only`; one without size stands for all sizes. */
const SCENARIOS = ['hot', 'hot-1mb', 'hot-8mb', 'cold', 'cold-1mb', 'cold-8mb', 'miss', 'miss-1mb', 'miss-8mb', 'miss-near', 'http2', 'http2-1mb', 'http2-8mb', 'browser', 'browser-1mb', 'browser-8mb', 'viewers', 'sessions', 'sessions-1mb', 'sessions-8mb', 'memory']
const PEERS = ['nginx', 'nginx-cache', 'varnish', 'caddy', 'node', 'direct', 'relay']

/** What `--only` may name: scenarios and peers. */
export function namesOf (): string[] {
  return [...SCENARIOS, ...PEERS]
}

/** The scenarios that are named, or all when none is; of their contenders those of the peers that are named, or all when none is. */
export function select (scenarios: readonly Scenario[], only: readonly string[]): Scenario[] {
  const names = only.filter(name => SCENARIOS.includes(name))
  const peers = only.filter(name => PEERS.includes(name))
  return scenarios
    .filter(({ id }) => names.length === 0 || names.some(name => id === name || id.startsWith(`${name}-`)))
    .map(scenario => ({ ...scenario, contenders: peers.length === 0 ? scenario.contenders : scenario.contenders.filter(({ peer }) => peers.includes(peer)) }))
    .filter(({ contenders }) => contenders.length > 0)
}
