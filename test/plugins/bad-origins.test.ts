import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { buffer } from 'node:stream/consumers'
import { request } from 'undici'
import type { UpstreamObject } from '../../src/plugins/upstream/upstream-types.ts'
import { freePort } from '../../tools/harness/ci.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { sha256 } from '../../tools/harness/store-bytes.ts'
import { bytesOf, until } from '../support/cache.ts'
import { listenRaw, rawOrigin, response, type RawOrigin } from '../support/raw-origin.ts'
import { fitness, patient, setUp } from '../support/upstream-rig.ts'

const key = (n: number): { cid: string, part: number } => ({ cid: `bad${n}`, part: 0 })
const KEY = key(0)
const BODY = bytesOf('origin', 40_000)
const OTHER = bytesOf('another version', 40_000)
const configured = ({ url, region }: RawOrigin): { url: string, region: string } => ({ url, region })
const outcomes = (attempts: readonly string[]): string[] => attempts.map(attempt => attempt.slice(attempt.indexOf(' ') + 1))
const digestLine = (bytes: Uint8Array, algorithm: 'sha256' | 'sha512'): string => `${algorithm.replace('sha', 'sha-')}=:${createHash(algorithm).update(bytes).digest('base64')}:`

/** Reads a body as a fill does, which takes in what has come before it wants more. */
async function receive (object: UpstreamObject): Promise<Buffer> {
  return await buffer(object.body)
}

suite('a connection that the node closes when it is used again', () => {
  for (const how of ['FIN', 'RST'] as const) {
    test(`${how}: one request more on a fresh connection, and no failure counted`, async t => {
      const node = await rawOrigin(t, ({ socket, request }) => {
        if (request === 0) socket.write(response('ok'))
        else if (how === 'FIN') socket.end()
        else socket.resetAndDestroy()
      })
      const { upstream, attempts } = setUp(t, [node], { connectionsPerNode: 1 })
      for (let n = 0; n < 8; n++) assert.equal(String(await receive(await upstream.fetch(key(n), patient()))), 'ok')
      assert.deepEqual(outcomes(attempts), Array(8).fill('ok'))
      assert.deepEqual(upstream.status().map(({ state, failures }) => [state, failures]), [['up', 0]])
      assert.equal(node.heads.length, 15, 'each but the first was asked twice')
      assert.equal(node.connections.size, 8)
    })
  }

  test('a fresh connection that is closed is a failure, and so is one closed within an answer: neither is asked again', async t => {
    const node = await rawOrigin(t, ({ socket, connection, request }) => {
      if (connection === 0 && request === 0) socket.write(response('ok'))
      else if (connection === 0) socket.end('HTTP/1.1 200')
      else socket.end()
    })
    const { upstream, attempts } = setUp(t, [node])
    await receive(await upstream.fetch(key(0), patient()))
    await assert.rejects(upstream.fetch(key(1), patient()))
    await assert.rejects(upstream.fetch(key(2), patient()), { code: 'RELAY_ERR_UPSTREAM_UNREACHABLE' })
    assert.deepEqual(outcomes(attempts).map(outcome => outcome === 'ok'), [true, false, false])
    assert.equal(node.heads.length, 3)
  })

  test('through a relay: eight cold objects one after the other are eight answers', async t => {
    const node = await rawOrigin(t, ({ socket, request }) => { if (request === 0) socket.write(response(BODY)); else socket.end() })
    const { viewerUrl, relay } = await startRelay(t, [configured(node)])
    for (let n = 0; n < 8; n++) {
      const answer = await request(`${viewerUrl}/shards/race/shard_${n}.bin`)
      assert.deepEqual([answer.statusCode, Buffer.from(await answer.body.arrayBuffer()).equals(BODY)], [200, true])
    }
    assert.deepEqual(relay.admin.upstream.status().map(({ state, failures }) => [state, failures]), [['up', 0]])
  })
})

