import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import fc from 'fast-check'
import { FaultsError, parseFaults, planFaults, seededRandom, type Faults } from '../../../demo/super-node/faults.ts'
import { verifyManifest, type Manifest } from '../../../demo/super-node/manifest.ts'
import { startSuperNode, syntheticShard, type SuperNode, type SuperNodeOptions, type SuperNodeStats } from '../../../demo/super-node/server.ts'
import { reconstructShards } from '../../../demo/super-node/erasure.ts'
import { runToEnd, spawnProgram, SUPER_NODE } from '../../../tools/harness/processes.ts'

const CLIP = 'demo/media/clip.webm'
const CID = 'syn-1000-test'
const SHARD = `/shards/${CID}/shard_3.bin`
const TRUE_BYTES = syntheticShard(CID, 3)

async function start (t: TestContext, options: SuperNodeOptions = {}): Promise<SuperNode> {
  const node = await startSuperNode(options)
  t.after(() => node.close())
  return node
}

function sha256 (bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function digestOf (bytes: Uint8Array): string {
  return `sha-256=:${sha256(bytes).toString('base64')}:`
}

async function bytesOf (response: Response): Promise<Buffer> {
  return Buffer.from(await response.arrayBuffer())
}

async function get (node: SuperNode, path: string, headers: Record<string, string> = {}): Promise<{ status: number, headers: Headers, bytes: Buffer }> {
  const response = await fetch(node.url + path, { headers })
  return { status: response.status, headers: response.headers, bytes: await bytesOf(response) }
}

async function control (node: SuperNode, action: string, body?: unknown): Promise<{ status: number, answer: unknown }> {
  const response = await fetch(`${node.url}/_demo/${action}`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body ?? null) })
  return { status: response.status, answer: await response.json() }
}

/** Sends a request over a bare socket: what arrived, and whether the peer ended it; `enough` ends the wait from this side. */
async function raw (node: SuperNode, path: string, enough = (_received: Buffer): boolean => false): Promise<{ received: Buffer, endedByPeer: boolean }> {
  const socket = connect(node.port, '127.0.0.1')
  const pieces: Buffer[] = []
  socket.write(`GET ${path} HTTP/1.1\r\nhost: test\r\n\r\n`)
  const endedByPeer = await new Promise<boolean>(resolve => {
    socket.on('data', piece => {
      pieces.push(piece)
      if (enough(Buffer.concat(pieces))) resolve(false)
    })
    socket.once('close', () => resolve(true))
    socket.once('error', () => resolve(true))
  })
  socket.destroy()
  return { received: Buffer.concat(pieces), endedByPeer }
}

function bodyOf (received: Buffer): Buffer {
  return received.subarray(received.indexOf('\r\n\r\n') + 4)
}

test('a media file is served as 14 shards and a signed manifest that fit each other', async t => {
  const node = await start(t, { media: [CLIP] })
  const [item] = node.catalog
  assert.ok(item)
  assert.equal(item.contentType, 'video/webm; codecs="vp9,opus"')
  const answer = await get(node, `/shards/${item.cid}/manifest.json`)
  assert.equal(answer.headers.get('content-type'), 'application/json')
  assert.equal(answer.headers.get('repr-digest'), digestOf(answer.bytes))
  const manifest = JSON.parse(answer.bytes.toString()) as Manifest
  assert.deepEqual(verifyManifest(manifest), { ok: true })
  assert.equal(item.cid, `demo-${manifest.sha256.slice(0, 32)}`)
  const shards: Buffer[] = []
  for (const entry of manifest.shards) {
    const shard = await get(node, `/shards/${item.cid}/shard_${String(entry.index).padStart(2, '0')}.bin`)
    assert.equal(shard.status, 200)
    assert.equal(shard.headers.get('content-length'), String(entry.size))
    assert.equal(shard.headers.get('repr-digest'), digestOf(shard.bytes))
    assert.equal(shard.headers.get('etag'), `"sha256-${entry.sha256}"`)
    assert.equal(sha256(shard.bytes).toString('hex'), entry.sha256)
    shards.push(shard.bytes)
  }
  const whole = Buffer.concat(shards.slice(0, 10)).subarray(0, manifest.size)
  assert.equal(sha256(whole).toString('hex'), manifest.sha256)
})

test('two nodes give the same manifest bytes', async t => {
  const nodes = await Promise.all([start(t, { media: [CLIP], region: 'NA-WEST' }), start(t, { media: [CLIP], region: 'APAC' })])
  for (const path of [`/shards/${nodes[0].catalog[0]?.cid}/manifest.json`, `/shards/${CID}/manifest.json`]) {
    const [a, b] = await Promise.all(nodes.map(node => get(node, path)))
    assert.equal(a?.status, 200)
    assert.deepEqual(a.bytes, b?.bytes)
  }
})

