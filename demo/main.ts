import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { ManagedProcess } from '../tools/harness/managed-process.ts'
import { Network } from './network.ts'
import { DEFAULT_PORTS, HOST, parsePorts, requireFree, superNodePort, type Ports } from './ports.ts'
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

/** The transports the relay offers, best first. */
async function transports (viewer: string): Promise<string> {
  const found = await (await fetch(`${viewer}/v1/transport?ticket=none`)).json() as Record<string, { url?: string } | string>
  return ['webtransport', 'websocket', 'http'].flatMap(name => {
    const offer = found[name]
    return typeof offer === 'object' && offer.url !== undefined ? [`${name.padEnd(12)} ${offer.url}`] : []
  }).join('\n              ')
}

async function invite (network: Network, ports: Ports): Promise<void> {
  const viewer = `http://localhost:${ports.viewer}`
  const shards = `${viewer}/shards/${network.cid}`
  const listed = network.superNodes.map(({ name, pid }, index) => `${name} (port ${superNodePort(ports, index)}) ${pid}`)
  print(`
Watch it      ${viewer}/player/?cid=${network.cid}
              add &transport=webtransport, websocket or http to choose the transport;
              websocket needs a certificate the browser accepts, and the page says how
Transports    ${await transports(viewer)}

Try           curl -s ${viewer}/v1/transport
              curl -s ${shards}/shard_0.bin | sha256sum
              curl -s -r 0-99 -o /dev/null -D - ${shards}/shard_0.bin
              curl -s http://localhost:${ports.admin}/metrics | grep ^icn_relay_cache_

PIDs          ${[...listed, `relay (port ${ports.viewer}) ${network.relay.pid}`].join('\n              ')}
Break it      1. The nearest super-node sends wrong bytes, until 2 ends it, and the cache is emptied: the page plays what the others send.
              curl -s -X POST http://localhost:${superNodePort(ports, 0)}/_demo/faults -d '{"corrupt":true}'
              curl -s -X DELETE -H 'x-requested-with: curl' http://localhost:${ports.admin}/admin/v1/cache/shards/${network.cid}
              What was refused then:
              curl -s http://localhost:${ports.admin}/metrics | grep corrupt
              2. All super-nodes end: the page plays from the cache.
              kill ${network.superNodes.map(({ pid }) => pid).join(' ')}
              3. The relay ends: the demo starts it again on the same cache, and it still knows what it stored.
              kill ${network.relay.pid}
Mend it       ${KEYS}

Ctrl-C stops everything and removes the cache.`)
}

const KEYS = 'type here, with Enter:  r  restarts the relay   s  starts dead super-nodes   Enter alone  lists the PIDs'

/** Until a signal. Super-nodes may die meanwhile and wait for `s`; a relay that somebody ended is started again, one that failed ends the demo. */
async function stayUp (network: Network, interrupted: AbortSignal): Promise<void> {
  const watch = (child: ManagedProcess): void => {
    void child.ended.then(text => { if (!interrupted.aborted) print(`${text.split('\n', 1)[0]?.replace(/; it said:$/, '') ?? ''}; type s and Enter to start it again`) })
  }
  for (const child of network.superNodes) watch(child)
  const lines = createInterface({ input: process.stdin })
  const asked = async (line: string): Promise<void> => {
    if (line === 'r') await network.relay.stop()
    else if (line === 's') {
      const started = await network.startSuperNodes()
      for (const child of started) watch(child)
      print(started.length === 0 ? 'All super-nodes are running.' : `Started: ${started.map(({ name, pid }) => `${name} ${pid}`).join(', ')}`)
    } else if (line === '') print([...network.superNodes, network.relay].map(({ name, pid, running }) => `${name} ${running ? pid : 'is dead'}`).join(', '))
    else print(KEYS)
  }
  // One after the other: two starts of the same super-node would meet at its port.
  let busy = Promise.resolve()
  const failed = new Promise<never>((_resolve, reject) => {
    lines.on('line', line => { busy = busy.then(async () => { if (!interrupted.aborted) await asked(line.trim()) }).catch(reject) })
  })
  const stopped = new Promise<void>(resolve => { interrupted.addEventListener('abort', () => { resolve() }, { once: true }) })
  try {
    await Promise.race([stopped, failed, keepRelay(network, interrupted)])
  } finally {
    lines.close()
  }
}

async function keepRelay (network: Network, interrupted: AbortSignal): Promise<void> {
  for (;;) {
    const { relay } = network
    const { code, signal } = await relay.exit
    if (interrupted.aborted) return
    // Somebody has ended it.
    if (signal === null && code !== 0) throw new Error(await relay.ended)
    print('The relay has ended; starting it again on the same cache…')
    const { pid } = await network.startRelay()
    print(`The relay is back, with PID ${pid}.`)
  }
}

async function run ({ once, ports, relay }: Options, interrupted: AbortSignal): Promise<void> {
  await requireFree(ports)
  print('Starting three super-nodes and a relay…')
  const network = await Network.start(ports, relay, interrupted)
  try {
    const wrong = await show(network, ports).catch(async (error: unknown) => {
      // A refused connection is seen before the exit that caused it, and the exit says more.
      const how = await Promise.race([network.relay.ended, sleep(DEATH_MS, undefined)])
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
