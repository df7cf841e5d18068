import type { Endpoint, SessionTransport } from '../clients/sessions-process.ts'
import type { Load } from '../clients/load.ts'
import { outcomeOf, type Lab, type PeerName } from '../lab.ts'
import type { Running } from '../peers/peer.ts'
import { offerOf } from '../peers/relay.ts'
import type { Sample } from '../result.ts'
import type { Contender, Scenario } from '../scenario.ts'
import { digestsOf } from '../shards.ts'
import { metered } from './meter.ts'
import { warm } from './warm.ts'

const SESSIONS = 10
/** Sessions opened and closed before memory is looked at, so that what a first session allocates for all is there. */
const WARM_SESSIONS = 50
/** Each run of the memory scenario starts a relay of its own. */
const MEMORY_RUNS = 3

/** @throws Error when the relay does not offer it */
export async function endpointOf (server: Running, transport: SessionTransport): Promise<Endpoint> {
  if ((await offerOf(server))[transport] === undefined) throw new Error(`the relay does not offer ${transport}`)
  return { transport, relay: `http://127.0.0.1:${server.http ?? 0}` }
}

/** One run of load over sessions. */
export async function sessionSample (lab: Lab, server: Running, endpoint: Endpoint, load: Load): Promise<Sample> {
  return await metered(server.process, async () => {
    const { outcome, cpuMs } = outcomeOf(await lab.sessions({ kind: 'load', endpoint, load }))
    return { ...outcome, clientCpuMs: cpuMs }
  })
}

function transfer (lab: Lab, bytes: number): Scenario {
  const set = lab.hot(bytes)
  const contender = (id: string, label: string, name: PeerName, transport: SessionTransport): Contender => ({
    id,
    peer: 'relay',
    label,
    prepare: async () => {
      const server = await lab.peer(name)
      await warm(lab, name, set, false)
      const endpoint = await endpointOf(server, transport)
      const { digest } = await lab.sessions({ kind: 'digest', endpoint, path: set.paths[0] ?? '' })
      if (digest !== digestsOf(set)[0]) throw new Error('the client received other bytes')
      return async () => await sessionSample(lab, server, endpoint, { paths: set.paths, connections: SESSIONS, pace: { kind: 'closed', milliseconds: lab.scale.runMs } })
    }
  })
  return {
    id: `sessions-${bytes / 1_000_000}mb`,
    title: `Sessions of Node viewers, ${bytes / 1_000_000} MB`,
    method: `${SESSIONS} sessions fetch shards one after the other; the client is the Node side of icn-relay/client and costs more CPU than the relay.`,
    columns: ['mbPerSecond', 'serverCpuMsPerMb', 'serverBusyPercent', 'clientBusyPercent', 'firstByteP50Ms', 'firstByteP99Ms', 'wholeP50Ms', 'wholeP99Ms', 'residentMb'],
    contenders: [
      contender('webtransport', 'WebTransport', 'relay-sessions', 'webtransport'),
      contender('websocket', 'WebSocket, fails-components', 'relay-sessions', 'websocket'),
      contender('fails', 'WebTransport, fails-components HTTP/3', 'relay-fails', 'webtransport')
    ]
  }
}

function memory (lab: Lab): Scenario {
  let number = 0
  const contender = (id: string, label: string, transport: SessionTransport): Contender => ({
    id,
    peer: 'relay',
    label,
    maxRuns: MEMORY_RUNS,
    fresh: true,
    prepare: async () => async () => {
      const server = await lab.freshRelay({ name: `relay-memory-${number++}`, engine: 'quinn' })
      try {
        const endpoint = await endpointOf(server, transport)
        await lab.sessions({ kind: 'hold', endpoint, sessions: WARM_SESSIONS })
        await lab.sessions({ kind: 'release' })
        const before = await server.process.usage()
        const { held = 0 } = await lab.sessions({ kind: 'hold', endpoint, sessions: lab.scale.heldSessions })
        const after = await server.process.usage()
        return { errors: [], metrics: { sessions: held, kbPerSession: (after.residentBytes - before.residentBytes) / held / 1_000, residentMb: after.residentBytes / 1_000_000 } }
      } finally {
        await lab.sessions({ kind: 'release' })
        await server.process.stop()
      }
    }
  })
  return {
    id: 'memory',
    title: 'Memory of open sessions',
    method: `A fresh relay; ${WARM_SESSIONS} sessions come and go, then ${lab.scale.heldSessions} stay. Growth of the resident memory of relay and gateway together, per session.`,
    columns: ['sessions', 'kbPerSession', 'residentMb'],
    contenders: [contender('webtransport', 'WebTransport', 'webtransport'), contender('websocket', 'WebSocket, fails-components', 'websocket')]
  }
}

/** WebTransport sessions from Node: throughput and memory. */
export function sessionScenarios (lab: Lab): Scenario[] {
  return [...lab.scale.sizes.map(bytes => transfer(lab, bytes)), memory(lab)]
}
