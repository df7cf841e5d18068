/** A viewer for `exits.ts`: ends in the middle of a fetch over WebTransport, and says so first. */
import { connect } from '../client/src/node.ts'

const [url = '', cid = ''] = process.argv.slice(2)
const client = await connect(url, { transports: ['webtransport'] })
await client.fetchShard(cid, 0)
for (let part = 1; part < 9; part++) client.fetchShard(cid, part).catch(() => {})
await client.fetchShard(cid, 9)
process.stdout.write('{"event":"leaving"}\n', () => { process.exit(0) })
