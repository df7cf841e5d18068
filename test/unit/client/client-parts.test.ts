import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { dial, relayBase } from '../../../client/src/dial.ts'
import type { DialOptions } from '../../../client/src/dial.ts'
import { statedSha256 } from '../../../client/src/digest.ts'
import { TRANSPORTS } from '../../../client/src/transports.ts'
import { PONYFILL_OPTIONS, w3cConnector } from '../../../client/src/w3c-session.ts'
import { abortable, backoffMs, delay, linkedAbort, onAbort } from '../../../client/src/waiting.ts'
import { bytesOfBase64, hexOf } from '../../../src/protocol/repr-digest.ts'
import { VirtualTime, browserWebTransport } from '../../support/client-rig.ts'
import { settle, viewerRig } from '../../support/viewer-rig.ts'

const never = new AbortController().signal

suite('waiting', () => {
  test('pauses grow to a cap and stay between half and all of it', () => {
    assert.deepEqual([1, 2, 3, 6, 7, 100].map(attempt => backoffMs(attempt, 1)), [50, 100, 200, 1600, 2000, 2000])
    fc.assert(fc.property(fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
      const pause = backoffMs(attempt, random)
      const full = backoffMs(attempt, 1)
      assert.ok(pause >= full / 2 && pause <= full && full <= 2000)
    }))
  })

  test('a delay ends with its time or its signal, and leaves no timer', async () => {
    const time = new VirtualTime()
    await time.until(delay(500, never, time.after))
    assert.equal(time.time, 500)
    const abort = new AbortController()
    const waiting = delay(500, abort.signal, time.after)
    abort.abort(new Error('x'))
    await assert.rejects(waiting, { message: 'x' })
    assert.equal(time.pending, 0)
  })

  test('many followers of one signal are one listener, and those that left are not called', () => {
    const abort = new AbortController()
    let listeners = 0
    const add = abort.signal.addEventListener.bind(abort.signal)
    abort.signal.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners++
      add(...args)
    }
    const called: number[] = []
    const undo = Array.from({ length: 100 }, (_, index) => onAbort(abort.signal, () => { called.push(index) }))
    for (const index of undo.keys()) if (index !== 7) undo[index]?.()
    abort.abort()
    assert.deepEqual([listeners, called], [1, [7]])
  })

  test('a linked signal aborts with either parent or by itself, and not after it was let go', async () => {
    const [a, b] = [new AbortController(), new AbortController()]
    const linked = linkedAbort(a.signal, undefined, b.signal)
    b.abort(new Error('b'))
    assert.equal((linked.signal.reason as Error).message, 'b')
    const own = linkedAbort(a.signal)
    own.stop()
    a.abort(new Error('a'))
    assert.equal(own.signal.aborted, false)
    assert.equal(linkedAbort(a.signal).signal.aborted, true)
    await assert.rejects(abortable(new Promise(() => {}), a.signal), { message: 'a' })
  })
})

suite('discovery', () => {
  const options = (body: string, status = 200): DialOptions => ({
    webTransport: async ({ url, certificateHashes }) => { throw new Error(`${url} ${certificateHashes.map(hexOf).join()}`) },
    websocket: undefined,
    timeoutMs: 1000,
    viewerId: 'v1',
    platform: {
      now: () => 0,
      random: () => 0,
      randomBytes: length => new Uint8Array(length),
      after: () => () => {},
      fetch: async () => ({ status, headers: { forEach: () => {} }, body: null, text: async () => body }),
      sha256: undefined,
      webTransport: undefined
    }
  })
  const run = (body: string, status?: number): ReturnType<typeof dial> => dial('https://a', options(body, status), () => {}, never, { candidates: TRANSPORTS.map(transport => ({ transport, demoted: undefined })) })

  test('certificate hashes that are SHA-256 are used, others are not', async () => {
    const hash = Buffer.alloc(32, 7).toString('base64')
    const { info } = await run(JSON.stringify({
      region: 'APAC',
      webtransport: { url: 'https://a/v1/viewer', certificateHashes: [{ algorithm: 'sha-256', value: hash }, { algorithm: 'sha-1', value: hash }, { algorithm: 'sha-256', value: 'short' }, { algorithm: 'sha-256', value: '%%' }, null, 3] }
    }))
    assert.deepEqual([info.transport, info.region, info.failures[0]?.reason], ['http', 'APAC', `https://a/v1/viewer?viewer=v1 ${'07'.repeat(32)}`])
  })

  test('any JSON is a relay that offers HTTP at least; anything else is an error', async () => {
    await fc.assert(fc.asyncProperty(fc.json(), async json => {
      assert.equal((await run(json)).info.transport, 'http')
    }))
    await assert.rejects(run('<html>'), { fault: 'connect' })
    await assert.rejects(run('{}', 500), { fault: 'connect', message: /status 500/ })
  })

  test('the URL of a relay has no slash at its end, no query and no credentials', () => {
    assert.equal(relayBase('https://a.example:9003/'), 'https://a.example:9003')
    assert.equal(relayBase('http://a/base/?x#y'), 'http://a/base')
    for (const url of ['', 'a.example', 'ftp://a', 'javascript:0', 'https://u:p@a']) assert.equal(relayBase(url), undefined, url)
  })
})

