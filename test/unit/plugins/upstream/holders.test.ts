import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { startSuperNode, syntheticShard, type SuperNode } from '../../../../demo/super-node/server.ts'
import { publicLookup } from '../../../../src/plugins/p2p/public-lookup.ts'
import { HOLDER_IDLE_MS, Holders, MAX_HOLDER_NODES, type HolderSource } from '../../../../src/plugins/upstream/holders.ts'
import type { NodeAddress } from '../../../../src/plugins/upstream/node-set.ts'
import type { Upstream } from '../../../../src/plugins/upstream/upstream.ts'
import { patient, setUp } from '../../../support/upstream-rig.ts'

const CID = 'syn-100-held'
const KEY = { cid: CID, part: 2 }
const REGION = 'APAC'

async function nodeOf (t: TestContext, faults = {}): Promise<SuperNode> {
  const node = await startSuperNode({ region: REGION, faults })
  t.after(async () => { await node.close() })
  return node
}

/** What it names is found once it is asked, and known from then on. */
class Source implements HolderSource {
  readonly #found: readonly NodeAddress[] | undefined
  readonly asked: string[] = []

  constructor (found: readonly NodeAddress[] | undefined) {
    this.#found = found
  }

  known (cid: string): readonly NodeAddress[] {
    return this.asked.includes(cid) ? this.#found ?? [] : []
  }

  async find (cid: string): Promise<readonly NodeAddress[] | undefined> {
    this.asked.push(cid)
    return this.#found
  }
}