test('100 Continue that nobody asked for is passed over, however often and in whatever pieces it comes', async t => {
  const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\nx: y\r\n\r\n'
  const node = await rawOrigin(t, ({ socket, request }) => {
    const answer = Buffer.concat([Buffer.from(interim), response(request === 0 ? 'one' : 'two')])
    if (request === 0) socket.write(answer)
    else {
      socket.setNoDelay(true)
      const next = (at: number): void => { if (at < answer.length) socket.write(answer.subarray(at, at + 1), () => { setImmediate(next, at + 1) }) }
      next(0)
    }
  })
  const { upstream, attempts } = setUp(t, [node], { connectionsPerNode: 1, headersTimeoutMs: 10_000, firstByteTimeoutMs: 10_000, bodyTimeoutMs: 10_000 })
  assert.equal(String(await receive(await upstream.fetch(key(0), patient()))), 'one')
  assert.equal(String(await receive(await upstream.fetch(key(1), patient()))), 'two')
  assert.deepEqual(outcomes(attempts), ['ok', 'ok'])
  assert.equal(node.connections.size, 1)
})

suite('a body that only the end of its connection ends', () => {
  const head = ['connection: close', 'content-type: application/octet-stream']

  test('ended well it is passed on and not stored, with a digest it is stored', async t => {
    const cases: [fields: string[], storable: boolean][] = [
      [head, false],
      [[...head, `repr-digest: ${digestLine(BODY, 'sha256')}`], true],
      [[...head, `repr-digest: ${digestLine(BODY, 'sha512')}`], true]
    ]
    for (const [fields, storable] of cases) {
      const node = await rawOrigin(t, ({ socket }) => { socket.end(response(BODY, fields)) })
      const { upstream, logs } = setUp(t, [node])
      const object = await upstream.fetch(KEY, patient())
      assert.ok((await receive(object)).equals(BODY))
      assert.equal(object.storable, storable, fields.join())
      assert.equal(logs.some(line => line.includes('without length or digest')), !storable)
    }
  })

  test('through a relay: one that is cut is 502 and not stored; one that ends well is served with no-store and fetched again', async t => {
    const sockets: Socket[] = []
    const node = await rawOrigin(t, ({ socket, path }) => {
      if (path.includes('_01')) {
        socket.write(response(BODY, head))
        sockets.push(socket)
      } else {
        socket.end(response(BODY, head))
      }
    })
    const { viewerUrl, relay } = await startRelay(t, [configured(node)])
    const asking = request(`${viewerUrl}/shards/cut/shard_1.bin`)
    // Reset only when all of it has been received: then nothing but the reset tells that it is not the end.
    await until(() => relay.admin.shardCache.disk.reservedBytes === BODY.length)
    for (const socket of sockets) socket.resetAndDestroy()
    const cut = await asking
    assert.deepEqual([cut.statusCode, (await cut.body.json() as { code: string }).code], [502, 'RELAY_ERR_UPSTREAM_BODY'])
    for (let n = 0; n < 2; n++) {
      const whole = await request(`${viewerUrl}/shards/cut/shard_2.bin`)
      assert.deepEqual([whole.statusCode, whole.headers['cache-control'], Buffer.from(await whole.body.arrayBuffer()).equals(BODY)], [200, 'no-store', true])
      await until(() => relay.admin.shards.fills === 0)
    }
    assert.equal(relay.admin.shardCache.disk.count, 0)
    assert.equal(node.heads.filter(line => line.includes('_02')).length, 2)
  })
})

