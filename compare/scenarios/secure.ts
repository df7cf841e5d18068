import type { BrowserPage, BrowserTransport } from '../clients/browser.ts'
import { h2load } from '../clients/h2load.ts'
import type { Lab, PeerName } from '../lab.ts'
import type { Running } from '../peers/peer.ts'
import { offerOf } from '../peers/relay.ts'
import type { Contender, Scenario } from '../scenario.ts'
import { digestsOf } from '../shards.ts'
import { metered } from './meter.ts'
import { warm } from './warm.ts'

/** Downloads of a page at the same time. */
const PARALLEL = 4
const H2_CONNECTIONS = 4
const H2_STREAMS = 4

/** HTTP/2 by h2load. */
function http2 (lab: Lab, bytes: number): Scenario {
  const set = lab.hot(bytes)
  const contender = (id: string, label: string, name: PeerName): Contender => ({
    id,
    peer: id,
    label,
    prepare: async () => {
      const server = await lab.peer(name)
      await warm(lab, name, set, id === 'relay')
      return async () => await metered(server.process, async () => {
        const { cpuMs, ...seen } = await h2load({
          port: server.https ?? 0,
          paths: set.paths,
          connections: H2_CONNECTIONS,
          streams: H2_STREAMS,
          seconds: Math.max(1, Math.round(lab.scale.runMs / 1_000)),
          core: lab.clientCore,
          directory: lab.world.directory
        })
        return { ...seen, clientCpuMs: cpuMs }
      })
    }
  })
  return {
    id: `http2-${bytes / 1_000_000}mb`,
    title: `Hot hits, ${bytes / 1_000_000} MB, HTTP/2 over TLS 1.3`,
    method: `h2load with ${H2_CONNECTIONS} connections of ${H2_STREAMS} streams each, AES-128-GCM.`,
    columns: ['mbPerSecond', 'serverCpuMsPerMb', 'serverBusyPercent', 'clientBusyPercent', 'wholeP50Ms', 'wholeP99Ms', 'residentMb'],
    contenders: [contender('nginx', 'nginx', 'nginx'), contender('caddy', 'Caddy', 'caddy'), contender('relay', 'icn-relay', 'relay-tls')]
  }
}

interface BrowserContender {
  readonly id: string
  readonly label: string
  readonly name: PeerName
  /** Port of the page. */
  readonly port: (server: Running) => number | undefined
  readonly transport: (server: Running) => Promise<BrowserTransport>
  /** What ALPN has to have chosen, for a fetch. */
  readonly protocol?: string
}

const FETCH: BrowserTransport = 'fetch'

async function offeredTransport (server: Running, transport: 'webtransport' | 'websocket'): Promise<BrowserTransport> {
  if ((await offerOf(server))[transport] === undefined) throw new Error(`the relay does not offer ${transport}`)
  return transport
}

const BROWSER_CONTENDERS: readonly BrowserContender[] = [
  { id: 'nginx-h2', label: 'nginx, HTTP/2', name: 'nginx', port: ({ https }) => https, transport: async () => FETCH, protocol: 'h2' },
  { id: 'caddy-h2', label: 'Caddy, HTTP/2', name: 'caddy', port: ({ https }) => https, transport: async () => FETCH, protocol: 'h2' },
  { id: 'caddy-h3', label: 'Caddy, HTTP/3', name: 'caddy', port: ({ http3 }) => http3, transport: async () => FETCH, protocol: 'h3' },
  { id: 'relay-h2', label: 'icn-relay, HTTP/2', name: 'relay-tls', port: ({ https }) => https, transport: async () => FETCH, protocol: 'h2' },
  { id: 'relay-webtransport', label: 'icn-relay, WebTransport', name: 'relay-tls', port: ({ https }) => https, transport: async server => await offeredTransport(server, 'webtransport') },
  { id: 'relay-websocket', label: 'icn-relay, WebSocket (fails-components)', name: 'relay-tls', port: ({ https }) => https, transport: async server => await offeredTransport(server, 'websocket') }
]

/** Downloads by Chromium. */
function browser (lab: Lab, bytes: number): Scenario {
  const set = lab.hot(bytes)
  const contender = ({ id, label, name, port, transport: findTransport, protocol }: BrowserContender): Contender => ({
    id,
    peer: name.startsWith('relay') ? 'relay' : name,
    label,
    prepare: async () => {
      const server = await lab.peer(name)
      await warm(lab, name, set, name === 'relay-tls')
      const chromium = await lab.browser()
      const transport = await findTransport(server)
      const page: BrowserPage = await chromium.open()
      // The relay answers / with a redirect to its player page.
      await page.goTo(`https://127.0.0.1:${port(server) ?? 0}${name === 'relay-tls' ? '/v1/transport' : '/'}`)
      const seen = await page.digest(transport, set.paths[0] ?? '')
      if (seen.digest !== digestsOf(set)[0]) throw new Error('Chromium received other bytes')
      if (protocol !== undefined && seen.protocol !== protocol) throw new Error(`Chromium took ${seen.protocol} instead of ${protocol}`)
      return async () => await metered(server.process, async () => {
        const before = await chromium.usage()
        const outcome = await page.download(transport, { paths: set.paths, parallel: PARALLEL, milliseconds: lab.scale.browserMs })
        return { ...outcome, clientCpuMs: (await chromium.usage()).cpuMs - before.cpuMs }
      })
    }
  })
  return {
    id: `browser-${bytes / 1_000_000}mb`,
    title: `Downloads by Chromium, ${bytes / 1_000_000} MB`,
    method: `A page fetches ${PARALLEL} shards at the same time and reads their bodies as streams. Chromium, all of it on one core, is what limits every row; the CPU of the server is the comparison.`,
    columns: ['mbPerSecond', 'serverCpuMsPerMb', 'serverBusyPercent', 'clientBusyPercent', 'firstByteP50Ms', 'firstByteP99Ms', 'wholeP50Ms', 'wholeP99Ms'],
    contenders: BROWSER_CONTENDERS.map(contender)
  }
}

/** Everything that is encrypted: HTTP/2 by a load generator, then HTTP/2, HTTP/3 and sessions by a browser. */
export function secureScenarios (lab: Lab): Scenario[] {
  return [...lab.scale.sizes.map(bytes => http2(lab, bytes)), ...lab.scale.sizes.map(bytes => browser(lab, bytes))]
}
