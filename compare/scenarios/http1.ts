import type { Load } from '../clients/load.ts'
import { outcomeOf, type Lab, type PeerName } from '../lab.ts'
import { dropPages } from '../page-cache.ts'
import type { Running } from '../peers/peer.ts'
import type { Metric, Sample } from '../result.ts'
import type { Contender, Scenario } from '../scenario.ts'
import { shardSet, writeShards } from '../shards.ts'
import { metered } from './meter.ts'
import { warm } from './warm.ts'

export const COLUMNS: readonly Metric[] = ['mbPerSecond', 'serverCpuMsPerMb', 'serverBusyPercent', 'clientBusyPercent', 'firstByteP50Ms', 'firstByteP99Ms', 'wholeP50Ms', 'wholeP99Ms', 'residentMb']

const CONNECTIONS = 8
/** Share of the bytes that may be left in the page cache when pages were dropped. */
const MAX_RESIDENT = 0.02

const mega = (bytes: number): string => `${bytes / 1_000_000} MB`

/** @throws Error when the peer does not speak plain HTTP */
export function portOf ({ http }: Running): number {
  if (http === undefined) throw new Error('no HTTP port')
  return http
}

/** One run of load over HTTP/1.1. */
export async function http1Sample (lab: Lab, server: Running, load: Load): Promise<Sample> {
  return await metered(server.process, async () => {
    const { outcome, cpuMs } = outcomeOf(await lab.http1({ port: portOf(server), load }))
    return { ...outcome, clientCpuMs: cpuMs }
  })
}

function hot (lab: Lab, bytes: number): Scenario {
  const set = lab.hot(bytes)
  const contender = (id: string, peer: string, label: string, name: PeerName, memory = false): Contender => ({
    id,
    peer,
    label,
    prepare: async () => {
      const server = await lab.peer(name)
      await warm(lab, name, set, memory)
      return async () => await http1Sample(lab, server, { paths: set.paths, connections: CONNECTIONS, pace: { kind: 'closed', milliseconds: lab.scale.runMs } })
    }
  })
  return {
    id: `hot-${mega(bytes).toLowerCase().replace(' ', '')}`,
    title: `Hot hits, ${mega(bytes)}, HTTP/1.1`,
    method: `${CONNECTIONS} connections ask for ${set.paths.length} shards again and again, each request as soon as the last is answered. Everything is in memory: in the server's own or in the page cache.`,
    columns: COLUMNS,
    contenders: [
      contender('nginx', 'nginx', 'nginx, sendfile', 'nginx'),
      contender('nginx-cache', 'nginx-cache', 'nginx, proxy_cache', 'nginx-cache'),
      contender('varnish', 'varnish', 'Varnish, malloc', 'varnish'),
      contender('caddy', 'caddy', 'Caddy, file_server', 'caddy'),
      contender('node', 'node', 'bare Node, buffers', 'node'),
      contender('relay', 'relay', 'icn-relay, memory hit', 'relay', true),
      contender('relay-disk', 'relay', 'icn-relay, disk hit', 'relay-disk')
    ]
  }
}

function cold (lab: Lab, bytes: number): Scenario {
  const set = shardSet(bytes, 'cold', lab.scale.coldBytes / bytes)
  const contender = (id: string, peer: string, label: string, name: PeerName): Contender => ({
    id,
    peer,
    label,
    prepare: async () => {
      await lab.once(`files ${bytes}`, async () => { await writeShards(lab.world.content, set) })
      const server = await lab.peer(name)
      const load: Load = { paths: set.paths, connections: CONNECTIONS, pace: { kind: 'once' } }
      await lab.http1({ port: portOf(server), load })
      return async () => {
        // The cache of nginx names its files by hashes, so there all files go.
        const resident = await dropPages(server.files ?? '', name === 'nginx-cache' ? '' : `syn-${bytes}-cold`)
        const total = set.paths.length * bytes
        if (resident !== undefined && resident > total * MAX_RESIDENT) throw new Error(`${resident} bytes stayed in the page cache`)
        return await http1Sample(lab, server, load)
      }
    }
  })
  return {
    id: `cold-${mega(bytes).toLowerCase().replace(' ', '')}`,
    title: `Disk hits with cold pages, ${mega(bytes)}, HTTP/1.1`,
    method: `The pages of ${set.paths.length} files are dropped (posix_fadvise, checked with fincore) before each run; then ${CONNECTIONS} connections fetch each shard once. The relay's memory tier is off.`,
    columns: COLUMNS,
    contenders: [
      contender('nginx', 'nginx', 'nginx, sendfile', 'nginx'),
      contender('nginx-cache', 'nginx-cache', 'nginx, proxy_cache', 'nginx-cache'),
      contender('caddy', 'caddy', 'Caddy, file_server', 'caddy'),
      contender('relay-disk', 'relay', 'icn-relay, disk hit', 'relay-disk')
    ]
  }
}

/** Hits over HTTP/1.1: from memory and from disk. */
export function http1Scenarios (lab: Lab): Scenario[] {
  return [...lab.scale.sizes.map(bytes => hot(lab, bytes)), ...lab.scale.sizes.map(bytes => cold(lab, bytes))]
}