suite('digests', () => {
  test('two lines of Repr-Digest are one field; SHA-512 is checked; what cannot be checked counts as none and is told', async t => {
    const cases: [lines: string[], whole: boolean, told: string | undefined][] = [
      [[digestLine(BODY, 'sha256'), 'unixsum=12'], true, undefined],
      [['md5=:AAAA:', digestLine(OTHER, 'sha256')], false, undefined],
      [[digestLine(OTHER, 'sha256'), digestLine(BODY, 'sha256')], true, undefined],
      [[digestLine(OTHER, 'sha512')], false, undefined],
      [[digestLine(BODY, 'sha256'), digestLine(OTHER, 'sha512')], false, undefined],
      [['md5=:AAAA:', 'crc32c=:AAAA:'], true, 'digest-algorithm'],
      [['sha-256=AAAA'], true, 'digest-malformed']
    ]
    for (const [n, [lines, whole, told]] of cases.entries()) {
      const node = await rawOrigin(t, ({ socket }) => { socket.write(response(BODY, lines.map(line => `repr-digest: ${line}`))) })
      const { viewerUrl, relay } = await startRelay(t, [configured(node)])
      const answer = await request(`${viewerUrl}/shards/digest${n}/shard_0.bin`)
      const right = await answer.body.arrayBuffer().then(bytes => answer.statusCode === 200 && Buffer.from(bytes).equals(BODY), () => false)
      assert.equal(right, whole, lines.join())
      const text = await relay.admin.relayMetrics.text()
      for (const oddity of ['digest-algorithm', 'digest-malformed']) assert.equal(text.includes(`oddity="${oddity}"`), oddity === told, `${lines.join()} ${oddity}`)
    }
  })
})