test('a synthetic video needs no registration, and its parity repairs its data', async t => {
  const node = await start(t)
  const manifest = JSON.parse((await get(node, `/shards/${CID}/manifest.json`)).bytes.toString()) as Manifest
  assert.deepEqual(verifyManifest(manifest), { ok: true })
  const shards = await Promise.all(manifest.shards.map(async ({ index }) => (await get(node, `/shards/${CID}/shard_${index}.bin`)).bytes))
  for (const [index, shard] of shards.entries()) {
    assert.deepEqual(shard, syntheticShard(CID, index))
    assert.equal(sha256(shard).toString('hex'), manifest.shards[index]?.sha256)
  }
  assert.equal(sha256(Buffer.concat(shards.slice(0, 10))).toString('hex'), manifest.sha256)
  assert.deepEqual(reconstructShards(shards.map((shard, index) => index < 4 ? undefined : shard)), shards)
})

test('synthetic shards differ by CID and index', () => {
  const seen = new Set<string>()
  for (const cid of ['syn-64-a', 'syn-64-b']) for (let index = 0; index < 14; index++) seen.add(syntheticShard(cid, index).toString('hex'))
  assert.equal(seen.size, 28)
})

test('what a node does not have is 404', async t => {
  const node = await start(t, { media: [CLIP] })
  const paths = ['/', '/shards/', '/shards/nothing/shard_0.bin', `/shards/${CID}/shard_14.bin`, `/shards/${CID}/shard_003.bin`, '/shards/syn-0-a/shard_0.bin',
    '/shards/syn-33554433-a/shard_0.bin', '/shards/syn-100/shard_0.bin', `/shards/syn-9-${'a'.repeat(123)}/shard_0.bin`, '/shards/..%2f/shard_0.bin', '/_demo/nothing']
  for (const path of paths) assert.equal((await get(node, path)).status, 404, path)
  const post = await fetch(node.url + SHARD, { method: 'POST' })
  assert.equal(post.status, 405)
  assert.equal(post.headers.get('allow'), 'GET, HEAD')
})

test('health names the region, recent lists media newest first', async t => {
  const node = await start(t, { media: [CLIP, 'demo/media/make-clip.sh'], region: 'LATAM', id: 'node-7' })
  const health = await get(node, '/health')
  assert.deepEqual(JSON.parse(health.bytes.toString()), { status: 'ok', region: 'LATAM' })
  assert.equal(health.headers.get('x-super-node'), 'node-7')
  const { items } = JSON.parse((await get(node, '/recent')).bytes.toString()) as { items: Array<{ cid: string, publishedAt: string, tags: string[] }> }
  assert.equal(items.length, 2)
  assert.ok((items[0]?.publishedAt ?? '') >= (items[1]?.publishedAt ?? ''))
  assert.deepEqual(Object.keys(items[0] ?? {}), ['cid', 'publishedAt', 'tags'])
  const etag = (await get(node, '/recent')).headers.get('etag') ?? ''
  assert.deepEqual([(await get(node, '/recent', { 'if-none-match': etag })).status, (await get(node, '/recent', { 'if-none-match': '"other"' })).status], [304, 200])
})

test('HEAD has the headers of GET and no body', async t => {
  const node = await start(t)
  const response = await fetch(node.url + SHARD, { method: 'HEAD', headers: { range: 'bytes=0-9' } })
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-length'), '1000')
  assert.equal(response.headers.get('repr-digest'), digestOf(TRUE_BYTES))
  assert.equal((await bytesOf(response)).length, 0)
})

test('one range gives 206 with the digest of the whole', async t => {
  const node = await start(t)
  const cases: Array<[string, number, number]> = [['0-0', 0, 1], ['0-99', 0, 100], ['990-', 990, 1000], ['500-5000', 500, 1000], ['-10', 990, 1000], ['-5000', 0, 1000]]
  for (const [range, from, to] of cases) {
    const answer = await get(node, SHARD, { range: `bytes=${range}` })
    assert.equal(answer.status, 206, range)
    assert.equal(answer.headers.get('content-range'), `bytes ${from}-${to - 1}/1000`)
    assert.equal(answer.headers.get('content-length'), String(to - from))
    assert.equal(answer.headers.get('repr-digest'), digestOf(TRUE_BYTES))
    assert.deepEqual(answer.bytes, TRUE_BYTES.subarray(from, to))
  }
})

