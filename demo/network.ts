import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChild, type Child } from './children.ts'
import { HOST, type Ports } from './ports.ts'

/** The clip every super-node publishes. */
export const CLIP = 'demo/media/clip.webm'

/** How long the relay may take until /ready says 200. */
const READY_MS = 15_000
const POLL_MS = 100
const POLL_TIMEOUT_MS = 2000

/** Three super-nodes as far away as three regions are. */
const SUPER_NODES = [{ region: 'NA-WEST', latencyMs: 5 }, { region: 'EU-WEST', latencyMs: 60 }, { region: 'APAC', latencyMs: 120 }] as const

/** Everything the demo started. */
export interface Network {
  readonly superNodes: readonly Child[]
  readonly relay: Child
  readonly cid: string
  /** Stops every child and removes the cache. */
  stop (): Promise<void>
}

interface Origin { readonly url: string, readonly region: string, readonly cid: string }

async function startOrigin (child: Child): Promise<Origin> {
  const ready = await child.event('listening')
  const { url, region, items } = ready as { url: string, region: string, items: Array<{ cid: string }> }
  return { url, region, cid: items[0]?.cid ?? '' }
}

function relayConfig (ports: Ports, cachePath: string, origins: readonly Origin[]): string {
  return `[viewer]
host = "${HOST}"
port = ${ports.viewer}
websocket_port = ${ports.websocket}
player = true

[admin]
host = "${HOST}"
port = ${ports.admin}
loopback_without_token = true

[cache]
path = ${JSON.stringify(cachePath)}

[region]
override = "${SUPER_NODES[0].region}"

[log]
level = "warn"

[upstream]
super_nodes = [
${origins.map(({ url, region }) => `  { url = "${url}", region = "${region}" }`).join(',\n')}
]
`
}

async function waitReady (relay: Child, url: string, signal: AbortSignal): Promise<void> {
  const until = performance.now() + READY_MS
  let death: string | undefined
  relay.died.then(how => { death = how }, () => {})
  let last = 'no answer'
  while (performance.now() < until) {
    signal.throwIfAborted()
    if (death !== undefined) throw new Error(death)
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(POLL_TIMEOUT_MS) })
      if (response.status === 200) return
      last = `${response.status} ${(await response.text()).slice(0, 200)}`
    } catch { /* not listening yet */ }
    await sleep(POLL_MS)
  }
  throw new Error(`${relay.name} was not ready after ${READY_MS / 1000} s: ${url} gave ${last}`)
}

/**
 * Starts three super-nodes and a relay with a new cache.
 * @param relayFile the relay's entry, src/server.ts or a build of it
 * @param signal gives up; what was started is stopped
 * @throws Error with one line naming the child that failed and what it said
 */
export async function startNetwork (ports: Ports, relayFile: string, signal: AbortSignal): Promise<Network> {
  const directory = await mkdtemp(join(tmpdir(), 'icn-relay-demo-'))
  const children: Child[] = []
  const stop = async (): Promise<void> => {
    // The relay first: while it stops it may still finish answers that need a super-node.
    for (const child of children.toReversed()) await child.stop()
    await rm(directory, { recursive: true, force: true })
  }
  const start = (name: string, file: string, args: string[]): Child => {
    const child = startChild(name, file, args)
    children.push(child)
    return child
  }
  try {
    const superNodes = SUPER_NODES.map(({ region, latencyMs }, index) => start(`super-node ${region}`, 'demo/super-node/main.ts', [
      '--host', HOST, '--port', `${ports.superNodes[index] ?? 0}`, '--region', region, '--media', CLIP, '--latency-ms', `${latencyMs}`
    ]))
    const origins = await Promise.all(superNodes.map(startOrigin))
    signal.throwIfAborted()
    const configPath = join(directory, 'relay.toml')
    await writeFile(configPath, relayConfig(ports, join(directory, 'cache'), origins))
    const relay = start('relay', relayFile, ['--config', configPath])
    await waitReady(relay, `http://${HOST}:${ports.admin}/ready`, signal)
    return { superNodes, relay, cid: origins[0]?.cid ?? '', stop }
  } catch (error) {
    await stop()
    throw error
  }
}
