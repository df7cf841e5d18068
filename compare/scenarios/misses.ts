import type { Lab, PeerName } from '../lab.ts'
import type { Running } from '../peers/peer.ts'
import type { Sample } from '../result.ts'
import type { Contender, Scenario } from '../scenario.ts'
import { shardSet } from '../shards.ts'
import { touchMemory } from '../touched-memory.ts'
import { COLUMNS, http1Sample } from './http1.ts'

const WARM_BYTES = 100_000

function miss (lab: Lab, id: string, bytes: number, latencyMs: number): Scenario {
  let number = 0
  const fetchNew = async (server: Running, paths: readonly string[]): Promise<Sample> => await http1Sample(lab, server, { paths, connections: 1, pace: { kind: 'once' } })
  const contender = (name: string, peer: string, label: string, find: () => Promise<Running>): Contender => ({
    id: name,
    peer,
    label,
    prepare: async () => {
      const server = await find()
      // Bodies go to memory that is new to the relay; it should not be new to the machine.
      if (lab.scale.touches) await lab.once('memory for misses', touchMemory)
      // A miss passes through more code than a run of 20 would get compiled.
      await lab.once(`misses ${name}`, async () => { await fetchNew(server, shardSet(WARM_BYTES, `warm-${name}-`, lab.scale.warmMisses).paths) })
      return async () => {
        await lab.setOriginLatency(latencyMs)
        try {
          // Nobody has been asked for these before.
          return await fetchNew(server, shardSet(bytes, `${id}-${name}-${number++}-`, lab.scale.misses).paths.slice(0, lab.scale.misses))
        } finally {
          await lab.setOriginLatency(0)
        }
      }
    }
  })
  const through = (name: PeerName, label: string): Contender => contender(name, name, label, async () => await lab.peer(name))
  return {
    id,
    title: `Misses, ${bytes / 1_000_000} MB, super-node ${latencyMs} ms away`,
    method: `${lab.scale.misses} shards that nobody has asked for before, one after the other, from a super-node that answers after ${latencyMs} ms; "direct" asks the super-node itself. The machine has touched its memory before. Times include what the super-node needs to make the shard.`,
    columns: COLUMNS.filter(metric => metric !== 'residentMb'),
    contenders: [
      contender('direct', 'direct', 'direct', async () => lab.origin),
      through('relay', 'icn-relay'),
      through('nginx-cache', 'nginx, proxy_cache'),
      through('varnish', 'Varnish')
    ]
  }
}

/** What a miss adds to asking the super-node. */
export function missScenarios (lab: Lab): Scenario[] {
  const [small, large] = lab.scale.sizes
  return [
    miss(lab, `miss-${small / 1_000_000}mb`, small, lab.scale.farMs),
    miss(lab, `miss-${large / 1_000_000}mb`, large, lab.scale.farMs),
    miss(lab, 'miss-near', small, 0)
  ]
}
