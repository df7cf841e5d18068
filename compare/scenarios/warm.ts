import { createHash } from 'node:crypto'
import type { Lab, PeerName } from '../lab.ts'
import { bodyOf, type Running } from '../peers/peer.ts'
import { digestsOf, type ShardSet } from '../shards.ts'

/** Rounds over all objects after which a relay that has not taken them into memory never will. */
const MAX_ROUNDS = 30

/** Objects in the memory tier of a relay. */
async function inMemory (admin: number): Promise<number> {
  return Number(/^icn_relay_cache_entries\{tier="ram"\} (\d+)$/m.exec((await bodyOf({ http: admin }, '/metrics')).toString())?.[1] ?? 0)
}

async function fetchAll (server: Running, set: ShardSet, expected?: readonly string[]): Promise<void> {
  for (const [index, path] of set.paths.entries()) {
    const body = await bodyOf(server, path)
    if (expected !== undefined && createHash('sha256').update(body).digest('hex') !== expected[index]) throw new Error(`${path} came with other bytes`)
  }
}

/**
 * Fetches and checks every object of a set once per peer, and goes on until a relay has them in its memory tier, where it shall.
 * @throws Error when bytes differ, or the memory tier does not take them
 */
export async function warm (lab: Lab, name: PeerName, set: ShardSet, memory: boolean): Promise<void> {
  await lab.once(`warm ${name} ${set.cids[0] ?? ''}`, async () => {
    const server = await lab.peer(name)
    await fetchAll(server, set, digestsOf(set))
    if (!memory || server.admin === undefined) return
    const before = await inMemory(server.admin)
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await fetchAll(server, set)
      if (await inMemory(server.admin) >= before + set.paths.length) return
    }
    throw new Error(`the memory tier took ${await inMemory(server.admin) - before} of ${set.paths.length} objects`)
  })
}
