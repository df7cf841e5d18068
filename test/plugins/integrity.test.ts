import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { request } from 'undici'
import { checkConfig } from '../../src/config/config.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'
import { startManifestOrigin, type ManifestOrigin, type ManifestOriginOptions } from '../../tools/harness/manifest-origin.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../tools/harness/manifests.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { until } from '../support/cache.ts'

const SIZE = 10_000
const PUBLISHER = makePublisher()
const ADMIN = { admin: { loopback_without_token: true } }

const signed = (cid: string, more: Record<string, unknown> = {}): Buffer => manifestText(signedBody({ ...manifestBody(cid, videoShards(cid, SIZE)), ...more }, PUBLISHER))

function objectsWith (manifest: (cid: string) => Uint8Array | undefined): (key: ShardKey) => Uint8Array | undefined {
  return ({ cid, part }) => part === 'manifest' ? manifest(cid) : videoShards(cid, SIZE)[part]
}

async function originsOf (t: TestContext, ...all: readonly ManifestOriginOptions[]): Promise<ManifestOrigin[]> {
  const origins = await Promise.all(all.map(async options => await startManifestOrigin(options)))
  t.after(async () => { await Promise.all(origins.map(async origin => { await origin.close() })) })
  return origins
}

interface Lines { readonly lines: Record<string, unknown>[], readonly relay: RunningRelay }

async function relayOf (t: TestContext, origins: readonly ManifestOrigin[], trust: Record<string, unknown> = { publishers: [PUBLISHER.key] }, cache: Record<string, unknown> = {}, upstream: Record<string, unknown> = {}): Promise<Lines> {
  const lines: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: line => { lines.push(JSON.parse(line) as Record<string, unknown>) } })
  const relay = await startRelay(t, origins.map(({ url, region }) => ({ url, region })), { ...ADMIN, cache: { integrity: 'manifest', ...cache }, trust: { manifest_timeout_ms: 60_000, ...trust }, region: { override: 'NA-WEST' }, upstream }, { logger })
  return { lines, relay }
}

async function get ({ viewerUrl }: RunningRelay, path: string): Promise<{ status: number, fields: Record<string, string | string[] | undefined>, bytes: Buffer }> {
  const { statusCode, headers, body } = await request(`${viewerUrl}${path}`)
  return { status: statusCode, fields: headers, bytes: Buffer.from(await body.arrayBuffer()) }
}

async function faults ({ adminUrl }: RunningRelay): Promise<string[]> {
  const { body } = await request(`${adminUrl}/metrics`)
  return [...(await body.text()).matchAll(/^icn_relay_integrity_manifest_faults_total\{fault="([a-z-]+)"\}/gm)].map(([, fault]) => fault ?? '')
}

const says = (lines: readonly Record<string, unknown>[], text: string): boolean => lines.some(({ msg }) => String(msg).includes(text))

