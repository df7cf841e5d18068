import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { ManagedProcess, nodeCommand } from '../tools/harness/managed-process.ts'
import { HOST, superNodePort, type Ports } from './ports.ts'
import { DEMO_PUBLIC_KEY } from './super-node/manifest.ts'

/** The clip every super-node publishes. */
export const CLIP = 'demo/media/clip.webm'

/** Tests have it built. */
const SUPER_NODE = process.env['SUPER_NODE_PROGRAM'] ?? 'demo/super-node/main.ts'

/** How long the relay may take until /ready says 200: a second or two, and many times that on a machine that compiles something else. */
const READY_MS = 60_000
const POLL_MS = 100
const POLL_TIMEOUT_MS = 2000

/** Three super-nodes as far away as three regions are. */
const SUPER_NODES = [{ region: 'NA-WEST', latencyMs: 5 }, { region: 'EU-WEST', latencyMs: 60 }, { region: 'APAC', latencyMs: 120 }] as const

interface Origin { readonly url: string, readonly region: string, readonly cid: string }

async function startOrigin (child: ManagedProcess): Promise<Origin> {
  const ready = await child.waitFor(({ event }) => event === 'listening')
  const { url, region, items } = ready as unknown as { url: string, region: string, items: Array<{ cid: string }> }
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

# The table is to show what a miss takes, one for each object.
[prefetch]
enabled = false

[trust]
publishers = ["${DEMO_PUBLIC_KEY}"]

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

async function waitReady (relay: ManagedProcess, url: string, signal: AbortSignal): Promise<void> {
  const until = performance.now() + READY_MS
  let death: string | undefined
  void relay.ended.then(text => { death = text })
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

/** Three super-nodes, a relay and its cache, which outlives the relay. Whoever has ended can be started again, at the same ports. */
export class Network {
  readonly #ports: Ports
  readonly #relayFile: string
  readonly #directory: string
  readonly #signal: AbortSignal
  readonly #superNodes: ManagedProcess[] = []
  #relay: ManagedProcess | undefined
  #cid = ''

  private constructor (ports: Ports, relayFile: string, directory: string, signal: AbortSignal) {
    this.#ports = ports
    this.#relayFile = relayFile
    this.#directory = directory
    this.#signal = signal
  }

  /**
   * Starts everything, with a new cache.
   * @param relayFile the relay's entry, src/server.ts or a build of it
   * @param signal gives up; what was started is stopped
   * @throws Error with one line naming the child that failed and what it said
   */
  static async start (ports: Ports, relayFile: string, signal: AbortSignal): Promise<Network> {
    const network = new Network(ports, relayFile, await mkdtemp(join(tmpdir(), 'icn-relay-demo-')), signal)
    try {
      const origins = await Promise.all(SUPER_NODES.map(async (_, index) => await startOrigin(network.#startSuperNode(index))))
      signal.throwIfAborted()
      network.#cid = origins[0]?.cid ?? ''
      await writeFile(network.#configPath, relayConfig(ports, join(network.#directory, 'cache'), origins))
      await network.startRelay()
      return network
    } catch (error) {
      await network.stop()
      throw error
    }
  }

  /** In the order of their ports. */
  get superNodes (): readonly ManagedProcess[] { return this.#superNodes }
  get cid (): string { return this.#cid }

  get relay (): ManagedProcess {
    if (this.#relay === undefined) throw new Error('the relay has not been started')
    return this.#relay
  }

  /** Starts the relay, on the cache it left when it ran before; resolves when it is ready. @throws Error with one line */
  async startRelay (): Promise<ManagedProcess> {
    const relay = ManagedProcess.start(nodeCommand(this.#relayFile, '--config', this.#configPath), { name: 'relay' })
    this.#relay = relay
    await waitReady(relay, `http://${HOST}:${this.#ports.admin}/ready`, this.#signal)
    return relay
  }

  /** Starts those super-nodes again that have ended; resolves with them when they listen. @throws Error with one line */
  async startSuperNodes (): Promise<ManagedProcess[]> {
    const ended = this.#superNodes.flatMap((child, index) => child.running ? [] : [index])
    const started = ended.map(index => this.#startSuperNode(index))
    await Promise.all(started.map(startOrigin))
    return started
  }

  /** Stops every child and removes the cache. */
  async stop (): Promise<void> {
    // The relay first: while it stops it may still finish answers that need a super-node.
    await this.#relay?.stop()
    await Promise.all(this.#superNodes.map(async child => { await child.stop() }))
    await rm(this.#directory, { recursive: true, force: true })
  }

  get #configPath (): string { return join(this.#directory, 'relay.toml') }

  #startSuperNode (index: number): ManagedProcess {
    const { region, latencyMs } = SUPER_NODES[index] ?? SUPER_NODES[0]
    const child = ManagedProcess.start(nodeCommand(
      SUPER_NODE, '--host', HOST, '--port', `${superNodePort(this.#ports, index)}`, '--region', region, '--media', CLIP, '--latency-ms', `${latencyMs}`
      // The channel tells it that its parent is gone; nothing is sent over it.
    ), { name: `super-node ${region}`, ipc: true })
    this.#superNodes[index] = child
    return child
  }
}
