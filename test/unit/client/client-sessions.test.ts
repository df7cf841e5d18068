import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TestContext } from 'node:test'
import { ShardClient } from '../../../client/src/index.ts'
import type { Connector, ShardClientOptions, TransportInfo } from '../../../client/src/index.ts'
import { PooledSession } from '../../../client/src/pooled-session.ts'
import { transportConnector } from '../../../client/src/transport-session.ts'
import { TransportScout } from '../../../client/src/transport-scout.ts'
import { TransportMemory } from '../../../client/src/transport-memory.ts'
import { type TransportName, TRANSPORTS } from '../../../client/src/transports.ts'
import { FakeNetwork, browserWebTransport } from '../../support/client-rig.ts'
import { settle, until, viewerRig } from '../../support/viewer-rig.ts'
import type { ViewerRig } from '../../support/viewer-rig.ts'

const A = 'https://a.example'
const B = 'https://b.example'
const LARGE = Uint8Array.from({ length: 8_000_000 }, (_, index) => index * 31 % 253)

interface Rig { readonly network: FakeNetwork, readonly a: ViewerRig, readonly infos: TransportInfo[], readonly urls: string[], readonly client: ShardClient }

async function connected (t: TestContext, options: ShardClientOptions = {}, prepare: (network: FakeNetwork) => void = () => {}): Promise<Rig> {
  const a = await viewerRig(t)
  a.source.objects.set('v/5', LARGE)
  const network = new FakeNetwork().add(A, a)
  network.ranges = true
  prepare(network)
  const urls: string[] = []
  const webTransport: Connector = async endpoint => {
    urls.push(endpoint.url)
    return await transportConnector((...dialled) => network.dial(...dialled))(endpoint)
  }
  const infos: TransportInfo[] = []
  const client = await ShardClient.connect(A, { platform: network.platform, webTransport, onTransport: info => { infos.push(info) }, ...options })
  t.after(() => client.close())
  return { network, a, infos, urls, client }
}

/** Every body comes with 64 KiB in 100 ms, 0.65 MB/s, as over a session of its own on a path with losses. */
function slow ({ a, network }: Rig): void {
  const resolve = a.source.resolve.bind(a.source)
  a.source.resolve = async (...request) => {
    const lease = await resolve(...request)
    const read = lease.body.read.bind(lease.body)
    return {
      ...lease,
      body: {
        read: async (position, maxBytes) => {
          await new Promise<void>(resolve => { network.time.after(100, resolve) })
          return await read(position, Math.min(maxBytes, 65_536))
        }
      }
    }
  }
}

