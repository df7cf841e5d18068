import { connect } from 'icn-relay-client/files'

const [relay, uri] = process.argv.slice(2)

const freshToken = async () => 'a-token' // from your own service

const client = await connect(relay, {
  token: freshToken, // asked before each request; a string will do
  // Who may sign manifests, as raw Ed25519 keys in base64. Without this the manifest that the relay gives is believed.
  publishers: process.argv.slice(4)
})
const file = await client.open(uri)
console.log(`${file.size} bytes, signed`)
client.close()
