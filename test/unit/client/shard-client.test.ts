import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { TestContext } from 'node:test'
import { ANONYMOUS, MISSING, refused } from '../../../src/admission/verdict.ts'
import { RelayError } from '../../../src/base/errors.ts'
import { ShardClient, ShardClientError, Urgency } from '../../../client/src/index.ts'
import type { Connector, ShardClientOptions, TokenSource, TransportInfo } from '../../../client/src/index.ts'
import { transportConnector } from '../../../client/src/transport-session.ts'
import type { SessionLimits } from '../../../src/gateway/session/session-types.ts'
import { FakeNetwork, browserWebTransport } from '../../support/client-rig.ts'
import { settle, until, viewerRig } from '../../support/viewer-rig.ts'
import type { ViewerRig } from '../../support/viewer-rig.ts'

const A = 'https://a.example'
const B = 'https://b.example'
const SHARD = Uint8Array.from({ length: 300_000 }, (_, index) => index * 13 % 251)

interface Rig { network: FakeNetwork, a: ViewerRig, client: ShardClient, infos: TransportInfo[] }

async function connected (t: TestContext, options: ShardClientOptions = {}, limits: Partial<SessionLimits> = {}): Promise<Rig> {
  const a = await viewerRig(t, { limits })
  a.source.objects.set('v/5', SHARD)
  const network = new FakeNetwork().add(A, a)
  const infos: TransportInfo[] = []
  const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial), onTransport: info => { infos.push(info) }, ...options })
  t.after(() => client.close())
  return { network, a, client, infos }
}

const fault = (kind: string, more: object = {}): object => ({ name: 'ShardClientError', fault: kind, ...more })

suite('shard client: connecting', () => {
  test('WebTransport is preferred, and nothing failed then', async t => {
    const { client } = await connected(t)
    assert.deepEqual(client.transport, { transport: 'webtransport', relayUrl: A, region: 'EU-WEST', failures: [] })
  })

  test('the fallback order is WebTransport, WebSocket, HTTP, with the reason for each that failed', async t => {
    const a = await viewerRig(t)
    a.source.objects.set('v/5', SHARD)
    const network = new FakeNetwork().add(A, a)
    network.udpBlocked = true
    const urls: string[] = []
    const ponyfill = browserWebTransport(url => {
      urls.push(url)
      return a.dial()
    }, 100)
    const options = { platform: network.platform, webTransport: transportConnector(network.dial) }
    const second = await ShardClient.connect(A, { ...options, websocket: async () => ponyfill })
    assert.deepEqual(second.transport, { transport: 'websocket', relayUrl: A, region: 'EU-WEST', failures: [{ transport: 'webtransport', reason: 'no answer over UDP' }] })
    assert.deepEqual(urls, [`https://a.example:9004/v1/viewer?viewer=${'-_v7'.repeat(5)}-w`], 'the ponyfill takes the https form')
    assert.equal((await second.fetchShard('v', 5)).transport, 'websocket')
    second.close()
    const third = await ShardClient.connect(A, options)
    assert.deepEqual(third.transport.failures, [{ transport: 'webtransport', reason: 'no answer over UDP' }, { transport: 'websocket', reason: 'no implementation was given' }])
    const shard = await third.fetchShard('v', 5)
    assert.deepEqual([shard.transport, shard.verified, shard.cache, shard.bytes.length], ['http', true, 'miss', 300_000])
    await assert.rejects(third.fetchShard('v', 6), fault('status', { status: 404, code: 'RELAY_ERR_SHARD_NOT_FOUND' }))
    third.close()
    network.offers.set(A, { webtransport: undefined })
    const fourth = await ShardClient.connect(A, options)
    assert.equal(fourth.transport.failures[0]?.reason, 'the relay does not offer it')
    fourth.close()
  })

  test('a transport that never answers is given up in time', async t => {
    const a = await viewerRig(t)
    const network = new FakeNetwork().add(A, a)
    const silent: Connector = () => new Promise(() => {})
    const client = await network.time.until(ShardClient.connect(A, { platform: network.platform, webTransport: silent, connectTimeoutMs: 3000 }))
    assert.equal(client.transport.transport, 'http')
    assert.deepEqual(client.transport.failures[0], { transport: 'webtransport', reason: 'no answer within 3000 ms' })
    assert.equal(network.time.time, 3000)
    client.close()
    assert.equal(network.time.pending, 0, 'no timer is left')
  })

  test('a relay that cannot be reached is an error that says so, after the attempts', async () => {
    const network = new FakeNetwork()
    const connecting = ShardClient.connect(A, { platform: network.platform, attempts: 3 })
    await assert.rejects(network.time.until(connecting), fault('connect', { message: /a\.example cannot be reached: fetch failed/ }))
    assert.equal(network.requests.length, 3)
    const once = ShardClient.connect(A, { platform: network.platform, attempts: 3, connectAttempts: 1 })
    await assert.rejects(network.time.until(once), fault('connect'))
    assert.equal(network.requests.length, 4)
    await assert.rejects(ShardClient.connect('ftp://a', { platform: network.platform }), fault('connect'))
    const abort = new AbortController()
    const aborted = ShardClient.connect(A, { platform: network.platform, signal: abort.signal })
    await settle()
    abort.abort(new Error('changed my mind'))
    await assert.rejects(aborted, { message: 'changed my mind' })
  })
})