test('a range out of reach is 416, one that is not a range is ignored, if-range guards', async t => {
  const node = await start(t)
  for (const range of ['bytes=1000-', 'bytes=5000-6000', 'bytes=-0']) {
    const answer = await get(node, SHARD, { range })
    assert.equal(answer.status, 416, range)
    assert.equal(answer.headers.get('content-range'), 'bytes */1000')
  }
  for (const range of ['bytes=9-3', 'bytes=-', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=a-b']) assert.equal((await get(node, SHARD, { range })).status, 200, range)
  const etag = `"sha256-${sha256(TRUE_BYTES).toString('hex')}"`
  assert.equal((await get(node, SHARD, { range: 'bytes=0-9', 'if-range': etag })).status, 206)
  assert.equal((await get(node, SHARD, { range: 'bytes=0-9', 'if-range': '"other"' })).status, 200)
})

test('statistics count requests, paths, bytes and sockets, and reset to zero', async t => {
  const node = await start(t, { faults: { latencyMs: 1 } })
  await get(node, SHARD)
  await get(node, `${SHARD}?again`)
  await get(node, '/health')
  const stats = JSON.parse((await get(node, '/_demo/stats')).bytes.toString()) as SuperNodeStats
  assert.deepEqual(stats, { requests: 2, byPath: { [SHARD]: 2, '/health': 1 }, openSockets: stats.openSockets, bytesSent: 2000 })
  assert.ok(stats.openSockets >= 1)
  node.setFaults({ status: 503 })
  assert.deepEqual(await control(node, 'reset'), { status: 200, answer: { faults: { latencyMs: 1 } } })
  assert.equal(node.stats().requests, 0)
  assert.deepEqual(node.stats().byPath, {})
  assert.equal((await get(node, SHARD)).status, 200)
})

test('the table of paths is bounded', async t => {
  const node = await start(t)
  const socket = connect(node.port, '127.0.0.1')
  socket.resume()
  for (let batch = 0; batch < 11; batch++) {
    let requests = ''
    for (let n = 0; n < 1000; n++) requests += `HEAD /x/${batch * 1000 + n} HTTP/1.1\r\nhost: t\r\n${batch === 10 && n === 999 ? 'connection: close\r\n' : ''}\r\n`
    socket.write(requests)
  }
  await once(socket, 'close')
  assert.equal(node.stats().requests, 11_000)
  assert.equal(Object.keys(node.stats().byPath).length, 10_000)
})

test('latency and jitter delay the first byte', async t => {
  const node = await start(t, { random: () => 0.5 })
  node.setFaults({ latencyMs: 60, jitterMs: 40 })
  const from = performance.now()
  await get(node, SHARD)
  assert.ok(performance.now() - from >= 79)
})

test('status and notFound replace every answer until the faults are cleared', async t => {
  const node = await start(t)
  assert.equal((await control(node, 'faults', { status: 503 })).status, 200)
  assert.equal((await get(node, SHARD)).status, 503)
  assert.equal((await get(node, '/health')).status, 503)
  await control(node, 'faults', { notFound: true })
  assert.equal((await get(node, SHARD)).status, 404)
  await control(node, 'faults', {})
  assert.deepEqual((await get(node, SHARD)).bytes, TRUE_BYTES)
})

test('match limits the faults to some paths', async t => {
  const node = await start(t, { faults: { status: 500, match: 'shard_3' } })
  assert.equal((await get(node, SHARD)).status, 500)
  assert.equal((await get(node, '/health')).status, 200)
})

test('failRate fails its share, the same way for the same seed', async t => {
  const node = await start(t)
  const round = async (): Promise<number[]> => {
    node.setFaults({ failRate: 0.3, seed: 42 })
    const statuses: number[] = []
    for (let n = 0; n < 60; n++) statuses.push((await get(node, SHARD)).status)
    return statuses
  }
  const first = await round()
  const failed = first.filter(status => status === 500).length
  assert.ok(failed > 6 && failed < 32, `${failed} of 60`)
  assert.deepEqual(await round(), first)
})

test('hang accepts and never answers; close() ends it immediately', async t => {
  const node = await start(t, { faults: { hang: true } })
  const request = raw(node, SHARD)
  while (node.stats().requests === 0) await new Promise(resolve => setImmediate(resolve))
  await node.close()
  const { received, endedByPeer } = await request
  assert.equal(received.length, 0)
  assert.ok(endedByPeer)
})

test('a peer that leaves during a long delay leaves nothing behind', async t => {
  const node = await start(t, { faults: { latencyMs: 600_000 } })
  await assert.rejects(fetch(node.url + SHARD, { signal: AbortSignal.timeout(50) }))
  while (node.stats().openSockets > 0) await new Promise(resolve => setImmediate(resolve))
})

test('corrupt flips one bit and keeps the true digest', async t => {
  const node = await start(t, { faults: { corrupt: true } })
  for (const range of [undefined, 'bytes=100-299']) {
    const answer = await get(node, SHARD, range === undefined ? {} : { range })
    const truth = range === undefined ? TRUE_BYTES : TRUE_BYTES.subarray(100, 300)
    assert.equal(answer.headers.get('repr-digest'), digestOf(TRUE_BYTES))
    assert.equal(answer.bytes.length, truth.length)
    assert.equal(answer.bytes.filter((byte, at) => byte !== truth[at]).length, 1)
  }
  node.setFaults({})
  assert.deepEqual((await get(node, SHARD)).bytes, TRUE_BYTES, 'the stored bytes stay whole')
})

test('truncateAtBytes ends the connection after exactly that many body bytes', async t => {
  const node = await start(t)
  for (const count of [0, 1, 400, 999]) {
    node.setFaults({ truncateAtBytes: count })
    const { received, endedByPeer } = await raw(node, SHARD)
    assert.ok(endedByPeer)
    assert.match(received.toString('latin1'), /^HTTP\/1.1 200 OK\r\n/)
    assert.deepEqual(bodyOf(received), TRUE_BYTES.subarray(0, count))
    await assert.rejects(get(node, SHARD))
  }
  node.setFaults({ truncateAtBytes: 1000 })
  assert.deepEqual((await get(node, SHARD)).bytes, TRUE_BYTES)
})

test('a large body is cut at the byte too', async t => {
  const node = await start(t, { faults: { truncateAtBytes: 3_000_000 } })
  const { received } = await raw(node, '/shards/syn-8000000-big/shard_0.bin')
  assert.ok(bodyOf(received).equals(syntheticShard('syn-8000000-big', 0).subarray(0, 3_000_000)))
})

test('stallAtBytes stops and leaves the socket open', async t => {
  const node = await start(t, { faults: { stallAtBytes: 300 } })
  const { received, endedByPeer } = await raw(node, SHARD, bytes => bytes.includes('\r\n\r\n') && bodyOf(bytes).length >= 300)
  assert.equal(endedByPeer, false)
  assert.equal(bodyOf(received).length, 300)
})

test('bytesPerSecond paces the body', async t => {
  const node = await start(t, { faults: { bytesPerSecond: 5000 } })
  const from = performance.now()
  assert.deepEqual((await get(node, SHARD)).bytes, TRUE_BYTES)
  const took = performance.now() - from
  assert.ok(took >= 170, `${took} ms for 0.2 s worth of bytes`)
})

test('noDigest, wrongDigest and noContentLength change the headers, not the body', async t => {
  const node = await start(t)
  const cases: Array<[Faults, (headers: Headers) => void]> = [
    [{ noDigest: true }, headers => assert.equal(headers.get('repr-digest'), null)],
    [{ wrongDigest: true }, headers => assert.match(headers.get('repr-digest') ?? '', /^sha-256=:[A-Za-z0-9+/]{43}=:$/)],
    [{ wrongDigest: true }, headers => assert.notEqual(headers.get('repr-digest'), digestOf(TRUE_BYTES))],
    [{ noContentLength: true }, headers => {
      assert.equal(headers.get('content-length'), null)
      assert.equal(headers.get('transfer-encoding'), 'chunked')
    }]
  ]
  for (const [faults, check] of cases) {
    node.setFaults(faults)
    const answer = await get(node, SHARD)
    check(answer.headers)
    assert.deepEqual(answer.bytes, TRUE_BYTES)
  }
})

test('bad faults are refused with a reason and change nothing', async t => {
  const node = await start(t, { faults: { status: 503 } })
  const cases: Array<[unknown, RegExp]> = [
    [{ failRate: 1.5 }, /failRate.*<= 1/], [{ latencyMs: -1 }, /latencyMs/], [{ latencyMs: '5' }, /latencyMs.*number/], [{ hang: 1 }, /hang.*boolean/],
    [{ status: 99 }, /status/], [{ truncateAtBytes: 1.5 }, /truncateAtBytes.*integer/], [{ bytesPerSecond: 0 }, /bytesPerSecond/], [{ match: '' }, /match/],
    [{ speed: 1 }, /unknown fault "speed"; known are match /], [[], /faults must be object/], [null, /object/], ['{', /not JSON/], ['x'.repeat(70_000), /exceeds 65536 bytes/]
  ]
  for (const [faults, reason] of cases) {
    const { status, answer } = await control(node, 'faults', faults)
    assert.equal(status, 400)
    assert.match((answer as { error: string }).error, reason)
  }
  assert.equal((await get(node, SHARD)).status, 503)
  assert.throws(() => { node.setFaults({ failRate: 2 }) }, FaultsError)
})

test('any JSON is either faults or a FaultsError, and a plan keeps its bounds', () => {
  fc.assert(fc.property(fc.jsonValue(), value => {
    try { parseFaults(value) } catch (error) { assert.ok(error instanceof FaultsError) }
  }))
  const faults = fc.record({
    latencyMs: fc.nat(1000), jitterMs: fc.nat(1000), delayRate: fc.double({ min: 0, max: 1, noNaN: true }), delayMs: fc.nat(1000), failRate: fc.constantFrom(0, 1), match: fc.constantFrom('a', 'b')
  }, { requiredKeys: [] })
  fc.assert(fc.property(faults, fc.nat(), (sample, seed) => {
    const plan = planFaults(parseFaults(sample), '/a', seededRandom(seed))
    const applies = sample.match !== 'b'
    const most = (sample.latencyMs ?? 0) + (sample.jitterMs ?? 0) + (sample.delayMs ?? 0)
    assert.ok(plan.waitMs >= (applies ? sample.latencyMs ?? 0 : 0) && plan.waitMs <= (applies ? most : 0))
    assert.equal(plan.status, applies && sample.failRate === 1 ? 500 : undefined)
  }))
})

test('hangRate and delayRate hit their share of requests and spare the rest', () => {
  const dice = (hang: number, delay: number): (() => number) => {
    const throws = [hang, 0, delay, 0]
    return () => throws.shift() ?? 0
  }
  const faults = parseFaults({ hangRate: 0.2, delayRate: 0.5, delayMs: 300 })
  assert.equal(planFaults(faults, '/a', dice(0.19, 0.9)).hang, true)
  assert.equal(planFaults(faults, '/a', dice(0.2, 0.9)).hang, false)
  assert.equal(planFaults(faults, '/a', dice(0.9, 0.49)).waitMs, 300)
  assert.equal(planFaults(faults, '/a', dice(0.9, 0.5)).waitMs, 0)
})

test('parallel requests for parity get the same bytes', async t => {
  const node = await start(t)
  const cid = 'syn-200000-parallel'
  const bodies = await Promise.all(Array.from({ length: 20 }, (_, n) => get(node, `/shards/${cid}/shard_${10 + n % 4}.bin`)))
  for (const [n, { bytes }] of bodies.entries()) assert.ok(bytes.equals(syntheticShard(cid, 10 + n % 4)))
})

test('wrong flags are one clear line and exit 1', async t => {
  const node = await start(t)
  const cases: Array<[string[], RegExp]> = [
    [['--port', '70000'], /^super-node: --port must be an integer from 0 to 65535, not "70000"\n$/], [['--prot', '1'], /^super-node: Unknown option '--prot'.*\n$/],
    [['--faults', '{'], /^super-node: --faults is not JSON\n$/], [['--faults', '{"hang":3}'], /^super-node: fault "hang" must be boolean\n$/],
    [['--media', '/nothing.webm', '--port', '0'], /^super-node: ENOENT.*nothing.webm'\n$/], [['--port', String(node.port)], /^super-node: port \d+ on 127.0.0.1 is in use\n$/]
  ]
  await Promise.all(cases.map(async ([args, line]) => {
    const { code, stdout, stderr } = await runToEnd(SUPER_NODE, args)
    assert.match(stderr, line)
    assert.equal(code, 1)
    assert.equal(stdout, '')
  }))
})

test('the program says where it listens and exits 0 on SIGTERM, a hanging request notwithstanding', async t => {
  const args = ['--port', '0', '--region', 'APAC', '--media', CLIP, '--faults', '{"hang":true,"match":"shard"}', '--latency-ms', '1']
  const node = spawnProgram(t, SUPER_NODE, args)
  const ready = await node.waitFor(({ event }) => event === 'listening') as unknown as { url: string, region: string, items: unknown[] }
  assert.equal(ready.region, 'APAC')
  assert.equal(ready.items.length, 1)
  assert.equal((await fetch(`${ready.url}/health`)).status, 200)
  const hanging = assert.rejects(fetch(ready.url + SHARD))
  node.child.kill('SIGTERM')
  assert.deepEqual(await node.exit, { code: 0, signal: null })
  await hanging
})
