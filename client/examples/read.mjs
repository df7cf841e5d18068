import { connect } from 'icn-relay-client/files'

const [relay, uri] = process.argv.slice(2) // http://localhost:9003 icn://Qm…

const client = await connect(relay)
const file = await client.open(uri)
console.log(`${file.name}: ${file.size} bytes of ${file.type}`)

// As much of it as you want, from where you want.
const start = await file.bytes({ range: { start: 0, end: 1000 } })
console.log(`it begins with ${start.length} bytes`)

// All of it, as fast as you read it.
let bytes = 0
for await (const chunk of file.stream()) bytes += chunk.length
console.log(`${bytes} bytes streamed`)

client.close()