suite('several sessions of one client', () => {
  test('two hundred requests at the same time take three sessions with 96 streams each at most, all of one viewer, each from its own discovery', async t => {
    const rig = await connected(t, { concurrency: 200 })
    const { a, client, infos, network, urls } = rig
    a.source.objects.set('v/6', LARGE.subarray(0, 1000))
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const all = Array.from({ length: 200 }, () => client.fetchShard('v', 6))
    await until(() => a.source.held === 200, 'all at the relay')
    const streams = a.sessions.map(({ transport }) => transport.stats().openStreams)
    assert.ok(streams.length === 3 && streams.every(count => count <= 97), streams.join())
    assert.deepEqual(new Set(urls.map(url => new URL(url).searchParams.get('viewer'))).size, 1)
    assert.match(new URL(urls[0] ?? '').searchParams.get('viewer') ?? '', /^[A-Za-z0-9_-]{22}$/)
    assert.equal(network.requests.filter(url => url.endsWith('/v1/transport')).length, 3)
    assert.equal(infos.length, 1, 'the page is told of one connection')
    open()
    a.source.gate = undefined
    assert.ok((await Promise.all(all)).every(({ attempts, verified }) => attempts === 1 && verified))
    await network.time.advance(60_000)
    await a.sessions[1]?.transport.closed
    await a.sessions[2]?.transport.closed
    assert.equal((await client.fetchShard('v', 6)).attempts, 1)
    client.close()
    assert.equal(network.time.pending, 0)
  })

  test('a large object on a path that is slow for each session comes in parts over eight, whole and verified', async t => {
    const rig = await connected(t)
    slow(rig)
    const seen: number[] = []
    const shard = await rig.network.time.until(rig.client.fetchShard('v', 5, { onProgress: ({ receivedBytes }) => { seen.push(receivedBytes) } }))
    assert.ok(Buffer.from(shard.bytes).equals(LARGE))
    assert.deepEqual([shard.status, shard.verified, shard.attempts, rig.infos.length], [200, true, 1, 1])
    assert.ok(rig.a.sessions.length > 1 && rig.a.sessions.length <= 8, `${rig.a.sessions.length} sessions`)
    assert.ok(rig.network.time.time < 8_000_000 / 655 / 2, `${rig.network.time.time} ms where one session takes 12200`)
    assert.ok(seen.every((value, index) => index === 0 || value > (seen[index - 1] ?? 0)) && seen.at(-1) === LARGE.length)
    assert.ok(rig.a.source.lent <= 8, `${rig.a.source.lent} parts of a megabyte at least`)
    await rig.network.time.advance(60_000)
    assert.equal(rig.a.source.held, 0)
    for (const { transport } of rig.a.sessions.slice(1)) await transport.closed
  })

  test('over plain HTTP that knows no ranges no part is asked for a second time', async t => {
    const rig = await connected(t, {}, network => { network.ranges = false })
    slow(rig)
    const shard = await rig.network.time.until(rig.client.fetchShard('v', 5))
    assert.deepEqual([Buffer.from(shard.bytes).equals(LARGE), shard.attempts], [true, 2])
  })

  test('a part that is of another object fails the attempt; with one session nothing is ever divided', async t => {
    const rig = await connected(t, { attempts: 1 })
    slow(rig)
    const resolve = rig.a.source.resolve.bind(rig.a.source)
    rig.a.source.resolve = async (...request) => ({ ...await resolve(...request), ...rig.a.source.lent > 1 && { sha256: 'ab'.repeat(32) } })
    await assert.rejects(rig.network.time.until(rig.client.fetchShard('v', 5)), { fault: 'truncated' })
    await rig.network.time.advance(1000)
    assert.equal(rig.a.source.held, 0, 'nothing is left at the relay')
    const fast = await connected(t)
    await Promise.all(Array.from({ length: 10 }, () => fast.client.fetchShard('v', 5)))
    assert.deepEqual([fast.a.sessions.length, fast.a.source.lent], [1, 10])
  })

  test('a drain of one of several moves the work of that one; a redirect moves all', async t => {
    const rig = await connected(t, { concurrency: 200 })
    const { a, client, infos, network } = rig
    const b = await viewerRig(t)
    for (const { source } of [a, b]) source.objects.set('v/6', LARGE.subarray(0, 1000))
    network.add(B, b)
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const all = Array.from({ length: 200 }, () => client.fetchShard('v', 6))
    await until(() => a.source.held === 200, 'all at the relay')
    a.sessions[1]?.drain(30_000, [B])
    await settle()
    assert.deepEqual([infos.length, client.transport.relayUrl, b.sessions.length], [1, A, 0])
    a.sessions[2]?.redirect(B, 'overload')
    await until(() => infos.length === 2, 'moved')
    open()
    a.source.gate = undefined
    assert.ok((await Promise.all(all)).every(({ attempts }) => attempts === 1), 'what was under way ended where it began')
    assert.equal((await client.fetchShard('v', 6)).attempts, 1)
    assert.equal(b.source.lent, 1)
    for (const { transport } of a.sessions) await transport.closed
  })

  test('bandwidth is heard once for all sessions, from the first, and a ping is not news', async t => {
    const [heard, types]: [unknown[], string[]] = [[], []]
    const rig = await connected(t, { concurrency: 200, onBandwidth: signal => { heard.push(signal) }, onControl: ({ type }) => { types.push(type) } })
    const { a, client } = rig
    a.source.objects.set('v/6', LARGE.subarray(0, 1000))
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const all = Array.from({ length: 200 }, () => client.fetchShard('v', 6))
    await until(() => a.sessions.length === 3 && a.source.held === 200, 'three sessions')
    for (const session of a.sessions) session.bandwidth(1_660_000, '480p')
    await until(() => heard.length === 1, 'a signal')
    for (let turn = 0; turn < 5; turn++) await settle()
    assert.deepEqual([heard, types], [[{ bitsPerSecond: 1_660_000, suggestedRendition: '480p' }], ['hello', 'bandwidth']])
    a.sessions[0]?.close(0, 'crash')
    open()
    a.source.gate = undefined
    await rig.network.time.until(Promise.all(all))
    assert.deepEqual([heard.length, client.bandwidth?.bitsPerSecond], [1, 1_660_000], 'the next session has said the same')
  })
})

