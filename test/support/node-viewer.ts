/** A viewer in a process of its own, since Node reads NODE_EXTRA_CA_CERTS as it starts: fetches a shard over WebTransport and tells how that went, as a line of JSON. */
import { connect } from '../../client/src/node.ts'
import { parseShardPath } from '../../src/protocol/shard-key.ts'
import { sha256 } from '../../tools/harness/http.ts'

const [url = '', path = ''] = process.argv.slice(2)

async function outcome (): Promise<Record<string, unknown>> {
  const { cid, part } = parseShardPath(path)
  if (part === 'manifest') throw new Error('no shard')
  const client = await connect(url, { transports: ['webtransport'] })
  try {
    const { transport, failures } = client.transport
    const { bytes } = await client.fetchShard(cid, part)
    return { transport, failures, bytes: bytes.length, sha256: sha256(bytes) }
  } finally {
    client.close()
  }
}

const told = await outcome().catch((error: unknown) => ({ error: String(error) }))
process.stdout.write(`${JSON.stringify(told)}\n`, () => { process.exit(0) })