suite('shard client: fetching', () => {
  test('a shard comes whole, verified, with progress and what the cache did', async t => {
    const { client } = await connected(t)
    const seen: number[] = []
    const shard = await client.fetchShard('v', 5, {
      onProgress: ({ receivedBytes, totalBytes }) => {
        assert.equal(totalBytes, 300_000)
        seen.push(receivedBytes)
      }
    })
    assert.ok(Buffer.from(shard.bytes).equals(SHARD))
    assert.deepEqual({ ...shard, bytes: 0, etag: '', timings: 0 }, { bytes: 0, status: 200, etag: '', cacheStatus: 'icn-relay; hit', cache: 'hit', verified: true, transport: 'webtransport', attempts: 1, timings: 0 })
    assert.ok(seen.length > 1 && seen.every((value, index) => index === 0 || value > (seen[index - 1] ?? 0)) && seen.at(-1) === 300_000)
  })

  test('a range is asked for as such, and cut out when a relay ignores it', async t => {
    const { client, network } = await connected(t)
    const part = await client.fetchShard('v', 5, { range: { start: 10, end: 30 } })
    assert.deepEqual([part.status, [...part.bytes]], [206, [...SHARD.subarray(10, 30)]])
    assert.equal((await client.fetchShard('v', 5, { range: { start: 299_999 } })).bytes.length, 1)
    await assert.rejects(client.fetchShard('v', 5, { range: { start: 300_000 } }), fault('status', { status: 416 }))
    network.udpBlocked = true
    const plain = await ShardClient.connect(A, { platform: network.platform })
    const cut = await plain.fetchShard('v', 5, { range: { start: 10, end: 30 } })
    assert.deepEqual([cut.status, cut.verified, [...cut.bytes]], [200, true, [...SHARD.subarray(10, 30)]])
    plain.close()
  })

  test('errors of the relay carry status and code and are not repeated; a busy relay is asked again', async t => {
    const { client, a, network } = await connected(t)
    await assert.rejects(client.fetchShard('v', 6), fault('status', { status: 404, code: 'RELAY_ERR_SHARD_NOT_FOUND', retryable: false }))
    assert.equal(a.source.resolved.length, 1)
    const resolve = a.source.resolve.bind(a.source)
    let refusals = 3
    a.source.resolve = async (...request) => {
      if (refusals-- > 0) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'busy')
      return await resolve(...request)
    }
    const shard = await network.time.until(client.fetchShard('v', 5))
    assert.equal(shard.attempts, 4)
    assert.ok(shard.timings.queuedMs >= 3000, 'retry-after is respected')
  })

  test('after a body that turned out corrupt the relay is asked again: it asks another super-node then', async t => {
    const { client, a, network } = await connected(t)
    const resolve = a.source.resolve.bind(a.source)
    let corrupt = true
    a.source.resolve = async (...request) => {
      if (!corrupt) return await resolve(...request)
      corrupt = false
      throw new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'the bytes do not match their digest')
    }
    assert.equal((await network.time.until(client.fetchShard('v', 5))).attempts, 2)
  })

  test('an overloaded relay is asked again when it says, and no later than ten seconds whatever it says, so often and no more', async t => {
    const { client, a, network } = await connected(t, { attempts: 4 })
    let retryAfterSeconds = 5
    a.source.resolve = async key => {
      a.source.resolved.push(key.cid)
      throw new RelayError('RELAY_ERR_OVERLOADED', 'busy', { retryAfterSeconds })
    }
    for (const [seconds, least, most] of [[5, 15_000, 16_000], [86_400, 30_000, 31_000]] as const) {
      retryAfterSeconds = seconds
      const before = { at: network.time.time, asked: a.source.resolved.length }
      await assert.rejects(network.time.until(client.fetchShard('v', 5)), fault('status', { status: 503, code: 'RELAY_ERR_OVERLOADED', retryAfterMs: seconds * 1_000, retryable: true }))
      assert.equal(a.source.resolved.length - before.asked, 4)
      const waited = network.time.time - before.at
      assert.ok(waited >= least && waited <= most, `${waited} ms`)
    }
  })

  test('bytes that do not match their digest are refused and not asked for again', async t => {
    const { client, a } = await connected(t)
    await assert.rejects(client.fetchShard('v', 5, { sha256: '00'.repeat(32) }), fault('digest'))
    const resolve = a.source.resolve.bind(a.source)
    a.source.resolve = async (...request) => ({ ...await resolve(...request), sha256: 'ab'.repeat(32) })
    await assert.rejects(client.fetchShard('v', 5), fault('digest'))
    assert.equal((await client.fetchShard('v', 5, { verify: false })).verified, false)
    assert.equal(a.source.lent, 3)
  })

  test('an abort ends the exchange at the relay too', async t => {
    const { client, a } = await connected(t)
    a.source.gate = new Promise(() => {})
    const abort = new AbortController()
    const fetching = client.fetchShard('v', 5, { signal: abort.signal })
    await until(() => a.source.held === 1, 'the relay holds the shard')
    abort.abort(new Error('seeked away'))
    await assert.rejects(fetching, { message: 'seeked away' })
    await until(() => a.source.held === 0, 'the relay let go')
    await assert.rejects(client.fetchShard('v', 5, { signal: AbortSignal.abort(new Error('before')) }), { message: 'before' })
  })

  test('concurrency is bounded, and waiting for it can be aborted', async t => {
    const { client, a } = await connected(t, { concurrency: 3 })
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const all = Array.from({ length: 10 }, () => client.fetchShard('v', 5))
    const abort = new AbortController()
    const waiting = client.fetchShard('v', 5, { signal: abort.signal })
    await until(() => a.source.held === 3, 'three at the relay')
    await settle()
    assert.equal(a.source.held, 3)
    abort.abort(new Error('enough'))
    await assert.rejects(waiting, { message: 'enough' })
    open()
    assert.equal((await Promise.all(all)).length, 10)
    assert.equal(a.source.lent, 10)
  })

  test('a browser that rejects streams for want of credit is asked again with a growing, bounded pause', async t => {
    const a = await viewerRig(t)
    a.source.objects.set('v/5', SHARD.subarray(0, 1000))
    const network = new FakeNetwork().add(A, a)
    let most = 0
    const platform = { ...network.platform, webTransport: browserWebTransport(() => a.dial(), 4, count => { most = Math.max(most, count) }) }
    const client = await ShardClient.connect(A, { platform, concurrency: 32 })
    const shards = await network.time.until(Promise.all(Array.from({ length: 32 }, () => client.fetchShard('v', 5))))
    assert.equal(most, 4)
    assert.ok(shards.every(({ transport, verified }) => transport === 'webtransport' && verified))
    assert.ok(shards.some(({ attempts }) => attempts > 1))
    client.close()
  })

  test('a stream reset mid-body is tried again; one that always breaks is an error in the end', async t => {
    const { client, a, network } = await connected(t, { attempts: 3 })
    a.source.failAt.set('v/5', { position: 100_000, error: new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'bad') })
    await assert.rejects(network.time.until(client.fetchShard('v', 5)), fault('reset'))
    assert.equal(a.source.lent, 3)
    const again = client.fetchShard('v', 5)
    await until(() => a.source.lent === 4, 'asked')
    a.source.failAt.clear()
    assert.equal((await network.time.until(again)).verified, true)
    assert.equal(a.source.held, 0)
  })

  test('a relay that falls silent is given up after the stall time and another connection is tried', async t => {
    const { client, a, network } = await connected(t, { attempts: 2, stallMs: 4000, transports: ['webtransport'] })
    a.source.gate = new Promise(() => {})
    await assert.rejects(network.time.until(client.fetchShard('v', 5)), fault('stalled'))
    assert.ok(network.time.time >= 8000 && network.time.time < 9000, String(network.time.time))
    assert.ok(a.sessions.length >= 2)
    await until(() => a.source.held === 0, 'nothing is held')
  })

  test('what is in the background stops for what is not, frees its stream, and goes on after it', async t => {
    const { client, a } = await connected(t)
    a.source.objects.set('v/6', SHARD)
    let open = (): void => {}
    a.source.gate = new Promise(resolve => { open = resolve })
    const ahead = client.fetchShard('v', 5, { priority: 'background' })
    const urgency = new Urgency('background')
    const raised = client.fetchShard('v', 6, { priority: urgency })
    await until(() => a.source.held === 2, 'both are under way')
    urgency.raise('urgent')
    await until(() => a.source.held === 1, 'the one in the background has stopped')
    assert.equal(a.reports.filter(({ outcome }) => outcome === 'cancelled').length, 1)
    open()
    assert.equal((await raised).attempts, 1)
    const { attempts, verified } = await ahead
    assert.deepEqual([attempts, verified, a.source.resolved], [1, true, ['v/5', 'v/6', 'v/5']])
  })

  test('a slow fill that the relay speaks of is waited for, over the same session; so is one whose relay answers others', async t => {
    const { client, a, network } = await connected(t, { stallMs: 4000, transports: ['webtransport'] })
    const resolve = a.source.resolve.bind(a.source)
    let open = (): void => {}
    const filled = new Promise<void>(resolve => { open = resolve })
    a.source.resolve = async (key, options) => {
      if (key.part === 5) await filled
      return await resolve(key, options)
    }
    const shard = client.fetchShard('v', 5)
    for (let second = 0; second < 12; second++) {
      await settle()
      a.now += 1000
      for (const session of a.sessions) session.tick()
      await network.time.advance(1000)
    }
    open()
    const { attempts, verified } = await shard
    assert.deepEqual([attempts, verified, a.sessions.length], [1, true, 1])

    // Of this one the relay says nothing; every second it answers something else.
    a.source.objects.set('v/6', SHARD)
    a.source.resolve = async (key, options) => {
      if (key.part === 5 && network.time.time < 20_000) await new Promise((_resolve, reject) => { options.signal.addEventListener('abort', () => { reject(new Error('gone')) }) })
      return await resolve(key, options)
    }
    const late = client.fetchShard('v', 5)
    for (let second = 0; second < 12; second++) {
      await client.fetchShard('v', 6)
      await network.time.advance(1000)
    }
    assert.equal((await network.time.until(late)).attempts, 3)
    assert.equal(a.sessions.length, 1)
  })

  test('wrong arguments and a closed client are refused', async t => {
    const { client, network } = await connected(t)
    await assert.rejects(client.fetchShard('v', 14), RangeError)
    await assert.rejects(client.fetchShard('../x', 1), RangeError)
    client.close()
    await assert.rejects(client.fetchShard('v', 5), fault('closed'))
    await settle()
    assert.equal(network.time.pending, 0)
  })

  test('the token goes with every request and nowhere else', async t => {
    const tokens: Array<string | undefined> = []
    const a = await viewerRig(t, {
      authorize: token => {
        tokens.push(token)
        return token === 't0k' ? ANONYMOUS : MISSING
      }
    })
    a.source.objects.set('v/5', SHARD)
    const network = new FakeNetwork().add(A, a)
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial), token: 't0k' })
    await client.fetchShard('v', 5)
    assert.deepEqual(tokens, ['t0k'])
    assert.ok(!network.requests.some(url => url.includes('t0k')))
    client.close()
    const without = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial) })
    await assert.rejects(without.fetchShard('v', 5), fault('status', { status: 401, code: 'RELAY_ERR_VIEWER_UNAUTHORIZED' }))
    without.close()
  })
})

