/** Files by byte over a relay in this process, whose super-node has lost four shards of ten. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { connect } from '../../client/src/node-files.ts'
import type { FileClient, FileClientOptions } from '../../client/src/file-client.ts'
import type { ReadStatistics } from '../../client/src/read-statistics.ts'
import { DEMO_PUBLIC_KEY } from '../../demo/super-node/manifest.ts'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { streamBytes } from '../support/file-rig.ts'

const CID = 'syn-700001-files'
const FILE = Buffer.concat(Array.from({ length: 10 }, (_, index) => syntheticShard(CID, index)))
const LOST = [1, 4, 5, 9]

suite('files of a relay', { concurrency: false }, async () => {
  let client: FileClient
  const requests: ReadStatistics[] = []
  const connected = async (t: Parameters<typeof startRelay>[0], options: FileClientOptions = {}): Promise<FileClient> => {
    const node = await startSuperNode({ port: 0 })
    t.after(async () => { await node.close() })
    node.setFaults({ match: LOST.map(index => `shard_${String(index).padStart(2, '0')}|shard_${index}.bin`).join('|'), notFound: true })
    const { viewerUrl } = await startRelay(t, [{ url: node.url, region: 'NA-WEST' }])
    requests.length = 0
    // The first relay does not exist: the second is gone to.
    client = await connect(['http://127.0.0.1:9', viewerUrl], { transports: ['http'], ...options })
    client.on('request', statistics => { requests.push(statistics) })
    t.after(() => { client.close() })
    return client
  }

  test('four shards gone everywhere: the file streams, whole and in parts, every byte verified', async t => {
    await connected(t, { publishers: [DEMO_PUBLIC_KEY] })
    const file = await client.open(`icn://${CID}`)
    assert.deepEqual([file.name, file.size, file.type], [CID, FILE.length, 'application/octet-stream'])
    assert.ok((await streamBytes(file.stream())).equals(FILE))
    const [all] = requests
    assert.deepEqual([all?.outcome, all?.bytes, all?.verified, all?.repaired, all?.transport], ['done', FILE.length, true, LOST, 'http'])
    assert.deepEqual(file.lostShards, LOST)

    const response = await client.fetch(`icn://${CID}`, { headers: { range: 'bytes=-1000000' } })
    assert.deepEqual([response.status, response.headers.get('content-range')], [206, `bytes ${FILE.length - 1_000_000}-${FILE.length - 1}/${FILE.length}`])
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(FILE.subarray(-1_000_000)))
    assert.equal(requests.at(-1)?.verified, true)
    assert.equal((await client.fetch(`icn://${CID}`, { headers: { range: `bytes=${FILE.length}-` } })).status, 416)
  })

  test('what the relay does not have is a 404 of fetch, and an error of open; a manifest of somebody else is refused', async t => {
    await connected(t, { publishers: [Buffer.alloc(32, 1).toString('base64')] })
    assert.equal((await client.fetch('icn://QmNone')).status, 404)
    await assert.rejects(client.open('icn://QmNone'), { name: 'ShardClientError', fault: 'status', status: 404 })
    await assert.rejects(client.fetch(`icn://${CID}`), { name: 'ShardClientError', fault: 'manifest', message: /none of the publishers/ })
    client.close()
    await assert.rejects(client.open(`icn://${CID}`), { fault: 'closed' })
  })
})
