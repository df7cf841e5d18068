/** Chromium and Firefox, without any library of ours, against a relay and a super-node in processes of their own: the wire contract as browsers see it. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { CLOSE_CODE } from '../../src/protocol/stream-codes.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { startBrowserRig, type BrowserRig } from '../support/browser-rig.ts'
import { BROWSERS, type BrowserKind, type BrowserPage } from '../support/browsers.ts'
import { openSite, shard, type Answer } from '../support/viewer-page.ts'

const MB = 1_000_000
const CANCELLED = 10
/** Whether cancels find the credit of the connection used up depends on when they arrive. */
const CANCEL_ROUNDS = 5
/** For what takes a tenth of a second or one on a machine of its own; the faults it stands for take 14.7 and 60 s. */
const BOUND_MS = 8_000
const small = (index: number): string => shard('syn-100003-many0', index)

interface Scene extends BrowserRig {
  readonly page: BrowserPage
  readonly site: string
  /** Evaluates the body of an async function in which `session` is a new session. */
  readonly inSession: <T>(body: string) => Promise<T>
}

async function openScene (t: TestContext, kind: BrowserKind): Promise<Scene> {
  const [rig, browser, site] = await Promise.all([startBrowserRig(t), kind.start(t), openSite(t)])
  const page = await browser.newPage()
  await page.goto(site)
  return {
    ...rig,
    page,
    site,
    inSession: async body => await page.evaluate(`(async () => {
      const session = await connect(await discover(${JSON.stringify(rig.relay.viewerUrl)}))
      try {
        ${body}
      } finally {
        session.close()
      }
    })()`)
  }
}