suite('shard client: tokens', () => {
  async function guarded (t: TestContext, token: TokenSource): Promise<{ client: ShardClient, tokens: Array<string | undefined>, network: FakeNetwork }> {
    const tokens: Array<string | undefined> = []
    const a = await viewerRig(t, {
      authorize: (shown, { cid }) => {
        tokens.push(shown)
        if (shown === undefined) return MISSING
        if (shown === 'old') return refused('RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'the token has expired')
        return cid === 'v' ? ANONYMOUS : refused('RELAY_ERR_VIEWER_SCOPE', 'the token is not for this object')
      }
    })
    a.source.objects.set('v/5', SHARD)
    const network = new FakeNetwork().add(A, a)
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial), token })
    t.after(() => { client.close() })
    return { client, tokens, network }
  }

  test('a function gives the token of each request', async t => {
    const given = ['one', Promise.resolve('two'), undefined]
    const { client, tokens } = await guarded(t, () => given.shift())
    await client.fetchShard('v', 5)
    await client.fetchShard('v', 5)
    await assert.rejects(client.fetchShard('v', 5), fault('status', { status: 401 }))
    assert.deepEqual(tokens, ['one', 'two', undefined])
  })

  test('what such a function throws is what the request rejects with', async t => {
    const reason = new Error('login first')
    const { client, tokens } = await guarded(t, () => { throw reason })
    await assert.rejects(client.fetchShard('v', 5), reason)
    assert.deepEqual(tokens, [])
  })

  test('a refusal says so and is asked for once; nothing waits afterwards', async t => {
    const { client, tokens, network } = await guarded(t, 'old')
    await assert.rejects(client.fetchShard('v', 5), fault('status', { status: 401, code: 'RELAY_ERR_VIEWER_TOKEN_EXPIRED', unauthorized: true, retryable: false }))
    const scoped = await guarded(t, 'new')
    await assert.rejects(scoped.client.fetchShard('w', 5), fault('status', { status: 403, code: 'RELAY_ERR_VIEWER_SCOPE', unauthorized: true, retryable: false }))
    assert.deepEqual([tokens, scoped.tokens], [['old'], ['new']])
    assert.equal(network.time.pending, 0)
  })

  test('a token that no header can carry is refused here, without being repeated', async t => {
    for (const token of ['two words', 'line\nend', 't\u00f6ken', '']) {
      const { client, tokens } = await guarded(t, token)
      await assert.rejects(client.fetchShard('v', 5), (error: unknown) => error instanceof RangeError && error.message === 'a token has visible ASCII characters only')
      assert.deepEqual(tokens, [])
    }
  })
})