suite('a client and its network', () => {
  test('a new session over which nothing comes is left for the next transport, which is remembered for the network', async t => {
    const memory = new TransportMemory()
    const rig = await connected(t, { stallMs: 4000 }, network => { Object.assign(network.platform, { memory }) })
    rig.a.source.gate = new Promise(() => {})
    const shard = await rig.network.time.until(rig.client.fetchShard('v', 5))
    assert.deepEqual([shard.transport, shard.attempts, rig.a.sessions.length], ['http', 2, 1])
    assert.deepEqual(rig.client.transport.failures.map(({ transport, reason }) => [transport, reason]), [['websocket', 'no implementation was given'], ['webtransport', 'connected, but nothing came for 4000 ms']])
    const next = await ShardClient.connect(A, { platform: rig.network.platform, webTransport: transportConnector(rig.network.dial) })
    t.after(() => next.close())
    assert.equal(next.transport.transport, 'http', 'another client in the same network knows')
    rig.a.source.gate = undefined
    await rig.network.time.advance(700_000)
    assert.equal(rig.client.transport.transport, 'webtransport', 'and it is tried again some time')
  })

  test('a transport that gives no answer is tried last for a while, by every client of the network', async t => {
    const network = new FakeNetwork().add(A, await viewerRig(t))
    Object.assign(network.platform, { memory: new TransportMemory() })
    const silent: Connector = () => new Promise(() => {})
    let dropped = true
    const webTransport: Connector = async endpoint => await (dropped ? silent : transportConnector(network.dial))(endpoint)
    const visit = async (): Promise<{ client: ShardClient, tookMs: number }> => {
      const { time } = network.time
      const client = await network.time.until(ShardClient.connect(A, { platform: network.platform, webTransport }))
      t.after(() => client.close())
      return { client, tookMs: network.time.time - time }
    }
    const first = await visit()
    const second = await visit()
    assert.deepEqual([first, second].map(({ client, tookMs }) => [client.transport.transport, tookMs]), [['http', 3000], ['http', 0]])
    assert.deepEqual(second.client.transport.failures.find(({ transport }) => transport === 'webtransport'), { transport: 'webtransport', reason: 'no answer within 3000 ms' })
    await network.time.advance(610_000)
    assert.equal((await visit()).tookMs, 0, 'tried again after ten minutes, and held back for longer')
    dropped = false
    await network.time.advance(1_210_000)
    assert.equal(second.client.transport.transport, 'webtransport')
  })

  test('a transport that has carried a client is not held back when its relay gives no answer for a while', async t => {
    let dropped = false
    const rig = await connected(t, {}, network => { Object.assign(network.platform, { memory: new TransportMemory() }) })
    const { dial } = rig.network
    t.mock.method(rig.network, 'dial', async (...endpoint: Parameters<typeof dial>) => await (dropped ? new Promise(() => {}) : dial(...endpoint)))
    dropped = true
    rig.a.sessions[0]?.close(0, 'the gateway was killed')
    await rig.network.time.advance(3_500)
    assert.equal(rig.client.transport.transport, 'http')
    dropped = false
    await rig.network.time.advance(6_000)
    assert.equal(rig.client.transport.transport, 'webtransport')
  })

  test('a session that has delivered and falls silent is replaced by one of the same transport', async t => {
    const rig = await connected(t, { stallMs: 4000, attempts: 2 })
    await rig.client.fetchShard('v', 5)
    rig.a.source.gate = new Promise(() => {})
    const fetching = rig.client.fetchShard('v', 5)
    await rig.network.time.advance(3900)
    assert.equal(rig.a.sessions.length, 1)
    rig.a.source.gate = undefined
    assert.deepEqual([(await rig.network.time.until(fetching)).transport, rig.a.sessions.length], ['webtransport', 2])
  })

  test('a relay that gave too many tickets is asked again when it says', async t => {
    const a = await viewerRig(t)
    const network = new FakeNetwork().add(A, a)
    let refusals = 2
    const { fetch } = network.platform
    const platform = {
      ...network.platform,
      fetch: async (...[url, init]: Parameters<typeof fetch>) => {
        const answer = await fetch(url, init)
        return refusals-- > 0 ? { ...answer, status: 429, headers: { forEach: (visit: (value: string, name: string) => void) => visit('7', 'Retry-After') } } : answer
      }
    }
    const client = await network.time.until(ShardClient.connect(A, { platform, webTransport: transportConnector(network.dial) }))
    t.after(() => client.close())
    assert.deepEqual([client.transport.transport, network.time.time >= 14_000 && network.time.time < 15_000], ['webtransport', true])
  })

  test('another transport gets a part of the work, and is kept when it is half as fast again', async () => {
    for (const [rate, kept] of [[1_400, false], [1_600, true]] as const) {
      const { time, platform } = new FakeNetwork()
      const closed: string[] = []
      const session = (transport: TransportName): PooledSession => new PooledSession({ request: async () => await Promise.reject(new Error('unused')), closed: new Promise(() => {}), close: () => { closed.push(transport) } }, { transport, relayUrl: A, region: undefined, failures: [] }, 0)
      const [favoured, chosen]: [string[], string[]] = [[], []]
      const scout = new TransportScout({
        platform,
        signal: new AbortController().signal,
        candidates: () => new TransportMemory().order(A, TRANSPORTS, 0),
        dial: async (_url, transport) => {
          if (transport === 'websocket') throw new Error('not here')
          return session(transport)
        },
        favour: over => { favoured.push(over.info.transport) },
        dismiss: over => over.leave(),
        choose: ({ info }) => { chosen.push(info.transport) }
      })
      const { info } = session('webtransport')
      for (const since of [0, 0, 0]) scout.late(info, since, 1_000, () => true)
      await time.advance(399)
      assert.deepEqual(favoured, [], 'not before it has been late for two samples')
      await time.advance(1)
      for (const since of [0, 0, 0]) scout.late(info, since, 1_000, () => true)
      for (let sample = 0; sample < 6; sample++) {
        await time.advance(200)
        scout.sampled({ now: time.now(), spanMs: 200, own: { bytes: 900 * 200, isBusy: true }, other: { bytes: rate * 200, isBusy: true }, headroom: 1, tripMs: 0 })
      }
      await settle()
      assert.deepEqual([favoured, chosen, closed], [['http'], kept ? ['http'] : [], kept ? [] : ['http']])
    }
  })

  test('a page that is left closes its sessions within the turn, and opens new ones when it comes back', async t => {
    let page: (event: 'left' | 'back') => void = () => {}
    const rig = await connected(t, {}, network => { Object.assign(network.platform, { onPage: (listener: typeof page) => { page = listener; return () => { page = () => {} } } }) })
    page('back')
    assert.equal(rig.a.sessions.length, 1)
    page('left')
    assert.equal((await rig.a.sessions[0]?.transport.closed)?.clean, true)
    const fetching = rig.client.fetchShard('v', 5)
    await rig.network.time.advance(600_000)
    assert.equal(rig.a.sessions.length, 1, 'a page that is away opens nothing')
    page('back')
    assert.equal((await rig.network.time.until(fetching)).verified, true)
    assert.equal(rig.a.sessions.length, 2)
    page('left')
    rig.client.close()
    page('back')
    await settle()
    assert.deepEqual([rig.a.sessions.length, rig.network.time.pending], [2, 0])
  })

  test('a browser that rejects streams beyond a hundred is never asked for more', async t => {
    const a = await viewerRig(t)
    a.source.objects.set('v/5', LARGE.subarray(0, 1000))
    const network = new FakeNetwork().add(A, a)
    let most = 0
    const platform = { ...network.platform, webTransport: browserWebTransport(() => a.dial(), 100, count => { most = Math.max(most, count) }) }
    const client = await ShardClient.connect(A, { platform, concurrency: 300 })
    t.after(() => client.close())
    const shards = await network.time.until(Promise.all(Array.from({ length: 300 }, () => client.fetchShard('v', 5))))
    assert.ok(most <= 96 && shards.every(({ attempts, transport }) => attempts === 1 && transport === 'webtransport'), `${most}`)
  })
})
