/** A browser without any library of ours against a real relay and a real super-node: the wire contract as Chromium sees it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { request } from 'undici'
import { CLOSE_CODE } from '../../src/wire/stream-codes.ts'
import { openBrowser } from '../support/browser.ts'
import { withoutChromium } from '../support/ci.ts'
import { fetchHashed, metric, until } from '../support/http.ts'
import { SUPER_NODE, spawnProgram, spawnRelay, type SpawnedRelay } from '../support/processes.ts'

const MB = 1_000_000

/** Runs in the page; text, because Node has no types for it. */
const HELPERS = `
const hex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, '0')).join('')
globalThis.digest = async bytes => hex(await crypto.subtle.digest('SHA-256', bytes))
globalThis.discover = async relay => (await (await fetch(relay + '/v1/transport')).json()).webtransport
globalThis.connect = async webtransport => {
  const serverCertificateHashes = webtransport.certificateHashes.map(({ algorithm, value }) => ({ algorithm, value: Uint8Array.from(atob(value), char => char.charCodeAt(0)) }))
  const session = new WebTransport(webtransport.url, { serverCertificateHashes })
  await session.ready
  return session
}
globalThis.open = async (session, path, fields = {}) => {
  const stream = await session.createBidirectionalStream()
  const writer = stream.writable.getWriter()
  const head = ['GET ' + path + ' HTTP/1.1', ...Object.entries(fields).map(([name, value]) => name + ': ' + value), '', ''].join('\\r\\n')
  // A page that gives up its session closes no more streams: what counts is the answer.
  writer.write(new TextEncoder().encode(head)).then(() => writer.close()).catch(() => {})
  return stream.readable.getReader()
}
// Head and body apart; an error in the middle is part of the answer.
globalThis.ask = async (session, path, fields) => {
  const reader = await open(session, path, fields)
  const chunks = []
  let error
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
  } catch (thrown) {
    error = { name: thrown.name, source: thrown.source, code: thrown.streamErrorCode }
  }
  const all = new Uint8Array(await new Blob(chunks).arrayBuffer())
  const text = new TextDecoder('latin1').decode(all.subarray(0, 16384))
  const end = text.indexOf('\\r\\n\\r\\n')
  const [start = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\\r\\n')
  const headers = Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
  const body = all.subarray(end + 4)
  return { status: Number(start.split(' ')[1]), headers, bytes: body.length, sha256: await digest(body), text: body.length < 2000 ? new TextDecoder().decode(body) : '', error }
}
// Control messages of a session, as they come.
globalThis.listen = session => {
  const messages = []
  const read = async () => {
    const { value: stream } = await session.incomingUnidirectionalStreams.getReader().read()
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const lines = (rest + next.value).split('\\n')
      rest = lines.pop()
      for (const line of lines) messages.push(JSON.parse(line))
    }
  }
  read().catch(() => {})
  return messages
}
`

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: number
  readonly sha256: string
  /** The body, when it is short. */
  readonly text: string
  /** How the stream ended, when it did not end with FIN. */
  readonly error?: { readonly name: string, readonly source: string, readonly code: number }
}

interface Viewer { readonly id: string, readonly address: string, readonly transport: string, readonly streams: number, readonly streamsTotal: number, readonly bytes: number }

interface Rig {
  readonly relay: SpawnedRelay
  readonly origin: string
  readonly page: Page
  /** Replaces the faults of the super-node. */
  readonly faults: (faults: Record<string, unknown>) => Promise<void>
  readonly viewers: () => Promise<readonly Viewer[]>
  /** SHA-256 of an object at the super-node. */
  readonly truth: (path: string) => Promise<string>
  /** Evaluates the body of an async function in which `session` is a new session. */
  readonly inSession: <T>(body: string) => Promise<T>
}