suite('shard client: staying connected', () => {
  test('a lost session is replaced by itself, and the request under way is repeated', async t => {
    const { client, a, infos, network } = await connected(t)
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const fetching = client.fetchShard('v', 5)
    await until(() => a.source.held === 1, 'under way')
    a.sessions[0]?.close(0, 'crash')
    await until(() => a.source.held === 0, 'released')
    a.source.gate = undefined
    open()
    const shard = await network.time.until(fetching)
    assert.deepEqual([shard.verified, shard.attempts, infos.length, a.sessions.length], [true, 2, 2, 2])
  })

  test('an idle client reconnects too, with pauses while the relay is away', async t => {
    const { a, infos, network } = await connected(t)
    network.httpBlocked = true
    a.sessions[0]?.close(0, 'restart')
    await network.time.advance(400)
    assert.equal(infos.length, 1)
    const tries = network.requests.length
    assert.ok(tries > 2 && tries < 8, `${tries} attempts`)
    network.httpBlocked = false
    await network.time.advance(2000)
    assert.equal(infos.length, 2)
  })

  test('a relay that drops every new session is not dialled in a tight loop', async t => {
    const a = await viewerRig(t)
    const network = new FakeNetwork().add(A, a)
    const webTransport = transportConnector(async (endpoint, opened) => {
      const session = await network.dial(endpoint, opened)
      setImmediate(() => session.close(0, 'crash loop'))
      return session
    })
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport })
    await network.time.advance(10_000)
    client.close()
    assert.ok(a.sessions.length > 3 && a.sessions.length < 25, `${a.sessions.length} sessions in 10 s`)
  })

  test('a drain moves new requests to an alternate while the old ones end where they began', async t => {
    const { client, a, network, infos } = await connected(t)
    const b = await viewerRig(t)
    b.source.objects.set('v/5', SHARD)
    network.add(B, b)
    let open = (): void => {}
    a.source.gate = new Promise<void>(resolve => { open = resolve })
    const old = client.fetchShard('v', 5)
    await until(() => a.source.held === 1, 'under way at a')
    a.sessions[0]?.drain(30_000, ['https://gone.example', B])
    await until(() => infos.length === 2, 'moved')
    assert.equal(client.transport.relayUrl, B)
    await client.fetchShard('v', 5)
    assert.equal(b.source.lent, 1)
    open()
    assert.equal((await old).attempts, 1)
    assert.deepEqual((await a.sessions[0]?.transport.closed)?.clean, true, 'the old session is closed by the client once it is done')
  })

  test('a drain without alternates means a new session at the same relay', async t => {
    const { client, a, infos } = await connected(t, {}, { retireAfterStreams: 3 })
    for (let count = 0; count < 3; count++) await client.fetchShard('v', 5)
    await until(() => infos.length === 2, 'a second session')
    await client.fetchShard('v', 5)
    assert.equal(a.sessions.length, 2)
    await a.sessions[0]?.transport.closed
  })

  test('a redirect is followed, but not into the clear, and not round and round', async t => {
    const { client, a, network, infos } = await connected(t)
    const b = await viewerRig(t)
    network.add(B, b).add('http://b.example', b)
    await client.fetchShard('v', 5)
    a.sessions[0]?.redirect('http://b.example', 'insecure')
    await settle()
    assert.equal(infos.length, 1)
    const bounce = setInterval(() => {
      for (const session of a.sessions) {
        session.tick()
        session.redirect(B, 'go')
      }
      for (const session of b.sessions) {
        session.tick()
        session.redirect(A, 'come back')
      }
    }, 0)
    await until(() => infos.length === 6, 'five moves')
    for (let turn = 0; turn < 20; turn++) await settle()
    clearInterval(bounce)
    assert.equal(infos.length, 6)
  })

  test('a redirect that comes with the first packet, before the client knows that it is connected, is followed, and so is the next', async t => {
    const { network } = await connected(t)
    const c = await viewerRig(t)
    c.source.objects.set('v/5', SHARD)
    network.add(B, await viewerRig(t)).add('https://c.example', c)
    const onward = new Map([[A, B], [B, 'https://c.example']])
    // A relay whose control stream arrives with the answer to the handshake.
    const hasty: Connector = async endpoint => {
      const session = await transportConnector(network.dial)(endpoint)
      const url = onward.get(new URL(endpoint.url).origin)
      if (url === undefined) return session
      const line: Array<Uint8Array | null> = [new TextEncoder().encode(`${JSON.stringify({ type: 'redirect', url, reason: 'overload' })}\n`), null]
      endpoint.onIncoming({ read: async () => line.shift() ?? null, cancel: () => {} })
      await settle()
      return session
    }
    const infos: TransportInfo[] = []
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport: hasty, onTransport: info => { infos.push(info) } })
    t.after(() => client.close())
    await until(() => infos.length === 3, 'moved twice')
    assert.deepEqual(infos.map(({ relayUrl }) => relayUrl), [A, B, 'https://c.example'])
    assert.equal((await client.fetchShard('v', 5)).attempts, 1)
    assert.equal(c.source.lent, 1)
  })

  test('a redirect to a plain super-node goes on over HTTP, and the client comes home once the relay has recovered', async t => {
    const { client, a, network, infos } = await connected(t)
    const origin = await viewerRig(t)
    origin.source.objects.set('v/5', SHARD)
    network.add(B, origin).plain.add(B)
    a.sessions[0]?.tick()
    network.offers.set(A, { overloaded: true })
    a.sessions[0]?.redirect(B, 'overload')
    await until(() => infos.length === 2, 'moved')
    assert.deepEqual(client.transport, {
      transport: 'http',
      relayUrl: B,
      region: undefined,
      failures: [{ transport: 'webtransport', reason: 'the relay does not offer it' }, { transport: 'websocket', reason: 'the relay does not offer it' }]
    })
    const shard = await client.fetchShard('v', 5)
    assert.deepEqual([shard.transport, shard.verified, shard.bytes.length], ['http', true, SHARD.length])
    await network.time.advance(200_000)
    assert.equal(client.transport.relayUrl, B)
    assert.equal(a.sessions.length, 1, 'an overloaded relay is asked how it is and not for a session')
    network.offers.delete(A)
    await network.time.advance(61_000)
    assert.deepEqual([client.transport.relayUrl, client.transport.transport], [A, 'webtransport'])
    assert.equal((await client.fetchShard('v', 5)).transport, 'webtransport')
    client.close()
    assert.equal(network.time.pending, 0, 'no timer is left')
  })

  test('who meets an overloaded relay without transports for sessions has HTTP, and WebTransport when that is over; who cannot have it stops asking', async t => {
    const a = await viewerRig(t)
    a.source.objects.set('v/5', SHARD)
    const network = new FakeNetwork().add(A, a)
    const overloaded = { overloaded: true, webtransport: undefined, websocket: undefined }
    network.offers.set(A, overloaded)
    const client = await ShardClient.connect(A, { platform: network.platform, webTransport: transportConnector(network.dial) })
    t.after(() => client.close())
    assert.deepEqual([client.transport.transport, client.transport.overloaded], ['http', true])
    assert.equal((await client.fetchShard('v', 5)).transport, 'http')
    await network.time.advance(120_000)
    assert.deepEqual([client.transport.transport, a.sessions.length], ['http', 0])
    network.offers.delete(A)
    await network.time.advance(61_000)
    assert.deepEqual([client.transport.transport, client.transport.overloaded], ['webtransport', undefined])

    network.offers.set(A, overloaded)
    const plain = await ShardClient.connect(A, { platform: network.platform })
    t.after(() => plain.close())
    network.offers.delete(A)
    await network.time.advance(61_000)
    assert.equal(plain.transport.transport, 'http')
    const { length } = network.requests
    await network.time.advance(600_000)
    assert.equal(network.requests.length, length)
  })

  test('a client that lost WebTransport goes on over HTTP and comes back to it', async t => {
    const { client, a, network, infos } = await connected(t)
    network.udpBlocked = true
    a.sessions[0]?.close(0, 'gateway killed')
    await network.time.advance(100)
    assert.equal(client.transport.transport, 'http')
    assert.equal((await client.fetchShard('v', 5)).transport, 'http')
    await network.time.advance(6000)
    assert.equal(client.transport.transport, 'http')
    network.udpBlocked = false
    await network.time.advance(60_000)
    assert.equal(client.transport.transport, 'webtransport')
    assert.equal((await client.fetchShard('v', 5)).transport, 'webtransport')
    assert.deepEqual(infos.map(({ transport }) => transport), ['webtransport', 'http', 'webtransport'])
  })

  test('control messages reach the page', async t => {
    const types: string[] = []
    const { client, a } = await connected(t, { onControl: ({ type }) => { types.push(type) } })
    await client.fetchShard('v', 5)
    a.sessions[0]?.bandwidth(1_660_000, '480p')
    await until(() => types.length === 2, 'two messages')
    assert.deepEqual(types, ['hello', 'bandwidth'])
  })

  test('bandwidth is heard over a session, and forgotten with it', async t => {
    const heard: unknown[] = []
    const { client, a, infos, network } = await connected(t, { onBandwidth: signal => { heard.push(signal) } })
    await client.fetchShard('v', 5)
    assert.equal(client.bandwidth, undefined)
    a.sessions[0]?.bandwidth(1_660_000, '480p')
    await until(() => heard.length === 1, 'a signal')
    assert.deepEqual([heard[0], client.bandwidth], [{ bitsPerSecond: 1_660_000, suggestedRendition: '480p' }, heard[0]])
    a.sessions[0]?.bandwidth(0, '1080p')
    await until(() => heard.length === 2, 'no limit any more')
    assert.deepEqual([heard[1], client.bandwidth], [undefined, undefined])
    a.sessions[0]?.bandwidth(3_000_000, '720p')
    await until(() => heard.length === 3, 'a limit again')
    a.sessions[0]?.close(0, 'crash')
    await network.time.until(client.fetchShard('v', 5))
    assert.deepEqual([heard.length, infos.length, client.bandwidth], [4, 2, undefined], 'the new session has said nothing yet')
  })

  test('over HTTP bandwidth is heard with the responses, when it changes', async t => {
    const heard: unknown[] = []
    const messages: unknown[] = []
    const { client, network } = await connected(t, { transports: ['http'], onBandwidth: signal => { heard.push(signal) }, onControl: message => { messages.push(message) } })
    for (const cmsd of [undefined, '"icn-relay";mb=1660;icn-rendition="480p"', '"icn-relay";mb=1660;icn-rendition="480p"', '"other";mb=1', '"icn-relay";mb=3300;icn-rendition="720p"']) {
      network.cmsd = cmsd
      await client.fetchShard('v', 5)
    }
    // An error has no such header, and that says nothing.
    await assert.rejects(client.fetchShard('v', 6))
    assert.deepEqual(heard, [{ bitsPerSecond: 1_660_000, suggestedRendition: '480p' }, undefined, { bitsPerSecond: 3_300_000, suggestedRendition: '720p' }])
    assert.deepEqual(client.bandwidth, heard[2])
    assert.deepEqual(messages.at(-1), { type: 'bandwidth', bitsPerSecond: 3_300_000, suggestedRendition: '720p' })
  })

  test('errors have one class', () => {
    assert.ok(new ShardClientError('reset', 'x') instanceof Error)
  })
})
