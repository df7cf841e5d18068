import { connect } from 'icn-relay-client/files'

const [relay, uri] = process.argv.slice(2)

const client = await connect(relay)
client.on('request', ({ priority, bytes, cache, firstByteMs, bitsPerSecond }) => {
  console.log(`${priority}: ${bytes} bytes, ${cache}`, firstByteMs >= 0, bitsPerSecond === undefined || bitsPerSecond > 0)
})
const file = await client.open(uri)

// While nothing else is fetched; whatever else is asked for goes first.
const stop = new AbortController()
const ahead = file.prefetch({ range: { start: 0, end: 100_000 }, signal: stop.signal })

// What the viewer waits for after a seek.
await file.bytes({ range: { start: 200_000, end: 210_000 }, priority: 'urgent' })

await ahead
await file.bytes({ range: { start: 0, end: 100_000 } }) // from memory
client.close()
