/**
 * Paths that carry large UDP packets no further and say nothing, between a relay and our client on the loopback of a network namespace. To be run as root
 * by `unshare --net node --import tsx`; prints what came of each as JSON.
 */
import { execFileSync } from 'node:child_process'
import { connect, type ShardClient, type TransportInfo } from '../../client/src/node.ts'
import { systemPlatform } from '../../client/src/platform.ts'
import { TransportMemory } from '../../client/src/transport-memory.ts'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { withCleanup } from '../../tools/harness/cleanup.ts'
import { sha256 } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode } from '../../tools/harness/processes.ts'
import { transportOffer } from '../../tools/harness/transport-offer.ts'

/** Total lengths of IPv4 packets with UDP inside that pass, bytes. QUIC begins with 1,228. */
const LARGEST = [1_200, 1_280, 1_400]
const SMALL = { cid: 'syn-1000000-narrow', parts: [0, 1, 2, 3] }
const LARGE = { cid: 'syn-8000000-narrow', parts: [0] }

export interface Visit {
  readonly connectMs: number
  /** How it was connected, at first and in the end. */
  readonly first: TransportInfo
  readonly last: TransportInfo
  readonly fetchMs: number
  /** What every shard came over, those of 1 MB first. */
  readonly shards: readonly { readonly transport: string, readonly attempts: number, readonly right: boolean }[]
}

export interface NarrowResult {
  readonly largest: number
  /** Of the same network, one after the other. */
  readonly visits: readonly Visit[]
  /** Packets of each direction. */
  readonly dropped: Readonly<Record<string, number>>
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' })

/** On the way in: there every packet is one by itself, on the way out the kernel may still have many in one. */
function narrow (largest: number, port: number): void {
  const dropLarge = (end: string, counter: string): string => `add rule ip narrow input udp ${end} ${port} ip length > ${largest} counter name ${counter} drop`
  execFileSync('nft', ['-f', '-'], {
    input: ['add table ip narrow', 'delete table ip narrow', 'add table ip narrow', 'add counter ip narrow to_relay', 'add counter ip narrow to_viewer',
      'add chain ip narrow input { type filter hook input priority 0; }', dropLarge('dport', 'to_relay'), dropLarge('sport', 'to_viewer')].join('\n')
  })
}

function counters (): Record<string, number> {
  const { nftables } = JSON.parse(run('nft', '-j', 'list', 'counters', 'table', 'ip', 'narrow')) as { nftables: { counter?: { name: string, packets: number } }[] }
  return Object.fromEntries(nftables.flatMap(({ counter }) => counter === undefined ? [] : [[counter.name, counter.packets]]))
}

const digests = new Map([SMALL, LARGE].flatMap(({ cid, parts }) => parts.map(part => [`${cid}/${part}`, sha256(syntheticShard(cid, part))] as const)))

async function visit (url: string, memory: TransportMemory): Promise<Visit> {
  const started = performance.now()
  const client: ShardClient = await connect(url, { platform: { ...systemPlatform(), memory } })
  try {
    const [first, connected] = [client.transport, performance.now()]
    const shards: Visit['shards'][number][] = []
    for (const { cid, parts } of [SMALL, LARGE]) {
      shards.push(...await Promise.all(parts.map(async part => {
        const { transport, attempts, bytes } = await client.fetchShard(cid, part)
        return { transport, attempts, right: sha256(bytes) === digests.get(`${cid}/${part}`) }
      })))
    }
    return { connectMs: connected - started, first, last: client.transport, fetchMs: performance.now() - connected, shards }
  } finally {
    client.close()
  }
}

await withCleanup(async cleanup => {
  // No trains of packets: each is as long on the cable as it was sent.
  run('ip', 'link', 'set', 'lo', 'up', 'gso_max_segs', '1')
  const node = await spawnSuperNode(cleanup, 'EU-WEST')
  const relay = await spawnRelay(cleanup, [node], { upstream: PATIENT_UPSTREAM })
  const port = Number(new URL((await transportOffer(relay.viewerUrl)).webtransport.url).port)
  for (const largest of LARGEST) {
    narrow(largest, port)
    const memory = new TransportMemory()
    const visits = [await visit(relay.viewerUrl, memory), await visit(relay.viewerUrl, memory)]
    process.stdout.write(`${JSON.stringify({ largest, visits, dropped: counters() } satisfies NarrowResult)}\n`)
  }
})
process.exit(0)