async function fetched (upstream: Upstream, key = KEY): Promise<Buffer> {
  const { body } = await upstream.fetch(key, patient())
  const chunks: Buffer[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const requests = (node: SuperNode): number => node.stats().requests

suite('holders of a CID', () => {
  test('are looked for when no configured node has the object, and asked before those from then on', async t => {
    const [configured, holder] = [await nodeOf(t, { notFound: true }), await nodeOf(t)]
    const { upstream } = setUp(t, [configured])
    const source = new Source([holder])
    upstream.useHolders(source, undefined)
    assert.deepEqual(await fetched(upstream), syntheticShard(CID, 2))
    assert.deepEqual([requests(configured), requests(holder), source.asked], [1, 1, [CID]])
    assert.deepEqual(await fetched(upstream, { cid: CID, part: 3 }), syntheticShard(CID, 3))
    assert.deepEqual([requests(configured), requests(holder), source.asked], [1, 2, [CID]])
    assert.deepEqual(upstream.holderStatus().map(({ url, region }) => [url, region]), [[holder.url, REGION]])
    assert.equal(upstream.status().length, 1, 'it is no super-node for other CIDs')
  })

  test('are looked for when no node can be reached, or none is configured', async t => {
    const holder = await nodeOf(t)
    const dead = await startSuperNode()
    await dead.close()
    for (const nodes of [[dead], []]) {
      const { upstream } = setUp(t, nodes)
      upstream.useHolders(new Source([holder]), undefined)
      assert.deepEqual(await fetched(upstream), syntheticShard(CID, 2))
    }
  })

  test('are not looked for while a configured node has the object, or asks to come back later', async t => {
    const [fine, busy, holder] = [await nodeOf(t), await nodeOf(t, { status: 503 }), await nodeOf(t)]
    for (const node of [fine, busy]) {
      const { upstream } = setUp(t, [node])
      const source = new Source([holder])
      upstream.useHolders(source, undefined)
      if (node === fine) assert.deepEqual(await fetched(upstream), syntheticShard(CID, 2))
      else await assert.rejects(fetched(upstream), { code: 'RELAY_ERR_UPSTREAM_BUSY' })
      assert.deepEqual(source.asked, [])
    }
    assert.equal(requests(holder), 0)
  })

  test('nobody found: what configured nodes said stands; without any, it is not found, or cannot be said', async t => {
    const missing = await nodeOf(t, { notFound: true })
    for (const [nodes, found, code] of [
      [[missing], [], 'RELAY_ERR_SHARD_NOT_FOUND'], [[missing], undefined, 'RELAY_ERR_SHARD_NOT_FOUND'], [[], [], 'RELAY_ERR_SHARD_NOT_FOUND'], [[], undefined, 'RELAY_ERR_UPSTREAM_UNREACHABLE']
    ] as const) {
      const { upstream } = setUp(t, nodes)
      upstream.useHolders(new Source(found), undefined)
      await assert.rejects(fetched(upstream), { code })
    }
  })

  test('that are super-nodes already, drained or disabled ones too, or ourselves, are not asked once more', async t => {
    const [missing, disabled, self] = [await nodeOf(t, { notFound: true }), await nodeOf(t), await nodeOf(t)]
    const { upstream } = setUp(t, [missing, disabled], { siblings: { siblings: [], self: `${self.url}/` } })
    const node = upstream.nodes.find(new URL(disabled.url).host)
    assert.ok(node !== undefined)
    upstream.nodes.setState(node, 'disabled')
    upstream.useHolders(new Source([missing, disabled, self]), undefined)
    await assert.rejects(fetched(upstream), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    assert.deepEqual([requests(missing), requests(disabled), requests(self)], [1, 0, 0])
    assert.deepEqual(upstream.holderStatus(), [])
  })

  test('one that fails counts against itself, and configured nodes are asked after it', async t => {
    const [configured, holder] = [await nodeOf(t, { notFound: true }), await nodeOf(t)]
    const { upstream } = setUp(t, [configured])
    upstream.useHolders(new Source([holder]), undefined)
    await fetched(upstream)
    holder.setFaults({ status: 500 })
    configured.setFaults({})
    assert.deepEqual(await fetched(upstream, { cid: CID, part: 4 }), syntheticShard(CID, 4))
    assert.equal(upstream.holderStatus()[0]?.failures, 1)
  })

  test('with a private address behind a name are not connected to', async t => {
    const holder = await nodeOf(t)
    const { upstream, logs } = setUp(t, [])
    upstream.useHolders(new Source([{ url: `http://localhost:${holder.port}`, region: REGION }]), publicLookup())
    await assert.rejects(fetched(upstream), { code: 'RELAY_ERR_UPSTREAM_UNREACHABLE' })
    assert.equal(holder.stats().openSockets, 0)
    assert.ok(logs.some(line => line.includes('EPRIVATE')), logs.join('\n'))
  })

  test('their manifests are asked for: of those that are known first, else of those that are found when nobody else had one that is taken', async t => {
    const [configured, holder] = [await nodeOf(t, { notFound: true }), await nodeOf(t)]
    const { upstream } = setUp(t, [configured])
    const source = new Source([holder])
    upstream.useHolders(source, undefined)
    const ask = async (): Promise<string[]> => {
      const from: string[] = []
      await upstream.askEach(CID, { via: [], signal: patient(), parallel: 1, maxBytes: 100_000, take: ({ node }) => from.push(node) > 0 })
      return from
    }
    const id = new URL(holder.url).host
    assert.deepEqual(await ask(), [id])
    assert.deepEqual([requests(configured), source.asked], [1, [CID]])
    assert.deepEqual(await ask(), [id])
    assert.equal(requests(configured), 1)
  })

  test('one that was not used for a while is dropped, one that was stays', async t => {
    let now = 0
    const [idle, used] = [await nodeOf(t), await nodeOf(t)]
    const { nodes } = setUp(t, []).upstream
    const holders = new Holders({ source: { known: cid => cid === 'QmIdle' ? [idle] : [used], find: async () => [] }, nodes, excludes: () => false, clock: { monotonic: () => now } })
    t.after(async () => { await holders.close() })
    for (const cid of ['QmIdle', 'QmUsed']) assert.equal(holders.known(cid, '').length, 1)
    now = HOLDER_IDLE_MS - 1
    holders.known('QmUsed', '')
    holders.dropIdle()
    assert.equal(nodes.size, 2)
    now = HOLDER_IDLE_MS
    holders.dropIdle()
    assert.deepEqual(nodes.nodes.map(({ url }) => url), [used.url])
    assert.equal(holders.known('QmIdle', '').length, 1, 'it may come back')
  })

  test('so many are kept and no more, those that were used last', async t => {
    const { upstream } = setUp(t, [])
    const holders = Array.from({ length: MAX_HOLDER_NODES + 5 }, (_, n) => ({ url: `http://127.0.0.1:${n + 1}`, region: REGION }))
    upstream.useHolders({ known: () => [], find: async cid => holders.slice(Number(cid), Number(cid) + 1) }, undefined)
    for (const cid of holders.keys()) await upstream.askEach(String(cid), { via: [], signal: patient(), parallel: 1, maxBytes: 1, take: () => true })
    const kept = upstream.holderStatus().map(({ url }) => url)
    assert.deepEqual(kept.toSorted(), holders.slice(5).map(({ url }) => url).toSorted())
  })
})
