import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { rendezvous } from '../../src/plugins/upstream/rendezvous.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { cacheStats, fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { spawnRelay, spawnSuperNode, type SpawnedNode, type SpawnedRelay } from '../../tools/harness/processes.ts'

const LIMIT = { timeout: 240_000 }
const REGION = 'NA-WEST'
/** As far away as origins are: longer than the time after which one of them is asked beside another. */
const ORIGIN_MS = 150

interface Member extends SpawnedRelay {
  /** `host:port` of the viewer listener. */
  readonly id: string
  /** Names of new CIDs whose shard 0 stands with this relay. */
  own (count: number): string[]
}

/** Three relays that are siblings and one super-node, each a process of its own. */
async function spawnTier (t: TestContext, upstream: Record<string, unknown> = {}): Promise<{ relays: [Member, Member, Member], origin: SpawnedNode }> {
  const ports = [await freePort(), await freePort(), await freePort()] as const
  const siblings = ports.map(port => ({ url: `http://127.0.0.1:${port}`, region: REGION }))
  const origin = await spawnSuperNode(t, REGION, { latencyMs: ORIGIN_MS })
  const [first = ''] = siblings.map(({ url }) => url)
  const siblingOf = rendezvous(siblings, first)
  let named = 0
  const member = async (port: number): Promise<Member> => {
    const url = `http://127.0.0.1:${port}`
    const relay = await spawnRelay(t, [origin], {
      transport: { engine: 'off' },
      region: { override: REGION },
      viewer: { port },
      // Checked at the start until it passes, and then no more: what happens later is found out by requests.
      upstream: { headers_timeout_ms: 3_600_000, first_byte_timeout_ms: 60_000, health_interval_ms: 3_600_000, health_timeout_ms: 60_000, siblings, self_url: url, ...upstream }
    })
    const own = (count: number): string[] => {
      const cids: string[] = []
      while (cids.length < count) {
        const cid = `syn-100000-sibling${named++}`
        if ((siblingOf({ cid, part: 0 })?.url ?? first) === url) cids.push(cid)
      }
      return cids
    }
    return Object.assign(relay, { id: `127.0.0.1:${port}`, own })
  }
  const relays = await Promise.all([member(ports[0]), member(ports[1]), member(ports[2])])
  for (const relay of relays) {
    await until(async () => await siblingsOf(relay), rows => rows.length === 2 && rows.every(({ state }) => state === 'up'))
    // From here on it knows that the super-node is an origin.
    for (const cid of relay.own(1)) await fetchRight(relay, cid)
  }
  return { relays, origin }
}

async function siblingsOf ({ adminUrl }: SpawnedRelay): Promise<readonly { readonly id: string, readonly state: string }[]> {
  return (await (await request(`${adminUrl}/admin/v1/upstreams`)).body.json() as { siblings: { id: string, state: string }[] }).siblings
}

/** Asks a relay as a viewer; returns `cache-status`. */
async function fetchRight ({ viewerUrl }: SpawnedRelay, cid: string): Promise<string> {
  const { status, sha256: digest, headers } = await fetchHashed(`${viewerUrl}/shards/${cid}/shard_0.bin`)
  assert.deepEqual([status, digest], [200, sha256(syntheticShard(cid, 0))], cid)
  return String(headers['cache-status'])
}

/** Times a relay was asked for the object by viewers and by relays, by its log. */
const requestsFor = ({ events }: SpawnedRelay, cid: string): number => events.filter(event => event['msg'] === 'request' && String(event['url']).startsWith(`/shards/${cid}/`)).length

/** Times the super-node was asked for each of the objects. */
async function asked (origin: SpawnedNode, cids: readonly string[]): Promise<number[]> {
  const { byPath } = await origin.stats()
  return cids.map(cid => byPath[`/shards/${cid}/shard_00.bin`] ?? 0)
}

test('viewers at three siblings want the same cold shards at the same time: each is asked for where it stands, and the origin sees one fetch', LIMIT, async t => {
  const { relays, origin } = await spawnTier(t)
  const cids = relays.flatMap(relay => relay.own(4))
  await Promise.all(cids.flatMap(cid => relays.map(async relay => await fetchRight(relay, cid))))
  assert.deepEqual(await asked(origin, cids), cids.map(() => 1))
  for (const relay of relays) await until(async () => await cacheStats(relay.adminUrl), ({ fills }) => fills === 0)
  for (const [n, cid] of cids.entries()) {
    const [standsWith, ...others] = [...relays.slice(Math.floor(n / 4)), ...relays.slice(0, Math.floor(n / 4))]
    assert.ok(standsWith !== undefined)
    await until(async () => requestsFor(standsWith, cid), count => count === 3)
    assert.deepEqual(others.map(other => requestsFor(other, cid)), [1, 1], 'only its viewer asked')
  }
  const hits = await Promise.all(cids.flatMap(cid => relays.map(async relay => await fetchRight(relay, cid))))
  assert.ok(hits.every(status => status === 'icn-relay; hit'), 'each keeps what it delivered')
  assert.deepEqual(await asked(origin, cids), cids.map(() => 1))
})

test('a sibling that is dead: its shards come from the origin, and after three tries it is not asked any more', LIMIT, async t => {
  const { relays: [relay, dead, third], origin } = await spawnTier(t)
  const cids = dead.own(10)
  dead.child.kill('SIGKILL')
  await dead.exit
  const attempts = async (outcome: string): Promise<number> => await metric(relay.adminUrl, 'icn_relay_upstream_fetches_total', `{node="${dead.id}",outcome="${outcome}"}`)
  for (const [n, cid] of cids.entries()) {
    await fetchRight(relay, cid)
    assert.equal(await attempts('unreachable'), Math.min(3, n + 1))
  }
  assert.deepEqual(await asked(origin, cids), cids.map(() => 1))
  const states = new Map((await siblingsOf(relay)).map(({ id, state }) => [id, state]))
  assert.equal(states.get(third.id), 'up')
  assert.ok(['open', 'probing'].includes(states.get(dead.id) ?? ''), states.get(dead.id))
})

test('a sibling that hangs: the origin is asked beside it within the deadline, and after three of these it is left alone', LIMIT, async t => {
  // Half of it is for the sibling; a busy machine has the other half for the origin.
  const { relays: [relay, hanging], origin } = await spawnTier(t, { first_byte_timeout_ms: 10_000 })
  const cids = hanging.own(3)
  const later = hanging.own(3)
  hanging.child.kill('SIGSTOP')
  await Promise.all(cids.map(async cid => await fetchRight(relay, cid)))
  assert.deepEqual(await asked(origin, cids), [1, 1, 1])
  assert.equal(await metric(relay.adminUrl, 'icn_relay_upstream_hedges_total', '{outcome="won"}'), 3)
  for (const cid of later) await fetchRight(relay, cid)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_upstream_fetches_total', `{node="${hanging.id}",outcome="timeout"}`), 3)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_upstream_hedges_total', '{outcome="won"}'), 3)
})