/** A page of another origin than the relay, as a site that embeds video would be. */
async function openSite (t: TestContext, page: Page): Promise<void> {
  const site = createServer((_request, response) => { response.setHeader('content-type', 'text/html').end('<!doctype html><title>site</title>') }).listen(0, '127.0.0.1')
  t.after(() => { site.close() })
  await once(site, 'listening')
  await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`)
  await page.evaluate(HELPERS)
}

async function openRig (t: TestContext): Promise<Rig> {
  const node = await spawnProgram(t, SUPER_NODE, ['--port', '0'])
  const origin = String((await node.waitFor(event => event['event'] === 'listening'))['url'])
  const relay = await spawnRelay(t, [{ url: origin, region: 'NA-WEST' }], { region: { override: 'NA-WEST' }, viewer: { websocket_port: 0 } })
  const page = await openBrowser(t)
  await openSite(t, page)
  return {
    relay,
    origin,
    page,
    faults: async faults => {
      const { statusCode, body } = await request(`${origin}/_demo/faults`, { method: 'POST', body: JSON.stringify(faults) })
      assert.equal(statusCode, 200, await body.text())
    },
    viewers: async () => (await (await request(`${relay.adminUrl}/admin/v1/viewers`)).body.json() as { viewers: Viewer[] }).viewers,
    truth: async path => (await fetchHashed(`${origin}${path}`)).sha256,
    inSession: async <T>(body: string): Promise<T> => await page.evaluate<T>(`(async () => {
      const session = await connect(await discover(${JSON.stringify(relay.viewerUrl)}))
      try {
        ${body}
      } finally {
        session.close()
      }
    })()`)
  }
}

const shard = (cid: string, index: number): string => `/shards/${cid}/shard_${String(index).padStart(2, '0')}.bin`

test('Chromium over WebTransport, against relay and super-node processes', { timeout: 300_000, skip: withoutChromium() }, async t => {
  const rig = await openRig(t)
  const { relay, inSession, truth, viewers, faults } = rig

  await t.test('the certificate hash of /v1/transport lets it in, another one does not', async () => {
    const found = await (await request(`${relay.viewerUrl}/v1/transport`)).body.json() as { webtransport: { url: string, certificateHashes: { algorithm: string, value: string }[] } }
    const hashes = found.webtransport.certificateHashes
    assert.ok(hashes.length >= 1)
    for (const { algorithm, value } of hashes) assert.deepEqual([algorithm, Buffer.from(value, 'base64').length], ['sha-256', 32])
    const outcome = await rig.page.evaluate<string>(`(async () => {
      const session = new WebTransport(${JSON.stringify(found.webtransport.url)}, { serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }] })
      session.closed.catch(() => {})
      return await session.ready.then(() => 'connected', error => error.name)
    })()`)
    assert.equal(outcome, 'WebTransportError')
    assert.equal(await inSession<string>("return 'connected'"), 'connected')
  })

  await t.test('an 8 MB shard arrives with the right SHA-256, from the super-node and from the cache', async () => {
    const path = shard(`syn-${8 * MB}-large`, 3)
    const [first, second] = await inSession<Answer[]>(`return [await ask(session, '${path}'), await ask(session, '${path}')]`)
    const expected = await truth(path)
    for (const [answer, cache] of [[first, /^icn-relay; fwd=/], [second, /^icn-relay; hit/]] as const) {
      assert.ok(answer)
      assert.deepEqual([answer.status, answer.bytes, answer.sha256, answer.error], [200, 8 * MB, expected, undefined])
      assert.equal(answer.headers['content-length'], `${8 * MB}`)
      assert.equal(answer.headers['etag'], `"sha256-${expected}"`)
      assert.match(answer.headers['cache-status'] ?? '', cache)
    }
  })

  await t.test('64 streams at once', async () => {
    const paths = Array.from({ length: 64 }, (_, index) => shard(`syn-100003-many${Math.floor(index / 14)}`, index % 14))
    const answers = await inSession<Answer[]>(`return await Promise.all(${JSON.stringify(paths)}.map(path => ask(session, path)))`)
    for (const [position, path] of paths.entries()) {
      const answer = answers[position]
      assert.deepEqual([answer?.status, answer?.bytes, answer?.sha256, answer?.error], [200, 100_003, await truth(path), undefined], path)
    }
  })

  await t.test('a range is 206, a known etag 304, a range beyond the end 416', async () => {
    const path = shard('syn-100003-many0', 0)
    const [part, tail, known, beyond] = await inSession<Answer[]>(`
      const { headers } = await ask(session, '${path}', { range: 'bytes=0-0' })
      return [
        await ask(session, '${path}', { range: 'bytes=1000-2999' }),
        await ask(session, '${path}', { range: 'bytes=-10' }),
        await ask(session, '${path}', { 'if-none-match': headers.etag }),
        await ask(session, '${path}', { range: 'bytes=100003-' })
      ]`)
    const whole = Buffer.from(await (await request(`${rig.origin}${path}`)).body.arrayBuffer())
    const sha256 = async (bytes: Buffer): Promise<string> => Buffer.from(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes))).toString('hex')
    assert.deepEqual([part?.status, part?.headers['content-range'], part?.bytes, part?.sha256], [206, 'bytes 1000-2999/100003', 2_000, await sha256(whole.subarray(1000, 3000))])
    assert.deepEqual([tail?.status, tail?.headers['content-range'], tail?.sha256], [206, 'bytes 99993-100002/100003', await sha256(whole.subarray(-10))])
    assert.deepEqual([known?.status, known?.bytes, known?.error], [304, 0, undefined])
    assert.deepEqual([beyond?.status, beyond?.headers['content-range']], [416, 'bytes */100003'])
  })

  await t.test('an unknown shard is the 404 of the contract, a bad address a 400, and the session lives on', async () => {
    const [unknown, outside, after] = await inSession<Answer[]>(`return [
      await ask(session, '${shard('nobody-has-this', 0)}'),
      await ask(session, '${shard('nobody-has-this', 14)}'),
      await ask(session, '${shard('syn-100003-many0', 0)}')
    ]`)
    assert.equal(unknown?.status, 404)
    assert.equal(unknown.headers['content-type'], 'application/problem+json')
    assert.equal(unknown.headers['content-length'], `${unknown.bytes}`)
    const problem = JSON.parse(unknown.text) as Record<string, unknown>
    assert.deepEqual([problem['code'], problem['status'], problem['type']], ['RELAY_ERR_SHARD_NOT_FOUND', 404, 'urn:icn-relay:error:RELAY_ERR_SHARD_NOT_FOUND'])
    assert.equal(outside?.status, 400)
    assert.match(outside.text, /"RELAY_ERR_[A-Z_]+"/)
    assert.deepEqual([after?.status, after?.bytes], [200, 100_003])
  })

  await t.test('the page may close its half of a stream that was answered before it did', async () => {
    const closings = await inSession<string[]>(`
      const ask = async (path, field) => {
        const stream = await session.createBidirectionalStream()
        const writer = stream.writable.getWriter()
        await writer.write(new TextEncoder().encode('GET ' + path + ' HTTP/1.1\\r\\n' + field + '\\r\\n'))
        const answer = await new Response(stream.readable).text()
        return answer.slice(9, 12) + ' ' + await writer.close().then(() => 'closed', error => String(error))
      }
      const all = []
      for (let round = 0; round < 10; round++) all.push(await ask('${shard('nobody-has-this', 0)}', ''), await ask('${shard('syn-100003-many0', 0)}', 'range: bytes=0-9\\r\\n'))
      return all`)
    assert.deepEqual(closings, Array.from({ length: 10 }, () => ['404 closed', '206 closed']).flat())
  })

  await t.test('a viewer that cancels in the middle gives its stream and lease back, and the session goes on', async () => {
    await faults({ match: 'cancelled', bytesPerSecond: 2 * MB })
    const result = await inSession<{ received: number, next: Answer }>(`
      const reader = await open(session, '${shard(`syn-${8 * MB}-cancelled`, 0)}')
      let received = 0
      while (received < 100000) received += (await reader.read()).value.length
      await reader.cancel()
      return { received, next: await ask(session, '${shard('syn-100003-many0', 1)}') }`)
    await faults({})
    assert.ok(result.received < 8 * MB)
    assert.deepEqual([result.next.status, result.next.bytes], [200, 100_003])
    await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_leases'), leases => leases === 0)
  })

  await t.test('a body that turns out corrupt or cannot be finished ends with a reset, never with FIN', async () => {
    // Cut off again and again: what is broken off once is asked for elsewhere, or here once more.
    for (const [label, fault] of [['corrupt', { corrupt: true }], ['truncated', { truncateAtBytes: MB }]] as const) {
      const path = shard(`syn-${8 * MB}-${label}`, 0)
      await faults({ match: label, bytesPerSecond: 16 * MB, ...fault })
      const { answer, next } = await inSession<{ answer: Answer, next: Answer }>(`return { answer: await ask(session, '${path}'), next: await ask(session, '${shard('syn-100003-many0', 2)}') }`)
      assert.equal(answer.status, 200, label)
      assert.equal(answer.error?.name, 'WebTransportError', label)
      assert.equal(answer.error.source, 'stream', label)
      assert.ok([1, 2].includes(answer.error.code), `${label}: code ${answer.error.code}`)
      assert.deepEqual([next.status, next.bytes], [200, 100_003], label)
      await faults({})
      // Nothing of the bad body was kept; the super-node may be in its pause after the failure.
      const good = await until(async () => await inSession<Answer>(`return await ask(session, '${path}')`), ({ status }) => status === 200)
      assert.deepEqual([good.bytes, good.sha256, good.error], [8 * MB, await truth(path), undefined], label)
    }
  })

  await t.test('the control stream says hello; the operator lists the viewer and disconnects it', async () => {
    await rig.page.evaluate(`(async () => {
      globalThis.kept = await connect(await discover(${JSON.stringify(relay.viewerUrl)}))
      globalThis.messages = listen(kept)
      globalThis.end = kept.closed.then(({ closeCode, reason }) => ({ closeCode, reason }), String)
      await ask(kept, '${shard('syn-100003-many0', 0)}')
    })()`)
    const [hello] = await until(async () => await rig.page.evaluate<Record<string, unknown>[]>('messages'), messages => messages.length > 0)
    assert.equal(hello?.['type'], 'hello')
    assert.equal(hello['region'], 'NA-WEST')
    assert.match(String(hello['version']), /^\d+\.\d+\.\d+/)
    const { maxStreams } = hello['limits'] as Record<string, number>
    assert.ok(maxStreams !== undefined && maxStreams >= 200)
    const [viewer, ...others] = await until(viewers, list => list.length === 1 && list[0]?.streams === 0)
    assert.ok(viewer)
    assert.deepEqual([others.length, viewer.transport, viewer.streamsTotal], [0, 'webtransport', 1])
    assert.match(viewer.address, /^127\.0\.0\.1:\d+$/)
    assert.ok(viewer.bytes >= 100_003)
    assert.equal((await request(`${relay.adminUrl}/admin/v1/viewers/${viewer.id}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).statusCode, 200)
    assert.deepEqual(await rig.page.evaluate('end'), { closeCode: 0, reason: 'disconnected by the operator' })
    await until(viewers, list => list.length === 0)
    assert.equal((await request(`${relay.adminUrl}/admin/v1/viewers/${viewer.id}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).statusCode, 404)
  })

  await t.test('a drain is announced, ends the session at its deadline, and keeps new ones out', async () => {
    await rig.page.evaluate(`(async () => {
      globalThis.road = await discover(${JSON.stringify(relay.viewerUrl)})
      globalThis.kept = await connect(road)
      globalThis.messages = listen(kept)
      globalThis.end = kept.closed.then(({ closeCode, reason }) => ({ closeCode, reason }), String)
    })()`)
    const alternates = ['https://other.example:9003']
    const { statusCode } = await request(`${relay.adminUrl}/admin/v1/drain`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ deadlineMs: 2_000, alternates }) })
    assert.equal(statusCode, 202)
    const messages = await until(async () => await rig.page.evaluate<Record<string, unknown>[]>('messages'), all => all.some(({ type }) => type === 'drain'))
    const drain = messages.find(({ type }) => type === 'drain')
    assert.deepEqual(drain?.['alternates'], alternates)
    assert.ok(Number(drain?.['deadlineMs']) <= 2_000)
    assert.deepEqual(await rig.page.evaluate('end'), { closeCode: CLOSE_CODE.drained, reason: 'drained' })
    assert.equal(await rig.page.evaluate("connect(road).then(() => 'connected', error => error.name)"), 'WebTransportError')
  })
})
