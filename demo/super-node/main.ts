import { parseArgs } from 'node:util'
import { systemCode } from '../../src/base/errors.ts'
import type { DhtServer } from './dht-server.ts'
import { parseFaults, type Faults } from './faults.ts'
import { startSuperNode, type SuperNode, type SuperNodeOptions } from './server.ts'

const HELP = `Usage: node --import tsx demo/super-node/main.ts [options]

An origin for trying the relay: serves media files as 10+4 Reed-Solomon shards, and any CID syn-<shardBytes>-<label>.

  --port <n>          TCP port, 0 = a free one (9002)
  --host <address>    address to listen on (127.0.0.1)
  --region <name>     region it reports (NA-WEST)
  --media <file>      a file to publish; may be repeated
  --latency-ms <n>    wait before every answer
  --faults <json>     faults from the start, as POST /_demo/faults takes them
  --p2p <multiaddr>   serve the DHT of libp2p there, and publish in it that this node holds its media
  --p2p-peer <multiaddr>  a peer to join it by; may be repeated
  --p2p-holds <cid>   a CID to publish besides; may be repeated
  --help              this text
`

function parseFaultsText (text: string | undefined): Faults {
  try {
    return parseFaults(JSON.parse(text ?? '{}'))
  } catch (error) {
    throw error instanceof SyntaxError ? new Error('--faults is not JSON') : error
  }
}

function number (flag: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > max) throw new Error(`${flag} must be an integer from 0 to ${max}, not "${text}"`)
  return value
}

interface Options extends SuperNodeOptions {
  /** Multiaddr to serve the DHT at; undefined for no DHT. */
  readonly p2p: string | undefined
  readonly p2pPeers: readonly string[]
  readonly holds: readonly string[]
}

function readOptions (): Options | undefined {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '9002' },
      host: { type: 'string', default: '127.0.0.1' },
      region: { type: 'string', default: 'NA-WEST' },
      media: { type: 'string', multiple: true, default: [] },
      'latency-ms': { type: 'string' },
      faults: { type: 'string' },
      p2p: { type: 'string' },
      'p2p-peer': { type: 'string', multiple: true, default: [] },
      'p2p-holds': { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) return undefined
  const faults = parseFaultsText(values.faults)
  const latency = values['latency-ms']
  return {
    port: number('--port', values.port, 65_535),
    host: values.host,
    region: values.region,
    media: values.media,
    p2p: values.p2p,
    p2pPeers: values['p2p-peer'],
    holds: values['p2p-holds'],
    faults: latency === undefined ? faults : { ...faults, latencyMs: number('--latency-ms', latency, 600_000) }
  }
}

function explain (error: unknown, options: Options | undefined): string {
  const code = systemCode(error)
  if (code === 'EADDRINUSE') return `port ${options?.port} on ${options?.host} is in use`
  if (code === 'EACCES' && options !== undefined) return `not allowed to listen on ${options.host} port ${options.port} or to read the media`
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}

/** Joins the DHT and says there what the node holds. */
async function publish (node: SuperNode, { p2p, p2pPeers, holds }: Options): Promise<DhtServer | undefined> {
  if (p2p === undefined) return undefined
  // Loaded by those who want it only: its packages are optional.
  const { publishHolder } = await import('./dht-server.ts')
  return await publishHolder({ listen: p2p, peers: p2pPeers, cids: [...node.catalog.map(({ cid }) => cid), ...holds], holder: { url: node.url, region: node.region } })
}

let options: Options | undefined
try {
  options = readOptions()
  if (options === undefined) process.stdout.write(HELP)
  else {
    const node = await startSuperNode(options)
    const dht = await publish(node, options)
    const stop = (): void => { Promise.all([node.close(), dht?.close()]).then(() => process.exit(0), () => process.exit(1)) }
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
    // Started with an IPC channel, the node goes when its parent goes, however that one died.
    process.once('disconnect', stop)
    const items = node.catalog.map(({ cid, contentType, size }) => ({ cid, contentType, size }))
    process.stdout.write(`${JSON.stringify({ event: 'listening', url: node.url, region: node.region, items, ...dht === undefined ? {} : { p2p: dht.addresses } })}\n`)
  }
} catch (error) {
  process.stderr.write(`super-node: ${explain(error, options)}\n`)
  process.exitCode = 1
}
