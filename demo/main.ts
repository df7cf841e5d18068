import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startNetwork, type Network } from './network.ts'
import { DEFAULT_PORTS, HOST, parsePorts, requireFree, type Ports } from './ports.ts'
import { complaints, fetchTwice, reassemble, renderTable, sha256 } from './table.ts'

const HELP = `Usage: npm run demo [-- options]

Starts three super-nodes and a relay, fetches a clip through the relay twice, prints a table, and stays up for the player page.

  --once              end after the table; exit code 0 only when every digest is ok and the second round was all hits
  --ports a,b,c,v,m   ports of the super-nodes, of viewers and of the admin (9002,9012,9022,9003,9103); 0 = a free one
  --random-ports      free ports for everything
  --relay <file>      another relay entry, such as dist/server.js (src/server.ts)
  --help              this text
`

/** How long after a failed fetch the relay's death may still come to light. */
const DEATH_MS = 500

interface Options {
  readonly once: boolean
  readonly ports: Ports
  readonly relay: string
}

async function readOptions (): Promise<Options | undefined> {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      ports: { type: 'string' },
      'random-ports': { type: 'boolean', default: false },
      relay: { type: 'string', default: 'src/server.ts' },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) return undefined
  const text = values.ports ?? (values['random-ports'] ? '0,0,0,0,0' : undefined)
  return { once: values.once, relay: values.relay, ports: text === undefined ? DEFAULT_PORTS : await parsePorts(text) }
}

function print (text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Fetches, prints the table, and returns what is wrong. */
async function show (network: Network, ports: Ports): Promise<string[]> {
  const { manifest, lines } = await fetchTwice(`http://${HOST}:${ports.viewer}`, network.cid)
  const media = sha256(reassemble(manifest, lines))
  const same = media === manifest.sha256
  print(`\n${renderTable(lines)}\n`)
  print(`${manifest.cid}: ${manifest.size.toLocaleString('en')} bytes, ${manifest.contentType}`)
  print(`sha256 ${media} ${same ? 'as the manifest says' : `IS NOT ${manifest.sha256}`}`)
  return [...complaints(lines), ...same ? [] : ['the reassembled clip does not match the manifest']]
}

/** The roads the relay offers, best first. */
async function roads (viewer: string): Promise<string> {
  const found = await (await fetch(`${viewer}/v1/transport`)).json() as Record<string, { url?: string } | string>
  return ['webtransport', 'websocket', 'http'].flatMap(name => {
    const road = found[name]
    return typeof road === 'object' && road.url !== undefined ? [`${name} ${road.url}`] : []
  }).join('\n             ')
}

async function invite (network: Network, ports: Ports): Promise<void> {
  const viewer = `http://localhost:${ports.viewer}`
  const [nearest] = network.superNodes
  print(`
Watch it     ${viewer}/player/?cid=${network.cid}
             add &transport=webtransport, websocket or http to choose the road
Roads        ${await roads(viewer)}

Try          curl -s ${viewer}/v1/transport
             curl -s ${viewer}/shards/${network.cid}/shard_0.bin | sha256sum
             curl -si -r 0-99 ${viewer}/shards/${network.cid}/shard_0.bin | head -20
             curl -s http://localhost:${ports.admin}/metrics | grep icn_relay_
Break it     kill ${nearest?.pid ?? ''}   (${nearest?.name ?? ''}; the others: ${network.superNodes.slice(1).map(child => child.pid).join(' ')})
             curl -X POST http://localhost:${ports.superNodes[0]}/_demo/faults -d '{"corrupt":true}'

Ctrl-C stops everything.`)
}

/** Until a signal; a super-node may die meanwhile, that is part of the show, the relay may not. */
async function stayUp (network: Network, interrupted: AbortSignal): Promise<void> {
  for (const child of network.superNodes) {
    child.died.then(how => { if (!interrupted.aborted) print(how) }, () => {})
  }
  const stopped = new Promise<void>(resolve => { interrupted.addEventListener('abort', () => { resolve() }, { once: true }) })
  await Promise.race([stopped, network.relay.died.then(how => { if (!interrupted.aborted) throw new Error(how) })])
}

async function run ({ once, ports, relay }: Options, interrupted: AbortSignal): Promise<void> {
  await requireFree(ports)
  print('Starting three super-nodes and a relay…')
  const network = await startNetwork(ports, relay, interrupted)
  try {
    const wrong = await show(network, ports).catch(async (error: unknown) => {
      // A refused connection is seen before the exit that caused it, and the exit says more.
      const how = await Promise.race([network.relay.died, sleep(DEATH_MS, undefined)])
      throw how === undefined ? error : new Error(how)
    })
    if (wrong.length > 0) throw new Error(wrong.join('; '))
    if (once || interrupted.aborted) return
    await invite(network, ports)
    await stayUp(network, interrupted)
  } finally {
    await network.stop()
  }
}

const interruption = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { interruption.abort(new Error(`stopped by ${signal}`)) })

try {
  const options = await readOptions()
  if (options === undefined) process.stdout.write(HELP)
  else await run(options, interruption.signal)
} catch (error) {
  // Ctrl-C reaches the children too, so their ends are not the reason then.
  const reason: unknown = interruption.signal.aborted ? interruption.signal.reason : error
  process.stderr.write(`demo: ${reason instanceof Error ? reason.message : String(reason)}\n`)
  process.exitCode = 1
}