for (const kind of BROWSERS) {
  test(`${kind.name} over WebTransport, against relay and super-node processes`, { timeout: 600_000, skip: kind.skip }, async t => {
    const { relay, origin, page, site, inSession, truth, viewers, faults } = await openScene(t, kind)

    await t.test('the certificate hash of /v1/transport lets it in, another one does not', async () => {
      const found = await (await request(`${relay.viewerUrl}/v1/transport`)).body.json() as { webtransport: { url: string, certificateHashes: { algorithm: string, value: string }[] } }
      const hashes = found.webtransport.certificateHashes
      assert.ok(hashes.length >= 1)
      for (const { algorithm, value } of hashes) assert.deepEqual([algorithm, Buffer.from(value, 'base64').length], ['sha-256', 32])
      const outcome = await page.evaluate<string>(`(async () => {
        const session = new WebTransport(${JSON.stringify(found.webtransport.url)}, { serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }] })
        session.closed.catch(() => {})
        return await session.ready.then(() => 'connected', error => error.name)
      })()`)
      assert.equal(outcome, 'WebTransportError')
      assert.equal(await inSession<string>("return 'connected'"), 'connected')
    })

    await t.test('an 8 MB shard arrives with the right SHA-256, from the super-node and from the cache', async () => {
      const path = shard(`syn-${8 * MB}-large`, 3)
      const [first] = await inSession<Answer[]>(`return [await ask(session, '${path}')]`)
      // The viewer has its last byte before the store has synced it.
      await until(async () => await metric(relay.adminUrl, 'icn_relay_cache_reserved_bytes'), bytes => bytes === 0)
      const [second] = await inSession<Answer[]>(`return [await ask(session, '${path}')]`)
      const expected = await truth(path)
      for (const [answer, cache] of [[first, /^icn-relay; fwd=/], [second, /^icn-relay; hit/]] as const) {
        assert.ok(answer)
        assert.deepEqual([answer.status, answer.bytes, answer.sha256, answer.error], [200, 8 * MB, expected, undefined])
        assert.equal(answer.headers['content-length'], `${8 * MB}`)
        assert.equal(answer.headers['etag'], `"sha256-${expected}"`)
        assert.match(answer.headers['cache-status'] ?? '', cache)
      }
    })

    await t.test('64 streams at the same time', async () => {
      const paths = Array.from({ length: 64 }, (_, index) => shard(`syn-100003-many${Math.floor(index / 14)}`, index % 14))
      const answers = await inSession<Answer[]>(`return await Promise.all(${JSON.stringify(paths)}.map(path => ask(session, path)))`)
      for (const [position, path] of paths.entries()) {
        const answer = answers[position]
        assert.deepEqual([answer?.status, answer?.bytes, answer?.sha256, answer?.error], [200, 100_003, await truth(path), undefined], path)
      }
    })

    await t.test('a range is 206, a known etag 304, a range beyond the end 416', async () => {
      const path = small(0)
      const [part, tail, known, beyond] = await inSession<Answer[]>(`
        const { headers } = await ask(session, '${path}', { range: 'bytes=0-0' })
        return [
          await ask(session, '${path}', { range: 'bytes=1000-2999' }),
          await ask(session, '${path}', { range: 'bytes=-10' }),
          await ask(session, '${path}', { 'if-none-match': headers.etag }),
          await ask(session, '${path}', { range: 'bytes=100003-' })
        ]`)
      const whole = Buffer.from(await (await request(`${origin}${path}`)).body.arrayBuffer())
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
        await ask(session, '${small(0)}')
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
        for (let round = 0; round < 10; round++) all.push(await ask('${shard('nobody-has-this', 0)}', ''), await ask('${small(0)}', 'range: bytes=0-9\\r\\n'))
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
        return { received, next: await ask(session, '${small(1)}') }`)
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
        const { answer, next } = await inSession<{ answer: Answer, next: Answer }>(`return { answer: await ask(session, '${path}'), next: await ask(session, '${small(2)}') }`)
        assert.equal(answer.status, 200, label)
        assert.notEqual(answer.error, undefined, label)
        const code = answer.error?.code
        if (code !== undefined) assert.deepEqual([answer.error?.name, answer.error?.source], ['WebTransportError', 'stream'], label)
        if (code !== undefined || kind.tellsResetCode) assert.ok([1, 2].includes(code ?? -1), `${label}: code ${code}`)
        assert.deepEqual([next.status, next.bytes], [200, 100_003], label)
        await faults({})
        // Nothing of the bad body was kept; the super-node may be in its pause after the failure.
        const good = await until(async () => await inSession<Answer>(`return await ask(session, '${path}')`), ({ status }) => status === 200)
        assert.deepEqual([good.bytes, good.sha256, good.error], [8 * MB, await truth(path), undefined], label)
      }
    })

    await t.test('the control stream says hello; the operator lists the viewer and disconnects it', async () => {
      await page.evaluate(`(async () => {
        globalThis.kept = await connect(await discover(${JSON.stringify(relay.viewerUrl)}))
        globalThis.messages = listen(kept)
        globalThis.end = kept.closed.then(({ closeCode, reason }) => ({ closeCode, reason }), String)
        await ask(kept, '${small(0)}')
      })()`)
      const [hello] = await until(async () => await page.evaluate<Record<string, unknown>[]>('messages'), messages => messages.length > 0)
      assert.equal(hello?.['type'], 'hello')
      assert.equal(hello['region'], 'NA-WEST')
      assert.match(String(hello['version']), /^\d+\.\d+\.\d+/)
      const { maxStreams } = hello['limits'] as Record<string, number>
      assert.ok(maxStreams !== undefined && maxStreams >= 200)
      const [viewer, ...others] = await until(viewers, list => list.length === 1 && list[0]?.streams === 0)
      assert.ok(viewer)
      assert.deepEqual([others.length, viewer.transport, viewer.streamsTotal], [0, 'webtransport', 1])
      assert.equal(viewer.address, '127.0.0.1')
      assert.ok(viewer.bytes >= 100_003)
      assert.equal((await request(`${relay.adminUrl}/admin/v1/viewers/${viewer.id}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).statusCode, 200)
      assert.deepEqual(await page.evaluate('end'), { closeCode: 0, reason: 'disconnected by the operator' })
      await until(viewers, list => list.length === 0)
      assert.equal((await request(`${relay.adminUrl}/admin/v1/viewers/${viewer.id}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).statusCode, 404)
    })

    await t.test('ten cancelled fetches of 6 MB do not keep the next one waiting', async t => {
      for (let round = 0; round < CANCEL_ROUNDS; round++) {
        const result = await inSession<{ received: number[], firstByteMs: number, head: string }>(`
          await ask(session, '${shard(`syn-${6 * MB}-cancelled`, 0)}')
          await ask(session, '${small(1)}')
          const begin = async path => {
            const { stream, writer, head } = await send(session, path)
            await writer.write(head)
            return { writer, reader: stream.readable.getReader() }
          }
          const received = await Promise.all(Array.from({ length: ${CANCELLED} }, async () => {
            const { writer, reader } = await begin('${shard(`syn-${6 * MB}-cancelled`, 0)}')
            const { value } = await reader.read()
            writer.abort().catch(() => {})
            reader.cancel().catch(() => {})
            return value.length
          }))
          const start = performance.now()
          const { reader } = await begin('${small(1)}')
          const { value } = await reader.read()
          return { received, firstByteMs: performance.now() - start, head: new TextDecoder().decode(value.subarray(0, 15)) }`)
        t.diagnostic(`first byte after ${result.firstByteMs.toFixed(1)} ms`)
        assert.equal(result.received.length, CANCELLED)
        assert.ok(result.received.every(bytes => bytes < 6 * MB))
        assert.equal(result.head, 'HTTP/1.1 200 OK')
        assert.ok(result.firstByteMs < BOUND_MS, `${result.firstByteMs} ms`)
      }
      await until(async () => await metric(relay.adminUrl, 'icn_relay_gateway_leases'), leases => leases === 0)
    })

    await t.test('a spent ticket, a wrong one and none let no session in', async () => {
      const outcomes = await page.evaluate<string[]>(`(async () => {
        const offer = await discover(${JSON.stringify(relay.viewerUrl)})
        const attempt = url => connect({ ...offer, url }).then(session => { session.close(); return 'connected' }, error => error.name)
        const bare = new URL(offer.url)
        bare.search = ''
        return [await attempt(offer.url), await attempt(offer.url), await attempt(offer.url.slice(0, -4) + 'AAAA'), await attempt(bare.href)]
      })()`)
      assert.deepEqual(outcomes, ['connected', 'WebTransportError', 'WebTransportError', 'WebTransportError'])
      await until(async () => await metric(relay.adminUrl, 'icn_relay_viewer_handshake_failures_total', '{reason="ticket"}'), failures => failures === 3)
    })

    await t.test('a page that closes its session as it is left leaves none behind', async t => {
      await page.evaluate(`(async () => {
        globalThis.kept = await connect(await discover(${JSON.stringify(relay.viewerUrl)}))
        addEventListener('pagehide', () => { kept.close() })
        await ask(kept, '${small(3)}')
      })()`)
      await until(viewers, list => list.length === 1)
      const start = performance.now()
      await page.goto('about:blank')
      await until(viewers, list => list.length === 0)
      const ms = performance.now() - start
      t.diagnostic(`session gone after ${ms.toFixed(0)} ms`)
      assert.ok(ms < BOUND_MS, `${ms} ms`)
    })

    await t.test('a drain is announced, ends the session at its deadline, and keeps new ones out', async () => {
      await page.goto(site)
      await page.evaluate(`(async () => {
        globalThis.found = await discover(${JSON.stringify(relay.viewerUrl)})
        globalThis.kept = await connect(found)
        globalThis.messages = listen(kept)
        globalThis.end = kept.closed.then(({ closeCode, reason }) => ({ closeCode, reason }), String)
      })()`)
      const alternates = ['https://other.example:9003']
      const { statusCode } = await request(`${relay.adminUrl}/admin/v1/drain`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ deadlineMs: 2_000, alternates }) })
      assert.equal(statusCode, 202)
      const messages = await until(async () => await page.evaluate<Record<string, unknown>[]>('messages'), all => all.some(({ type }) => type === 'drain'))
      const drain = messages.find(({ type }) => type === 'drain')
      assert.deepEqual(drain?.['alternates'], alternates)
      assert.ok(Number(drain?.['deadlineMs']) <= 2_000)
      assert.deepEqual(await page.evaluate('end'), { closeCode: CLOSE_CODE.drained, reason: 'drained' })
      assert.equal(await page.evaluate("connect(found).then(() => 'connected', error => error.name)"), 'WebTransportError')
    })
  })
}