suite('answers that are not objects', () => {
  const cases: [name: string, bytes: Buffer, status: number, code: string, retryAfter: string | undefined][] = [
    ['503 with retry-after', response('', ['retry-after: 7'], '503 Service Unavailable'), 503, 'RELAY_ERR_UPSTREAM_BUSY', '7'],
    ['429 with retry-after', response('', ['retry-after: 9'], '429 Too Many Requests'), 429, 'RELAY_ERR_UPSTREAM_RATE_LIMITED', '9'],
    ['a web page', response('<html>log in</html>', ['content-type: text/html; charset=utf-8']), 502, 'RELAY_ERR_UPSTREAM_STATUS', '1'],
    ['an empty 200', response('', ['content-length: 0']), 502, 'RELAY_ERR_UPSTREAM_BODY', '1'],
    ['an empty 200 in chunks', response('0\r\n\r\n', ['transfer-encoding: chunked']), 502, 'RELAY_ERR_UPSTREAM_BODY', '1'],
    ['no HTTP', Buffer.from('SSH-2.0-OpenSSH_9\r\n'), 502, 'RELAY_ERR_UPSTREAM_PROTOCOL', '1']
  ]
  for (const [name, bytes, status, code, retryAfter] of cases) {
    test(`${name} is ${status} for the viewer and nothing is stored`, async t => {
      const node = await rawOrigin(t, ({ socket }) => { socket.write(bytes) })
      const { viewerUrl, relay } = await startRelay(t, [configured(node)])
      const answer = await request(`${viewerUrl}/shards/none/shard_0.bin`)
      assert.deepEqual([answer.statusCode, (await answer.body.json() as { code: string }).code, answer.headers['retry-after']], [status, code, retryAfter])
      assert.equal(relay.admin.shardCache.disk.count, 0)
    })
  }

  test('of nodes that want to be asked later the sooner is told, also beside one that is down', async t => {
    const busy = await Promise.all([30, 5, 60].map(async seconds => await rawOrigin(t, ({ socket }) => { socket.write(response('', [`retry-after: ${seconds}`], '503 x')) })))
    const broken = await rawOrigin(t, ({ socket }) => { socket.write(response('', [], '500 x')) })
    const { upstream } = setUp(t, [...busy, broken])
    await assert.rejects(upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_BUSY', retryAfterSeconds: 5 })
  })

  test('no-store is passed on with no-store, and is fetched again', async t => {
    const node = await rawOrigin(t, ({ socket }) => { socket.write(response(BODY, ['cache-control: private, No-Store'])) })
    const { viewerUrl, relay } = await startRelay(t, [configured(node)])
    for (let n = 1; n <= 2; n++) {
      const answer = await request(`${viewerUrl}/shards/secret/shard_0.bin`)
      assert.deepEqual([answer.statusCode, answer.headers['cache-control'], Buffer.from(await answer.body.arrayBuffer()).equals(BODY)], [200, 'no-store', true])
      assert.equal(node.heads.length, n)
      // Until it has ended, others read it too.
      await until(() => relay.admin.shards.fills === 0)
    }
    assert.equal(relay.admin.shardCache.disk.count, 0)
  })
})

suite('a body that breaks off and goes on from another node', () => {
  interface Breaking extends RawOrigin {
    breakOff (): void
  }

  /** Sends half of a body, and closes when it is told to, or immediately when it was told before. */
  const breaking = async (t: TestContext, fields: readonly string[]): Promise<Breaking> => {
    const sockets: Socket[] = []
    let broken = false
    const node = await rawOrigin(t, ({ socket }) => {
      const whole = response(BODY, fields)
      socket.write(whole.subarray(0, whole.length - 20_000))
      sockets.push(socket)
      if (broken) socket.end()
    }, 'EU-WEST')
    const breakOff = (): void => {
      broken = true
      for (const socket of sockets) socket.end()
    }
    return { ...node, breakOff }
  }

  /** Knows ranges; `ifRange` whether it knows that field too. */
  const ranged = async (t: TestContext, bytes: Buffer, fields: readonly string[], { ifRange = true } = {}): Promise<RawOrigin> => await rawOrigin(t, ({ socket, head }) => {
    const from = Number(/^range: bytes=(\d+)-/im.exec(head)?.[1] ?? NaN)
    const wanted = /^if-range: (.*)$/im.exec(head)?.[1]
    const etag = fields.find(field => field.startsWith('etag: '))?.slice(6)
    if (Number.isNaN(from) || (ifRange && wanted !== undefined && wanted !== etag)) socket.write(response(bytes, fields))
    else socket.write(response(bytes.subarray(from), [...fields, `content-range: bytes ${from}-${bytes.length - 1}/${bytes.length}`], '206 Partial Content'))
  }, 'APAC')

  /** `viewer` is what a viewer who had half of it when it broke off has in the end; undefined when that is not all. */
  const run = async (t: TestContext, first: Breaking, second: RawOrigin): Promise<{ viewer: Buffer | undefined, stored: number, asked: number }> => {
    const { viewerUrl, relay } = await startRelay(t, [configured(first), configured(second)], { region: { override: 'EU-WEST' } })
    const answer = await request(`${viewerUrl}/shards/mixed/shard_0.bin`)
    assert.equal(answer.statusCode, 200)
    const pieces: Buffer[] = []
    let viewer: Buffer | undefined
    try {
      for await (const piece of answer.body as AsyncIterable<Buffer>) {
        pieces.push(piece)
        first.breakOff()
      }
      viewer = Buffer.concat(pieces)
    } catch {}
    await relay.admin.shards.close()
    return { viewer, stored: relay.admin.shardCache.disk.count, asked: second.heads.length }
  }

  test('the same strong tag: the rest comes by If-Range', async t => {
    const second = await ranged(t, BODY, ['etag: "v1"'])
    const { viewer, stored, asked } = await run(t, await breaking(t, ['etag: "v1"']), second)
    assert.ok(viewer?.equals(BODY))
    assert.deepEqual([stored, asked], [1, 1])
    assert.match(second.heads[0] ?? '', /if-range: "v1"/i)
  })

  test('another version of the same length: never a mixture, for the viewer or in the store', async t => {
    for (const ifRange of [true, false]) {
      const { viewer, stored } = await run(t, await breaking(t, ['etag: "v1"']), await ranged(t, OTHER, ['etag: "v2"'], { ifRange }))
      assert.deepEqual([viewer?.equals(BODY), viewer?.equals(OTHER), stored], [undefined, undefined, 0])
    }
  })

  test('another tag or a weak one of the same bytes: the object starts over and is compared with what is here', async t => {
    for (const [a, b] of [['"v1"', '"v2"'], ['W/"v1"', 'W/"v1"'], ['"v1"', undefined]] as const) {
      for (const ifRange of [true, false]) {
        const { viewer, stored } = await run(t, await breaking(t, [`etag: ${a}`]), await ranged(t, BODY, b === undefined ? [] : [`etag: ${b}`], { ifRange }))
        assert.ok(viewer?.equals(BODY), `${a} ${String(b)}`)
        assert.equal(stored, 1)
      }
    }
  })

  test('another length or another digest: never a mixture', async t => {
    for (const fields of [[], [`repr-digest: ${digestLine(BODY, 'sha256')}`]]) {
      const other = fields.length === 0 ? OTHER.subarray(1) : OTHER
      const { viewer, stored } = await run(t, await breaking(t, fields), await ranged(t, other, fields.length === 0 ? [] : [`repr-digest: ${digestLine(OTHER, 'sha256')}`]))
      assert.deepEqual([viewer, stored], [undefined, 0])
    }
  })

  test('a node with another version is not held to be sick', async t => {
    const [first, second] = [await breaking(t, ['etag: "v1"']), await ranged(t, OTHER, ['etag: "v2"'])]
    const { upstream, attempts } = setUp(t, [first, second], { region: () => 'EU-WEST', fitness: fitness(60_000, 60_000) })
    const hash = createHash('sha256')
    const object = await upstream.fetch(KEY, patient(), { soFar: () => hash.copy().digest('hex') })
    await assert.rejects(async () => {
      for await (const chunk of object.body) {
        hash.update(chunk)
        first.breakOff()
      }
    }, (error: unknown) => { object.failed(error); return true })
    assert.ok(outcomes(attempts).includes('version'), attempts.join())
    assert.deepEqual(upstream.status().map(({ state }) => state), ['open', 'up'])
    assert.notEqual(sha256(BODY), sha256(OTHER))
  })
})

suite('names that do not exist', () => {
  const without = async (t: TestContext): Promise<RawOrigin> => await rawOrigin(t, ({ socket }) => { socket.write(response('', [], '404 Not Found')) })

  test('two nodes that say 404 are enough once the searches of a calm time are used up', async t => {
    const nodes = await Promise.all(Array.from({ length: 6 }, async () => await without(t)))
    let now = 0
    const { upstream } = setUp(t, nodes, { clock: { now: () => now, monotonic: () => now }, negativeTtlMs: 1_000 })
    const asked = (): number => nodes.reduce((sum, { heads }) => sum + heads.length, 0)
    for (let n = 0; n < 5; n++) await assert.rejects(upstream.fetch(key(n), patient()), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    assert.equal(asked(), 30, 'the first searches go on to every node')
    for (let n = 5; n < 105; n++) await assert.rejects(upstream.fetch(key(n), patient()), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    assert.equal(asked(), 30 + 200)
    await assert.rejects(upstream.fetch(key(104), patient()), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    assert.equal(asked(), 230, 'a name is remembered')
    now = 60_000
    await assert.rejects(upstream.fetch(key(200), patient()), { code: 'RELAY_ERR_SHARD_NOT_FOUND' })
    assert.equal(asked(), 236)
  })

  test('objects that only the last node has are found for ever, and beside a failure everybody is asked', async t => {
    const [a, b] = [await without(t), await without(t)]
    const last = await rawOrigin(t, ({ socket }) => { socket.write(response('ok')) }, 'APAC')
    const { upstream } = setUp(t, [a, b, last], { region: () => 'NA-WEST', clock: { now: () => 0, monotonic: () => 0 } })
    for (let n = 0; n < 100; n++) assert.equal(String(await receive(await upstream.fetch(key(n), patient()))), 'ok')
    assert.equal(a.heads.length + b.heads.length, 200)
  })
})

suite('nodes that speak another protocol are named', () => {
  const cases: [name: string, answer: Buffer, detail: RegExp][] = [
    ['TLS where plain was expected', Buffer.from([21, 3, 3, 0, 2, 2, 70]), /answers with TLS: its URL should begin with https/],
    ['HTTP/2 only', Buffer.from('000006040000000000000300000064', 'hex'), /speaks HTTP\/2 only/],
    ['no HTTP at all', Buffer.from('220 smtp ready\r\n'), /does not answer with HTTP\/1\.1: .* in "220 smtp/]
  ]
  for (const [name, answer, detail] of cases) {
    test(name, async t => {
      const url = `http://${await listenRaw(t, createServer(socket => { socket.once('data', () => { socket.end(answer) }) }))}`
      const { upstream, logs, attempts } = setUp(t, [{ url, region: 'APAC' }])
      await assert.rejects(upstream.fetch(KEY, patient()), { code: 'RELAY_ERR_UPSTREAM_PROTOCOL' })
      assert.ok(logs.some(line => line.startsWith('warn super-node failed') && detail.test(line.replaceAll('\\"', '"'))), logs.join('\n'))
      assert.deepEqual(outcomes(attempts), ['protocol'])
    })
  }
})

/** A viewer that has the beginning of its answer. It leaves by RST: FIN alone may come from one that has only closed its half. */
async function viewerOf (t: TestContext, viewerUrl: string, path: string): Promise<Socket> {
  const { hostname, port, host } = new URL(viewerUrl)
  const socket = connect(Number(port), hostname)
  t.after(() => { socket.destroy() })
  socket.on('error', () => {})
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
  await once(socket, 'data')
  return socket
}

suite('a node that drips', () => {
  /** Sends the first byte of a long body and then one whenever it is told to. */
  const dripping = async (t: TestContext): Promise<RawOrigin & { sockets: Set<Socket> }> => {
    const sockets = new Set<Socket>()
    const node = await rawOrigin(t, ({ socket, path }) => {
      if (!path.includes('/drip')) {
        socket.write(response(BODY))
        return
      }
      sockets.add(socket)
      socket.once('close', () => { sockets.delete(socket) })
      socket.write(response(BODY).subarray(0, -BODY.length + 1))
    })
    return { ...node, sockets }
  }

  test('is given up when its body comes too slowly, and the rest comes from another', async t => {
    const slow = await rawOrigin(t, ({ socket }) => {
      const bytes = response(BODY)
      let at = bytes.length - BODY.length + 1
      socket.write(bytes.subarray(0, at))
      const timer = setInterval(() => { socket.write(bytes.subarray(at, ++at)) }, 10)
      socket.once('close', () => { clearInterval(timer) })
    }, 'EU-WEST')
    const good = await rawOrigin(t, ({ socket }) => { socket.write(response(BODY)) }, 'APAC')
    const { upstream, attempts } = setUp(t, [slow, good], { region: () => 'EU-WEST', bodyTimeoutMs: 400, leastBodyBps: 65_536 })
    assert.ok((await receive(await upstream.fetch(KEY, patient()))).equals(BODY))
    assert.deepEqual(outcomes(attempts), ['ok', 'timeout', 'ok', 'ok'])
    // Its pause may be over on a slow machine.
    assert.match(upstream.status()[0]?.state ?? '', /^(?:open|probing)$/)
  })

  test('holds no connection for viewers who are gone while others need one; what is wanted stays; a sound node is not blamed', async t => {
    const node = await dripping(t)
    const { viewerUrl, relay } = await startRelay(t, [configured(node)], { upstream: { connections_per_node: 8, body_timeout_ms: 600_000, first_byte_timeout_ms: 5_000, headers_timeout_ms: 600_000, health_interval_ms: 100 } })
    const viewers = await Promise.all(Array.from({ length: 8 }, async (_, n) => await viewerOf(t, viewerUrl, `/shards/drip${n}/shard_0.bin`)))
    for (const socket of viewers.slice(1)) socket.resetAndDestroy()
    await until(() => relay.admin.shards.unwantedFills === 7)
    for (let n = 0; n < 20; n++) {
      const answer = await request(`${viewerUrl}/shards/sound${n}/shard_0.bin`)
      assert.deepEqual([answer.statusCode, Buffer.from(await answer.body.arrayBuffer()).equals(BODY)], [200, true])
    }
    assert.ok(node.sockets.size >= 1)
    const [status] = relay.admin.upstream.status()
    assert.deepEqual([status?.state, status?.failures], ['up', 0])
  })

  test('that holds every connection for viewers who wait: the others are refused, health checks pass, and the node is not blamed for our queue', async t => {
    const node = await dripping(t)
    const { upstream, attempts, healthFailures } = setUp(t, [node], { connectionsPerNode: 2, firstByteTimeoutMs: 300, headersTimeoutMs: 600_000, bodyTimeoutMs: 600_000, health: { intervalMs: 20, timeoutMs: 5_000 }, hedge: { minMs: 20, maxMs: 100, budget: 0, burst: 20, maxParallel: 3 } })
    const abort = new AbortController()
    for (const cid of ['drip1', 'drip2']) await upstream.fetch({ cid, part: 0 }, abort.signal)
    for (let n = 0; n < 5; n++) await assert.rejects(upstream.fetch(key(n), patient()), { code: 'RELAY_ERR_UPSTREAM_TIMEOUT' })
    assert.deepEqual(outcomes(attempts), ['ok', 'ok', 'aborted', 'aborted', 'aborted', 'aborted', 'aborted'])
    assert.deepEqual([upstream.status()[0]?.state, healthFailures], ['up', []])
    abort.abort(new Error('over'))
  })

  test('fills that nobody waits for make room where all places are taken', async t => {
    const node = await dripping(t)
    const { viewerUrl, relay } = await startRelay(t, [configured(node)], { upstream: { max_fills: 4, body_timeout_ms: 600_000 } })
    const viewers = await Promise.all(Array.from({ length: 4 }, async (_, n) => await viewerOf(t, viewerUrl, `/shards/drip${n}/shard_0.bin`)))
    const refused = await request(`${viewerUrl}/shards/sound/shard_0.bin`)
    assert.deepEqual([refused.statusCode, (await refused.body.json() as { code: string }).code], [503, 'RELAY_ERR_FILLS_BUSY'])
    for (const socket of viewers) socket.resetAndDestroy()
    await until(() => relay.admin.shards.unwantedFills === 4)
    const answer = await request(`${viewerUrl}/shards/sound/shard_0.bin`)
    assert.deepEqual([answer.statusCode, Buffer.from(await answer.body.arrayBuffer()).equals(BODY)], [200, true])
    await until(() => relay.admin.shards.fills <= 4)
  })
})

test('three relays in a circle, each with an origin that does not have the object: 404', async t => {
  const ports = await Promise.all([0, 1, 2].map(async () => await freePort()))
  const relays = await Promise.all(ports.map(async (port, n) => {
    const node = await rawOrigin(t, ({ socket }) => { socket.write(response('', [], '404 Not Found')) }, 'APAC')
    const next = { url: `http://127.0.0.1:${ports[(n + 1) % 3] ?? 0}`, region: 'NA-WEST' }
    return await startRelay(t, [next, configured(node)], { viewer: { port }, region: { override: 'NA-WEST' }, upstream: { relay_id: `r${n}`, headers_timeout_ms: 600_000, first_byte_timeout_ms: 600_000 } })
  }))
  for (const [n, { viewerUrl }] of relays.entries()) {
    const answer = await request(`${viewerUrl}/shards/circle${n}/shard_0.bin`)
    assert.deepEqual([answer.statusCode, (await answer.body.json() as { code: string }).code], [404, 'RELAY_ERR_SHARD_NOT_FOUND'])
  }
})
