/** The client of files, over sessions of a gateway in this process. */
import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { FileClient, type FileClientOptions } from '../../../client/src/file-client.ts'
import { nodeErasure } from '../../../client/src/node.ts'
import type { ReadStatistics } from '../../../client/src/read-statistics.ts'
import { ShardClient } from '../../../client/src/shard-client.ts'
import { transportConnector } from '../../../client/src/transport-session.ts'
import { encodeShards } from '../../../demo/super-node/erasure.ts'
import { FakeNetwork } from '../../support/client-rig.ts'
import { FILE_CID, fileBytes, fileManifestBytes, streamBytes } from '../../support/file-rig.ts'
import { settle, until, viewerRig, type ViewerRig } from '../../support/viewer-rig.ts'

const A = 'https://a.example'
const B = 'https://b.example'
const FILE = fileBytes(1_350_003)
const SHARDS = encodeShards(FILE)
const MANIFEST = fileManifestBytes(FILE, SHARDS, 65_536)
const URI = `icn://${FILE_CID}`

async function connected (t: TestContext, options: FileClientOptions = {}, relays: readonly string[] = [A]): Promise<{ client: FileClient, a: ViewerRig, network: FakeNetwork, requests: ReadStatistics[] }> {
  const a = await viewerRig(t)
  a.source.objects.set(`${FILE_CID}/manifest`, MANIFEST)
  for (const [index, shard] of SHARDS.entries()) a.source.objects.set(`${FILE_CID}/${index}`, shard)
  const network = new FakeNetwork().add(A, a)
  const requests: ReadStatistics[] = []
  const client = await network.time.until(FileClient.connect(relays, { platform: network.platform, webTransport: transportConnector(network.dial), erasure: nodeErasure, ...options }, async (url, more) => await ShardClient.connect(url, more)))
  client.on('request', statistics => { requests.push(statistics) })
  t.after(() => { client.close() })
  return { client, a, network, requests }
}

suite('client of files', () => {
  test('opens a file once, reads it over its session, and tells what became of each read', async t => {
    const { client, a, requests } = await connected(t)
    a.source.objects.delete(`${FILE_CID}/3`)
    const [file, again] = await Promise.all([client.open(URI), client.open(new URL(URI))])
    assert.equal(file, again)
    assert.deepEqual(a.source.resolved, [`${FILE_CID}/manifest`])
    assert.ok((await streamBytes(file.stream())).equals(FILE))
    const [all] = requests
    assert.deepEqual({ ...all, queuedMs: 0, firstByteMs: 0, totalMs: 0, bitsPerSecond: undefined }, {
      uri: URI,
      range: { start: 0, end: FILE.length },
      priority: 'normal',
      outcome: 'done',
      transport: 'webtransport',
      cache: 'hit',
      bytes: FILE.length,
      fetchedBytes: 19 * (SHARDS[0]?.length ?? 0),
      queuedMs: 0,
      firstByteMs: 0,
      totalMs: 0,
      repaired: [3],
      verified: true,
      bitsPerSecond: undefined,
      bandwidth: undefined
    })
    assert.deepEqual([a.source.held, a.faults], [0, []])
  })

  test('goes to the next relay when the first cannot be reached, and asks no relay for what is no address', async t => {
    const { client, network } = await connected(t, {}, [B, A])
    assert.equal(client.transport.relayUrl, A)
    const asked = network.requests.length
    await assert.rejects(client.open('icn://a/b'), { fault: 'uri' })
    await assert.rejects(client.fetch('https://a'), { fault: 'uri' })
    await assert.rejects(client.fetch(URI, { method: 'POST' }), TypeError)
    assert.equal(network.requests.length, asked)
    await assert.rejects(FileClient.connect([], {}, async (url, more) => await ShardClient.connect(url, more)), { fault: 'connect' })
  })

  test('a file that could not be opened is asked for again, and is a status of fetch', async t => {
    const { client, a } = await connected(t)
    a.source.objects.delete(`${FILE_CID}/manifest`)
    const refused = await client.fetch(URI)
    assert.deepEqual([refused.status, refused.headers.get('content-type'), (await refused.json() as { code: string }).code], [404, 'application/problem+json', 'RELAY_ERR_SHARD_NOT_FOUND'])
    a.source.objects.set(`${FILE_CID}/manifest`, MANIFEST)
    const { status, headers } = await client.fetch(URI, { method: 'HEAD' })
    assert.deepEqual([status, headers.get('content-length')], [200, String(FILE.length)])
    a.source.objects.set(`${FILE_CID}/manifest`, Buffer.from('{}'))
    assert.equal((await client.open(URI)).size, FILE.length, 'it is kept')
  })

  test('no more files are kept than sixteen, those used last', async t => {
    const { client, a } = await connected(t)
    const cids = Array.from({ length: 17 }, (_, index) => `QmFile${index}`)
    for (const cid of cids) {
      a.source.objects.set(`${cid}/manifest`, Buffer.from(MANIFEST.toString().replace(FILE_CID, cid)))
      await client.open(`icn://${cid}`)
      await client.open('icn://QmFile0')
    }
    assert.equal(a.source.resolved.length, 17)
    await client.open('icn://QmFile1')
    assert.equal(a.source.resolved.length, 18)
  })

  test('300 aborts in a row leave no stream, no object held and no timer', async t => {
    const { client, a, network, requests } = await connected(t)
    const file = await client.open(URI)
    await file.bytes({ range: { start: 0, end: 1 } })
    const timers = network.time.pending
    for (let turn = 0; turn < 300; turn++) {
      const abort = new AbortController()
      const response = await client.fetch(URI, { headers: { range: `bytes=${turn * 4000}-` }, signal: abort.signal, priority: turn % 3 === 0 ? 'low' : 'high' })
      const reader = response.body?.getReader()
      const read = reader?.read()
      for (let turns = turn % 5; turns > 0; turns--) await new Promise(resolve => { setImmediate(resolve) })
      abort.abort(new Error('seek'))
      await read?.catch(() => {})
      if (turn % 10 === 0) a.now += 1000
    }
    await until(() => a.source.held === 0 && a.sessions.every(session => session.stats().streams === 0), 'nothing is under way')
    await settle()
    assert.ok(requests.filter(({ outcome }) => outcome === 'aborted').length > 200)
    assert.ok(network.time.pending <= timers, `${network.time.pending} timers, ${timers} before`)
    assert.ok(Buffer.from(await file.bytes()).equals(FILE))
    assert.equal(a.faults.length, 0)
  })

  test('ends every read with the client', async t => {
    const { client, a } = await connected(t)
    const file = await client.open(URI)
    const errors: unknown[] = []
    client.on('error', error => { errors.push(error) })
    const reader = file.stream().getReader()
    assert.ok((await reader.read()).value !== undefined)
    a.source.gate = new Promise(() => {})
    client.close()
    client.close()
    await assert.rejects(reader.closed, { fault: 'closed' })
    await assert.rejects(file.bytes(), { fault: 'closed' })
    await assert.rejects(client.open(URI), { fault: 'closed' })
    assert.deepEqual(errors, [])
  })
})
