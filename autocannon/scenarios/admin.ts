import type { Scenario } from '../scenario.ts'

const PATHS = ['/health', '/ready', '/metrics', '/admin/v1/cache', '/admin/v1/cache/shards?limit=10', '/admin/v1/upstreams', '/admin/v1/viewers', '/admin/v1/region']

export const admin: Scenario = {
  name: 'admin',
  title: 'reads of the admin API, health and metrics',
  surface: 'admin',
  mix: { kind: 'rotate', requests: PATHS.map(path => ({ path })) },
  expect: { status: 200 },
  warm: false,
  connections: 5
}