suite('digests', () => {
  test('the hash of a response comes from its etag or its repr-digest', () => {
    const hex = 'ab'.repeat(32)
    const digest = `sha-512=:x:, sha-256=:${Buffer.from(hex, 'hex').toString('base64')}:;q=1`
    assert.equal(statedSha256(new Map([['etag', `"sha256-${hex}"`]])), hex)
    assert.equal(statedSha256(new Map([['etag', '"other"'], ['repr-digest', digest]])), hex)
    for (const fields of [[], [['etag', `W/"sha256-${hex}"`]], [['repr-digest', 'sha-256=:AAAA:']], [['repr-digest', `xsha-256=:${'A'.repeat(43)}=:`]]] as Array<Array<[string, string]>>) {
      assert.equal(statedSha256(new Map(fields)), undefined)
    }
    assert.equal(bytesOfBase64('%'), undefined)
  })
})

suite('W3C WebTransport', () => {
  test('options: hashes only where there are some, ponyfill options only where given', async t => {
    const rig = await viewerRig(t)
    const Fake = browserWebTransport(() => rig.dial(), 10)
    const seen: unknown[] = []
    const Spy = class extends Fake {
      constructor (url: string, options?: object) {
        super(url)
        seen.push(options)
      }
    }
    const endpoint = { url: 'https://a/v1/viewer', certificateHashes: [], signal: never, onIncoming: () => {} }
    const value = new Uint8Array(32)
    const sessions = [await w3cConnector(() => Spy)(endpoint), await w3cConnector(async () => Spy, PONYFILL_OPTIONS)({ ...endpoint, certificateHashes: [value] })]
    assert.deepEqual(seen, [{}, { ...PONYFILL_OPTIONS, serverCertificateHashes: [{ algorithm: 'sha-256', value }] }])
    for (const session of sessions) session.close()
    await Promise.all(sessions.map(({ closed }) => closed))
    await assert.rejects(w3cConnector(() => undefined)(endpoint), { fault: 'connect', message: 'not available here' })
  })

  test('an aborted connection is closed even when it comes about later', async t => {
    const rig = await viewerRig(t)
    let go = (): void => {}
    const gate = new Promise<void>(resolve => { go = resolve })
    const Slow = browserWebTransport(async () => {
      await gate
      return await rig.dial()
    }, 10)
    const abort = new AbortController()
    const connecting = w3cConnector(() => Slow)({ url: 'https://a/v1/viewer', certificateHashes: [], signal: abort.signal, onIncoming: () => {} })
    await settle()
    abort.abort(new Error('too slow'))
    await assert.rejects(connecting, { message: 'too slow' })
    go()
    await settle()
    assert.equal((await rig.sessions[0]?.transport.closed)?.clean, true)
  })

  test('a session that ends says so on its streams and refuses new ones', async t => {
    const rig = await viewerRig(t)
    rig.source.gate = new Promise(() => {})
    rig.source.objects.set('v/5', new Uint8Array(10))
    const session = await w3cConnector(() => browserWebTransport(() => rig.dial(), 10))({ url: 'https://a/v1/viewer', certificateHashes: [], signal: never, onIncoming: () => {} })
    const stream = await session.openStream()
    await stream.write(Buffer.from('GET /shards/v/shard_5.bin\n\n'))
    const reading = stream.read()
    rig.sessions[0]?.close(7, 'going')
    assert.equal(await session.closed, 'going')
    await assert.rejects(reading, { name: 'ShardClientError' })
    await assert.rejects(session.openStream(), { fault: 'session-lost' })
    await assert.rejects(stream.write(new Uint8Array(1)), { fault: 'session-lost' })
    stream.reset(0)
  })
})

suite('browser build', () => {
  test('the browser entry imports nothing but its own files, and none of Node', () => {
    const seen = new Set<string>()
    const visit = (path: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      const source = readFileSync(path, 'utf8')
      for (const [, type, from] of source.matchAll(/^(?:import|export)( type)? (?:[^']*?from )?'([^']+)'/gm)) {
        if (type !== undefined || from === undefined) continue
        assert.match(from, /^\.\.?\//, `${path} imports ${from}`)
        visit(resolve(dirname(path), from))
      }
      assert.doesNotMatch(source.replace(/\/\*[^]*?\*\/|\/\/.*/g, ''), /\b(?:Buffer|process|setImmediate|require)\b(?!['`])[.(]/, path)
    }
    visit(fileURLToPath(new URL('../../../client/src/index.ts', import.meta.url)))
    assert.ok(seen.size > 10)
  })

  for (const [what, entry] of [
    ['the WebSocket connection of browsers', new URL('../../../dist/browser/websocket.js', import.meta.url).href],
    ['the client library', new URL('../../../dist/browser/client.js', import.meta.url).href],
    ['the ponyfill of Node clients', '@fails-components/webtransport']
  ] as const) {
    test(`loading ${what} opens no connection where there is a WebTransport`, async t => {
      // fails-components 1.6.8 in a browser opens one to example.com as it loads, to see what the constructor takes.
      const opened: string[] = []
      class WebTransport {
        readonly ready = new Promise(() => {})
        constructor (url: string) { opened.push(url) }
      }
      t.mock.method(console, 'error', () => {})
      Object.assign(globalThis, { WebTransport })
      t.after(() => { Reflect.deleteProperty(globalThis, 'WebTransport') })
      assert.ok(Object.keys(await import(entry) as object).length > 0)
      assert.deepEqual(opened, [])
    })
  }
})
