import { connect } from 'icn-relay-client/files'

const [relay, uri] = process.argv.slice(2)

const client = await connect([relay])
const response = await client.fetch(uri, { headers: { range: 'bytes=-1000' }, signal: AbortSignal.timeout(60_000) })
console.log(response.status, response.headers.get('content-type'))
console.log(`${(await response.arrayBuffer()).byteLength} bytes, ${response.headers.get('content-range')}`)

client.close()
