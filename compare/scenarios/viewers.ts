import type { Load } from '../clients/load.ts'
import type { Lab, PeerName } from '../lab.ts'
import type { Sample } from '../result.ts'
import type { Contender, Scenario } from '../scenario.ts'
import { http1Sample } from './http1.ts'
import { endpointOf, sessionSample } from './sessions.ts'
import { warm } from './warm.ts'

/** Share of the ceiling at which latency is looked at: the goal says below 80 %. */
const SHARE = 0.75
/** Length of the paced part, in runs: p99 needs requests. */
const PACED_RUNS = 2

/** Many viewers at the same time, first as fast as it goes, then paced below that. */
export function viewersScenario (lab: Lab): Scenario {
  const [bytes] = lab.scale.sizes
  const { viewers, runMs } = lab.scale
  const set = lab.hot(bytes)
  const measure = (sample: (load: Load) => Promise<Sample>) => async (): Promise<Sample> => {
    const load = { paths: set.paths, connections: viewers }
    const ceiling = await sample({ ...load, pace: { kind: 'closed', milliseconds: runMs } })
    const ceilingMbPerSecond = ceiling.metrics.mbPerSecond ?? Number.NaN
    const perSecond = ceilingMbPerSecond * SHARE * 1_000_000 / bytes
    const paced = await sample({ ...load, pace: { kind: 'open', milliseconds: PACED_RUNS * runMs, perSecond } })
    return { errors: [...ceiling.errors, ...paced.errors], metrics: { ...paced.metrics, ceilingMbPerSecond } }
  }
  const plain = (id: string, label: string, name: PeerName): Contender => ({
    id,
    peer: id,
    label,
    prepare: async () => {
      const server = await lab.peer(name)
      await warm(lab, name, set, id === 'relay')
      return measure(async load => await http1Sample(lab, server, load))
    }
  })
  return {
    id: 'viewers',
    title: `${viewers} viewers at the same time, ${bytes / 1_000_000} MB hits at ${SHARE * 100} % of the ceiling`,
    method: `${viewers} connections or sessions, first as fast as they go: the ceiling. Then requests are due at even distances at ${SHARE * 100} % of it; times count from when a request was due, so that one that had to wait does not hide it.`,
    columns: ['ceilingMbPerSecond', 'mbPerSecond', 'serverBusyPercent', 'clientBusyPercent', 'firstByteP50Ms', 'firstByteP99Ms', 'wholeP50Ms', 'wholeP99Ms', 'residentMb'],
    contenders: [
      plain('nginx', 'nginx, sendfile, HTTP/1.1', 'nginx'),
      plain('relay', 'icn-relay, HTTP/1.1', 'relay'),
      {
        id: 'relay-webtransport',
        peer: 'relay',
        label: 'icn-relay, WebTransport',
        prepare: async () => {
          const server = await lab.peer('relay-sessions')
          await warm(lab, 'relay-sessions', set, false)
          const endpoint = await endpointOf(server, 'webtransport')
          return measure(async load => await sessionSample(lab, server, endpoint, load))
        }
      }
    ]
  }
}
