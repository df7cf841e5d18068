/** A Node client where HTTP/3 does not work: it takes the transport over TCP, and knows the relay by its pinned certificate there too. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { startSuperNode, syntheticShard } from '../../demo/super-node/server.ts'
import { connect } from '../../client/src/node.ts'
import { sha256 } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { runToEnd, spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

const CID = 'syn-100000-tcp'

interface Offer { readonly url: string, readonly certificateHashes: readonly { readonly algorithm: string, readonly value: string }[] }
interface Discovery { readonly webtransport?: Offer, readonly websocket?: Offer, readonly http: { readonly url: string } }

/** A relay without HTTP/3: its optional package is not installed. */
async function relayOverTcp (t: TestContext): Promise<SpawnedRelay> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  return await spawnRelay(t, [origin], { transport: { engine: 'fails' }, upstream: PATIENT_UPSTREAM })
}

async function discovery (relay: SpawnedRelay): Promise<Discovery> {
  return await (await fetch(`${relay.viewerUrl}/v1/transport`)).json() as Discovery
}

/** Answers `/v1/transport` with a document of the test. */
async function startDirectory (t: TestContext, document: Discovery): Promise<string> {
  const server = createServer((_request, response) => { response.setHeader('content-type', 'application/json').end(JSON.stringify(document)) }).listen(0, '127.0.0.1')
  t.after(() => { server.close() })
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a Node client gets WebSocket by the hash of a self-signed certificate', { timeout: 240_000 }, async t => {
  const relay = await relayOverTcp(t)
  const { webtransport, websocket } = await discovery(relay)
  assert.equal(webtransport, undefined)
  assert.ok(websocket)
  for (const { algorithm, value } of websocket.certificateHashes) assert.deepEqual([algorithm, Buffer.from(value, 'base64').length], ['sha-256', 32])
  const client = await connect(relay.viewerUrl)
  t.after(() => { client.close() })
  const { bytes, transport } = await client.fetchShard(CID, 3)
  assert.deepEqual([transport, sha256(bytes)], ['websocket', sha256(syntheticShard(CID, 3))])
})

test('a Node client over WebSocket prints nothing, whatever the library behind it looks for in vain', { timeout: 240_000 }, async t => {
  const relay = await relayOverTcp(t)
  assert.deepEqual(await runToEnd('test/support/quiet-client.ts', [relay.viewerUrl, CID]), { code: 0, stdout: '', stderr: '' })
})

test('a certificate that is not the pinned one keeps a Node client away from WebSocket', { timeout: 240_000 }, async t => {
  const relay = await relayOverTcp(t)
  const { websocket, http } = await discovery(relay)
  assert.ok(websocket)
  for (const certificateHashes of [[{ algorithm: 'sha-256', value: Buffer.alloc(32, 1).toString('base64') }], []]) {
    const client = await connect(await startDirectory(t, { websocket: { url: websocket.url, certificateHashes }, http }))
    t.after(() => { client.close() })
    assert.equal(client.transport.transport, 'http')
  }
})
