import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { startDhtServer } from '../../demo/super-node/dht-server.ts'
import { DEMO_PUBLIC_KEY, signText } from '../../demo/super-node/manifest.ts'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { holderRecordBytes, type HolderRecordFacts } from '../../src/protocol/holder-record.ts'
import { TOTAL_SHARDS } from '../../src/protocol/shard-key.ts'
import type { DocumentSignature } from '../../src/protocol/signed-json.ts'
import { fetchHashed, sha256, until } from '../../tools/harness/http.ts'
import { makePublisher, signedBody } from '../../tools/harness/manifests.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { SERVER, spawnProgram, spawnRelay, SUPER_NODE, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const LIMIT = { timeout: 180_000 }
const REGION = 'EU-WEST'
const RECORD_LOADS = fileURLToPath(new URL('../support/record-loads.mjs', import.meta.url))
/** Names of the packages, as they stand in paths. */
const LIBP2P = /node_modules\/(?:libp2p|@libp2p|@chainsafe|@multiformats|multiformats)\//

interface Report {
  readonly enabled: boolean
  readonly peerId: string | null
  readonly advertised: string | null
  readonly connected: number
  readonly peers: readonly { readonly id: string, readonly address: string }[]
  readonly lookups: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number>>
  readonly holders: readonly { readonly url: string, readonly region: string }[]
}

interface Holding { readonly url: string, readonly p2p: string, readonly id: string }

/** A super-node in a process of its own that says in the DHT what it holds. */
async function spawnHolder (t: TestContext, holds: string): Promise<Holding> {
  const node = spawnProgram(t, SUPER_NODE, ['--port', '0', '--region', REGION, '--p2p', '/ip4/127.0.0.1/tcp/0', '--p2p-holds', holds])
  const { url, p2p } = await node.waitFor(event => typeof event['url'] === 'string') as { url: string, p2p: string[] }
  const address = p2p[0] ?? ''
  return { url, p2p: address, id: address.split('/').at(-1) ?? '' }
}

async function reportOf ({ adminUrl }: SpawnedRelay): Promise<Report> {
  const { statusCode, body } = await request(`${adminUrl}/admin/v1/p2p`)
  assert.equal(statusCode, 200)
  return await body.json() as Report
}

async function metricsOf ({ adminUrl }: SpawnedRelay): Promise<string> {
  return await (await request(`${adminUrl}/metrics`)).body.text()
}

function settings (peers: readonly string[]): Record<string, Record<string, unknown>> {
  return {
    transport: { engine: 'off' },
    region: { override: REGION },
    cache: { integrity: 'manifest' },
    trust: { publishers: [DEMO_PUBLIC_KEY], unverified: 'refuse', manifest_timeout_ms: 30_000 },
    // Machines that test are busy.
    upstream: { super_nodes: [], ...PATIENT_UPSTREAM },
    p2p: { enabled: true, listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: peers, allow_private: true, lookup_timeout_ms: 20_000 }
  }
}