suite('heads', { concurrency: false }, () => {
  test('name a digest and are immutable only for what a manifest vouches for', async t => {
    const [origin] = await originsOf(t, { region: 'NA-WEST', digest: true, object: objectsWith(cid => cid === 'QmSigned' ? signed(cid) : undefined) })
    assert.ok(origin)
    const { relay } = await relayOf(t, [origin])
    const first = await get(relay, '/shards/QmNone/shard_0.bin')
    assert.equal(first.status, 200)
    assert.deepEqual(first.bytes, videoShards('QmNone', SIZE)[0])
    await until(() => relay.relay.admin.shards.fills === 0)
    const hit = await get(relay, '/shards/QmNone/shard_0.bin')
    for (const { fields } of [first, hit]) {
      assert.equal(fields['cache-control'], 'public, max-age=60')
      assert.equal(fields['etag'], undefined)
      assert.equal(fields['repr-digest'], undefined)
    }
    assert.equal(hit.fields['cache-status'], 'icn-relay; hit')
    await get(relay, '/shards/QmSigned/shard_0.bin')
    // The manifest is known by now, so that a miss is promised.
    const promised = await get(relay, '/shards/QmSigned/shard_1.bin')
    await until(() => relay.relay.admin.shards.fills === 0)
    const again = await get(relay, '/shards/QmSigned/shard_0.bin')
    assert.equal(promised.fields['cache-status'], 'icn-relay; fwd=uri-miss')
    assert.equal(again.fields['cache-status'], 'icn-relay; hit')
    for (const { fields } of [promised, again]) {
      assert.equal(fields['cache-control'], 'public, max-age=31536000, immutable')
      assert.match(String(fields['etag']), /^"sha256-[0-9a-f]{64}"$/)
      assert.match(String(fields['repr-digest']), /^sha-256=:/)
    }
    assert.equal(origin.asked.filter(({ cid, part }) => cid === 'QmSigned' && part === 'manifest').length, 1)
    const { body } = await request(`${relay.adminUrl}/admin/v1/integrity`)
    assert.deepEqual(await body.json(), { mode: 'manifest', publishers: 1, quorum: 2, unverified: 'serve', manifests: 1, asking: 0, quarantined: 0, offenders: [], evidence: [] })
  })

  test('what nothing vouches for is refused where the policy says so', async t => {
    const origins = await originsOf(t, { region: 'NA-WEST', length: false, object: objectsWith(() => undefined) })
    const { relay } = await relayOf(t, origins, { publishers: [PUBLISHER.key], unverified: 'refuse' })
    const { status, bytes } = await get(relay, '/shards/QmNone/shard_0.bin')
    assert.equal(status, 502)
    assert.equal((JSON.parse(bytes.toString()) as { code: string }).code, 'RELAY_ERR_UNVERIFIED')
    assert.equal(relay.relay.admin.upstream.status()[0]?.failures, 0, 'no super-node is to blame')
  })
})

suite('siblings', { concurrency: false }, () => {
  test('are compared as super-nodes are: one that lies is found out, and viewers get the right bytes', async t => {
    const [honest, liar] = await originsOf(t, { region: 'NA-WEST', digest: true, object: objectsWith(cid => signed(cid)) }, { region: 'NA-WEST', digest: true, object: ({ cid, part }) => part === 'manifest' ? undefined : videoShards(cid, SIZE, ' lie')[part] })
    assert.ok(honest !== undefined && liar !== undefined)
    const self = 'http://127.0.0.1:9'
    const { relay } = await relayOf(t, [honest], undefined, {}, { siblings: [{ url: liar.url, region: 'NA-WEST' }, { url: self, region: 'NA-WEST' }], self_url: self })
    for (let n = 0; n < 10; n++) {
      const cid = `QmSibling${n}`
      const path = `/shards/${cid}/shard_0.bin`
      // A reset is what a viewer may meet once; then the sibling is known.
      const { bytes } = await get(relay, path).catch(async () => await get(relay, path))
      assert.deepEqual(bytes, videoShards(cid, SIZE)[0])
    }
    const offenders = relay.relay.admin.integrity.evidence.offenders()
    assert.deepEqual(offenders.map(({ node }) => node), [liar.id])
    assert.ok(liar.asked.length > 0 && liar.asked.every(({ part }) => part !== 'manifest'), 'siblings are no witnesses')
  })
})

