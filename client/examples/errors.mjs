import { connect, ShardClientError } from 'icn-relay-client/files'

const [relay] = process.argv.slice(2)

const client = await connect(relay)
try {
  await client.open('icn://QmThatNobodyHas')
} catch (error) {
  if (!(error instanceof ShardClientError)) throw error
  console.log(error.fault, error.status, error.code, error.retryable)
}
client.close()
