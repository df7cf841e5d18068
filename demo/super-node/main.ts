import { parseArgs } from 'node:util'
import { systemCode } from '../../src/base/errors.ts'
import { parseFaults, type Faults } from './faults.ts'
import { startSuperNode, type SuperNodeOptions } from './server.ts'

const HELP = `Usage: node --import tsx demo/super-node/main.ts [options]

An origin for trying the relay: serves media files as 10+4 Reed-Solomon shards, and any CID syn-<shardBytes>-<label>.

  --port <n>          TCP port, 0 = a free one (9002)
  --host <address>    address to listen on (127.0.0.1)
  --region <name>     region it reports (NA-WEST)
  --media <file>      a file to publish; may be repeated
  --latency-ms <n>    wait before every answer
  --faults <json>     faults from the start, as POST /_demo/faults takes them
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

function readOptions (): SuperNodeOptions | undefined {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '9002' },
      host: { type: 'string', default: '127.0.0.1' },
      region: { type: 'string', default: 'NA-WEST' },
      media: { type: 'string', multiple: true, default: [] },
      'latency-ms': { type: 'string' },
      faults: { type: 'string' },
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
    faults: latency === undefined ? faults : { ...faults, latencyMs: number('--latency-ms', latency, 600_000) }
  }
}

function explain (error: unknown, options: SuperNodeOptions | undefined): string {
  const code = systemCode(error)
  if (code === 'EADDRINUSE') return `port ${options?.port} on ${options?.host} is in use`
  if (code === 'EACCES' && options !== undefined) return `not allowed to listen on ${options.host} port ${options.port} or to read the media`
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}

let options: SuperNodeOptions | undefined
try {
  options = readOptions()
  if (options === undefined) process.stdout.write(HELP)
  else {
    const node = await startSuperNode(options)
    const stop = (): void => { node.close().then(() => process.exit(0), () => process.exit(1)) }
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
    // Started with an IPC channel, the node goes when its parent goes, however that one died.
    process.once('disconnect', stop)
    const items = node.catalog.map(({ cid, contentType, size }) => ({ cid, contentType, size }))
    process.stdout.write(`${JSON.stringify({ event: 'listening', url: node.url, region: node.region, items })}\n`)
  }
} catch (error) {
  process.stderr.write(`super-node: ${explain(error, options)}\n`)
  process.exitCode = 1
}
