import type { Config } from '../../../config/schema.ts'
import type { NODE_KEYS } from '../config.ts'
import { DnsSource, type DnsSourceOptions } from './dns.ts'
import { MergedSource } from './merged.ts'
import type { NodeSource } from './node-source.ts'
import { StaticSource } from './static.ts'

/** Port of a super-node. */
const DEFAULT_PORT = 9002

/** The sources of `[upstream]` as one, configured nodes first. @param own those configured nodes, to be changed later */
export function configuredSource ({ super_nodes: nodes, dns, dns_servers: servers }: Pick<Config['upstream'], typeof NODE_KEYS[number] | 'dns_servers'>, deps: Pick<DnsSourceOptions, 'random' | 'log' | 'resolver' | 'schedule'>, own = new StaticSource(nodes)): NodeSource {
  return new MergedSource([
    own,
    ...dns.map(({ scheme = 'http', port = DEFAULT_PORT, role = 'origin', ...query }) => new DnsSource({ ...deps, ...query, servers, scheme, port, role }))
  ])
}