/** A peer that keeps and gives away whatever it likes, and counts the requests to the URL that it names. */
async function startForger (t: TestContext, peers: readonly string[], records: (url: string) => readonly (readonly [cid: string, bytes: Uint8Array])[]): Promise<{ asked: () => number, p2p: string }> {
  let asked = 0
  const server = createServer((_request, response) => {
    asked++
    response.end()
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const forger = await startDhtServer({ listen: '/ip4/127.0.0.1/tcp/0', peers, verify: () => ({ issuedAt: 0 }) })
  t.after(async () => { await forger.close() })
  for (const [cid, bytes] of records(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)) await forger.put(cid, bytes)
  return { asked: () => asked, p2p: forger.addresses[0] ?? '' }
}

function signatureBy (publisher: ReturnType<typeof makePublisher>): (text: string) => DocumentSignature {
  return text => signedBody(JSON.parse(text) as Record<string, unknown>, publisher)['signature'] as DocumentSignature
}

test('two super-nodes that only the DHT knows are found, fetched from and shown as peers; a forged record is refused, and nobody asks the one it names', LIMIT, async t => {
  const [first, second, forged, swapped] = ['syn-20000-p2p-first', 'syn-20000-p2p-second', 'syn-20000-p2p-forged', 'syn-20000-p2p-swapped'] as const
  const [one, two] = await Promise.all([spawnHolder(t, first), spawnHolder(t, second)])
  const forger = await startForger(t, [one.p2p, two.p2p], url => {
    const facts = (cid: string): HolderRecordFacts => ({ cid, holders: [{ url, region: REGION }], issuedAt: Date.now() })
    return [
      [forged, holderRecordBytes(facts(forged), signatureBy(makePublisher()))],
      // The signature is right, the CID is another.
      [swapped, holderRecordBytes(facts(`${swapped}-not`), signText)],
      // It may stand beside a record that is believed.
      [first, Buffer.from('garbage')]
    ]
  })
  const relay = await spawnRelay(t, [], settings([one.p2p, two.p2p, forger.p2p]))
  const joined = await until(async () => await reportOf(relay), ({ connected, advertised }) => connected >= 3 && advertised !== null)
  assert.equal(joined.advertised, `relay:${REGION}`)
  for (const { id } of [one, two]) assert.ok(joined.peers.some(peer => peer.id === id), JSON.stringify(joined.peers))
  const peers = /^icn_relay_p2p_peers (\d+)$/m.exec(await metricsOf(relay))?.[1]
  assert.ok(Number(peers) >= 2, peers)

  for (const cid of [first, second]) {
    for (let shard = 0; shard < TOTAL_SHARDS; shard++) {
      const { status, sha256: digest, headers } = await fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_${shard}.bin`)
      assert.deepEqual([status, digest], [200, sha256(syntheticShard(cid, shard))])
      if (shard > 0) assert.match(String(headers['cache-control']), /immutable/, 'a believed manifest vouches for it')
    }
  }
  for (const cid of [forged, swapped]) assert.notEqual((await fetchHashed(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`)).status, 200)

  const after = await until(async () => await reportOf(relay), ({ lookups }) => (lookups['found'] ?? 0) >= 2 && (lookups['refused'] ?? 0) >= 2)
  assert.deepEqual(after.holders.map(({ url }) => url).toSorted(), [one.url, two.url].toSorted())
  assert.ok((after.refused['publisher'] ?? 0) >= 1 && (after.refused['cid'] ?? 0) >= 1, JSON.stringify(after.refused))
  const text = await metricsOf(relay)
  for (const fault of ['publisher', 'cid']) assert.match(text, new RegExp(`icn_relay_p2p_records_refused_total\\{fault="${fault}"\\} [1-9]`))
  assert.match(text, /icn_relay_p2p_lookups_total\{outcome="found"\} 2/)
  assert.equal(forger.asked(), 0)

  relay.child.kill('SIGTERM')
  assert.deepEqual(await relay.exit, { code: 0, signal: null })
})

suite('packages of libp2p', { concurrency: false }, () => {
  for (const enabled of [false, true]) {
    test(enabled ? 'are loaded with p2p.enabled, and the check sees it' : 'are not loaded with p2p off', LIMIT, async t => {
      const file = join(await temporaryDirectory(t), 'loaded')
      const { p2p, ...others } = settings([])
      const upstream = { super_nodes: [{ url: 'http://127.0.0.1:9', region: REGION }] }
      const relay = await spawnRelay(t, [], { ...others, upstream, ...enabled ? { p2p } : {} }, undefined, { env: { LOADED_FILES: file, NODE_OPTIONS: `--import ${RECORD_LOADS}` } })
      assert.equal((await reportOf(relay)).enabled, enabled)
      assert.equal((await fetchHashed(`${relay.viewerUrl}/shards/syn-10-off/shard_0.bin`)).status, 502)
      const loaded = (await readFile(file, 'utf8')).split('\n')
      assert.ok(loaded.some(line => /node_modules\/fastify\//.test(line)), 'the check sees what is loaded')
      assert.equal(loaded.some(line => LIBP2P.test(line)), enabled)
    })
  }

  test('that are not installed end the start with one line that says what to install', LIMIT, async t => {
    const directory = await temporaryDirectory(t)
    const config = join(directory, 'relay.toml')
    await writeFile(config, `[cache]\npath = "${directory}/cache"\n[trust]\npublishers = ["${DEMO_PUBLIC_KEY}"]\n[p2p]\nenabled = true\nlisten = []\n`)
    const relay = spawnProgram(t, SERVER, ['--config', config], { LOADED_FILES: join(directory, 'loaded'), MISSING_PACKAGE: '@libp2p/tcp', NODE_OPTIONS: `--import ${RECORD_LOADS}`, ICN_RELAY_ADMIN_PORT: '0', ICN_RELAY_VIEWER_PORT: '0' })
    assert.deepEqual(await relay.exit, { code: 1, signal: null })
    assert.match(relay.stderr(), /^icn-relay: RELAY_ERR_CONFIG: p2p\.enabled needs packages that are not installed; in the directory of the relay: npm install libp2p@2 [^\n]+\n$/)
  })
})
