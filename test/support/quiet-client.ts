/** A Node client over WebSocket in a process of its own, which says nothing: `quiet-client.ts <relay> <cid>` ends with 0 when a shard came over that transport. */
import { connect } from '../../client/src/node.ts'

const [relay = '', cid = ''] = process.argv.slice(2)
const client = await connect(relay, { transports: ['websocket'] })
const { transport, verified } = await client.fetchShard(cid, 3)
client.close()
process.exitCode = transport === 'websocket' && verified ? 0 : 3
