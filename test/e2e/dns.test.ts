import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { fetchHashed, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { NXDOMAIN, startDnsServer, type DnsServer } from '../support/dns-server.ts'

const LIMIT = { timeout: 240_000 }
const REGION = 'NA-WEST'

/** A relay that knows its super-nodes from a name server and nothing else. */
async function spawnWithDns (t: TestContext, server: DnsServer, dns: object): Promise<SpawnedRelay> {
  return await spawnRelay(t, [], {
    transport: { engine: 'off' },
    region: { override: REGION },
    upstream: { dns: [{ ...dns, region: REGION }], dns_servers: [server.address], ...PATIENT_UPSTREAM }
  })
}

async function nodes ({ adminUrl }: SpawnedRelay, method: 'GET' | 'POST' = 'GET'): Promise<string[]> {
  const response = await request(`${adminUrl}/admin/v1/upstreams${method === 'POST' ? '/resolve' : ''}`, { method, headers: { 'x-requested-with': 'test' }, headersTimeout: 60_000 })
  assert.equal(response.statusCode, 200)
  return (await response.body.json() as { nodes: { url: string }[] }).nodes.map(({ url }) => url).toSorted()
}

let named = 0

/** Fetches a cold shard; resolves with the node that delivered it. */
async function deliveredBy (relay: SpawnedRelay, among: readonly SpawnedNode[]): Promise<string | undefined> {
  const cid = `syn-10000-dns${named++}`
  const { status, sha256: digest } = await fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`)
  assert.deepEqual([status, digest], [200, sha256(syntheticShard(cid, 0))])
  for (const node of among) if ((await node.stats()).byPath[`/shards/${cid}/shard_00.bin`] === 1) return node.url
  return undefined
}

/** Whether the relay still has series of the node; they go when its last body has ended. */
async function isCounted ({ adminUrl }: SpawnedRelay, { url }: SpawnedNode): Promise<boolean> {
  return (await (await request(`${adminUrl}/metrics`)).body.text()).includes(`node="${new URL(url).host}"`)
}

/** Every way in which a name server has no good answer leaves the nodes of the last one in use. */
async function staysThrough (relay: SpawnedRelay, server: DnsServer, failures: readonly (readonly [answer: DnsServer['answer'], reason: string])[], node: SpawnedNode): Promise<void> {
  for (const [answer, reason] of failures) {
    server.answer = answer
    assert.deepEqual(await nodes(relay, 'POST'), [node.url], reason)
    const told = await relay.waitFor(event => event['msg'] === 'name does not resolve, the last answer stays in use' && event['reason'] === reason)
    assert.equal(told['nodes'], 1)
    assert.equal(await deliveredBy(relay, [node]), node.url)
  }
}

test('addresses: looked up again when their time is over; one that is gone finishes its body and is asked no more; no answer changes nothing', LIMIT, async t => {
  const server = await startDnsServer(t)
  const first = await spawnSuperNode(t, REGION, {}, { host: '127.0.0.2' })
  const port = Number(new URL(first.url).port)
  const second = await spawnSuperNode(t, REGION, {}, { host: '127.0.0.3', port })
  const address = (data: string): { type: 'A', ttl: number, data: string } => ({ type: 'A', ttl: 1, data })
  server.answer = [address('127.0.0.2')]
  const relay = await spawnWithDns(t, server, { dns: 'origin.test', type: 'A', port })
  await until(async () => await nodes(relay), urls => urls.length > 0)
  assert.equal(await deliveredBy(relay, [first, second]), first.url)
  // Nobody asks for it: the shortest time between two look-ups is 5 s.
  server.answer = [address('127.0.0.2'), address('127.0.0.3')]
  await until(async () => await nodes(relay), urls => urls.length === 2)
  assert.ok(server.questions.length >= 2 && server.questions.every(question => question === 'A origin.test'))
  server.answer = [address('127.0.0.2')]
  assert.deepEqual(await nodes(relay, 'POST'), [first.url])

  await first.setFaults({ bytesPerSecond: 25_000 })
  const cid = 'syn-200000-drained'
  const body = fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`)
  await until(async () => (await first.stats()).byPath[`/shards/${cid}/shard_00.bin`], count => count === 1)
  server.answer = [address('127.0.0.3')]
  assert.deepEqual(await nodes(relay, 'POST'), [second.url])
  assert.ok(await isCounted(relay, first), 'its body is under way')
  for (let n = 0; n < 3; n++) assert.equal(await deliveredBy(relay, [first, second]), second.url)
  const { status, sha256: digest } = await body
  assert.deepEqual([status, digest], [200, sha256(syntheticShard(cid, 0))])
  assert.equal((await second.stats()).byPath[`/shards/${cid}/shard_00.bin`], undefined, 'the node that was taken out sent all of it')
  await until(async () => await isCounted(relay, first), counted => !counted)

  await staysThrough(relay, server, [['silence', 'ETIMEOUT'], [NXDOMAIN, 'ENOTFOUND'], [[], 'ENODATA']], second)
  server.answer = [address('127.0.0.2')]
  assert.deepEqual(await nodes(relay, 'POST'), [first.url])
  await relay.waitFor(event => event['msg'] === 'name resolves again')
})

test('services: ports and names come from the answer; one that is gone is asked no more; no answer changes nothing', LIMIT, async t => {
  const server = await startDnsServer(t)
  const [first, second] = await Promise.all([spawnSuperNode(t, REGION), spawnSuperNode(t, REGION)])
  const service = ({ url }: SpawnedNode): { type: 'SRV', ttl: number, data: string } => ({ type: 'SRV', ttl: 1, data: `10 5 ${new URL(url).port} 127.0.0.1` })
  server.answer = [service(first)]
  const relay = await spawnWithDns(t, server, { dns: '_relay._tcp.origin.test', type: 'SRV' })
  await until(async () => await nodes(relay), urls => urls.length > 0)
  assert.equal(await deliveredBy(relay, [first, second]), first.url)
  server.answer = [service(second), service(first)]
  assert.deepEqual(await nodes(relay, 'POST'), [first.url, second.url].toSorted())
  server.answer = [service(second)]
  assert.deepEqual(await nodes(relay, 'POST'), [second.url])
  assert.equal(await deliveredBy(relay, [first, second]), second.url)
  await until(async () => await isCounted(relay, first), counted => !counted)
  assert.ok(server.questions.every(question => question === 'SRV _relay._tcp.origin.test'))
  // `.` says that there is no such service (RFC 2782).
  await staysThrough(relay, server, [['silence', 'ETIMEOUT'], [[{ type: 'SRV', ttl: 1, data: '0 0 0 .' }], 'the answer names no node']], second)
})