suite('manifests that are refused', { concurrency: false }, () => {
  const body = (cid: string): Record<string, unknown> => ({ ...manifestBody(cid, videoShards(cid, SIZE)), createdAt: Date.now() })
  const cases: readonly (readonly [fault: string, manifest: (cid: string) => Buffer])[] = [
    ['signature', cid => manifestText({ ...signedBody(body(cid), PUBLISHER), contentType: 'x' })],
    ['publisher', cid => manifestText(signedBody(body(cid), makePublisher()))],
    ['unsigned', cid => manifestText(body(cid))],
    ['stale', cid => signed(cid, { createdAt: Date.now() - 7_200_000 })],
    ['root', cid => signed(cid, { createdAt: Date.now(), merkleRoot: '0'.repeat(64) })],
    ['index', cid => signed(cid, { shards: [...body(cid)['shards'] as unknown[]].reverse() })],
    ['shard-size', cid => signed(cid, { shards: (body(cid)['shards'] as object[]).map((shard, n) => n === 5 ? { ...shard, size: SIZE - 1 } : shard) })],
    ['too-large', () => Buffer.alloc(10_000_000, 'x')],
    ['depth', () => Buffer.from('['.repeat(400_000))],
    ['duplicate-key', cid => Buffer.from(signed(cid).toString().replace('{', '{"cid":"QmOther",'))],
    ['cid', () => signed('QmOther')],
    ['syntax', () => Buffer.from('<html>')]
  ]

  test('each has its fault in the metrics, vouches for nothing, and does not keep a good one from another super-node', async t => {
    const bad = new Map(cases.map(([fault, manifest]) => [`Qm-${fault}`, manifest]))
    const [junk, good] = await originsOf(t, { region: 'NA-WEST', object: objectsWith(cid => bad.get(cid)?.(cid)) }, { region: 'EU-WEST', object: objectsWith(cid => signed(cid, { createdAt: Date.now() })) })
    assert.ok(junk !== undefined && good !== undefined)
    const trust = { publishers: [PUBLISHER.key], manifest_max_age_s: 3_600 }
    const alone = await relayOf(t, [junk], trust)
    const both = await relayOf(t, [junk, good], trust)
    for (const [fault] of cases) {
      const path = `/shards/Qm-${fault}/shard_2.bin`
      assert.equal((await get(alone.relay, path)).status, 200, fault)
      await get(both.relay, path)
      await until(() => alone.relay.relay.admin.shards.fills + both.relay.relay.admin.shards.fills === 0)
      const entry = (relay: RunningRelay): boolean | undefined => relay.relay.admin.shardCache.details({ cid: `Qm-${fault}`, part: 2 })?.verified
      assert.equal(entry(alone.relay), false, fault)
      assert.equal(entry(both.relay), true, fault)
    }
    assert.deepEqual((await faults(alone.relay)).toSorted(), cases.map(([fault]) => fault).toSorted())
  })
})

suite('at the start', { concurrency: false }, () => {
  test('the log says whose manifests are believed, and when none can be', async t => {
    const [west, east] = await originsOf(t, { region: 'NA-WEST', object: () => undefined }, { region: 'EU-WEST', object: () => undefined })
    assert.ok(west !== undefined && east !== undefined)
    assert.ok(says((await relayOf(t, [west])).lines, 'that a publisher signed'))
    assert.ok(says((await relayOf(t, [west], {})).lines, 'no manifest will be believed'))
    assert.ok(says((await relayOf(t, [west], { quorum: 1 })).lines, 'whichever super-node answers first'))
    const enough = await relayOf(t, [west, east], {})
    assert.equal(enough.lines.some(({ plugin }) => plugin === 'integrity'), false)
  })

  test('`digest` asks for no manifest', async t => {
    const [origin] = await originsOf(t, { region: 'NA-WEST', object: objectsWith(cid => signed(cid)) })
    assert.ok(origin)
    const { relay } = await relayOf(t, [origin], {}, { integrity: 'digest' })
    assert.equal((await get(relay, '/shards/QmAny/shard_0.bin')).fields['cache-control'], 'public, max-age=31536000, immutable')
    assert.ok(origin.asked.every(({ part }) => part !== 'manifest'))
  })

  test('keys that are none are named', () => {
    for (const key of ['', 'AAAA', `${PUBLISHER.key} `]) {
      assert.throws(() => checkConfig({ trust: { publishers: [key] } }), { code: 'RELAY_ERR_CONFIG', message: /^trust\.publishers\.0 must be the 32 bytes of an Ed25519 public key in base64/ })
    }
    assert.throws(() => checkConfig({ trust: { quorum: 0 } }), { code: 'RELAY_ERR_CONFIG' })
    assert.throws(() => checkConfig({ cache: { integrity: 'some' } }), { code: 'RELAY_ERR_CONFIG' })
  })
})
