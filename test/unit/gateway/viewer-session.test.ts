import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MISSING, refused } from '../../../src/admission/verdict.ts'
import { RelayError } from '../../../src/base/errors.ts'
import { sessionToken, type ViewerPace } from '../../../src/gateway/session/viewer-session.ts'
import type { BandwidthAdvice } from '../../../src/pacing/viewer-share.ts'
import { ControlReader } from '../../../src/protocol/control-messages.ts'
import type { ControlMessage } from '../../../src/protocol/control-messages.ts'
import { HeadReader, parseResponseHead } from '../../../src/protocol/message-head.ts'
import type { BidiStream, ReceiveStream, TransportSession } from '../../../src/protocol/transport-session.ts'
import { until, viewerRig } from '../../support/viewer-rig.ts'

interface Answer { status: number, fields: ReadonlyMap<string, string>, body: Buffer }

async function readAll (stream: ReceiveStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part !== null; part = await stream.read()) parts.push(part)
  return Buffer.concat(parts)
}

async function answerOf (stream: BidiStream): Promise<Answer> {
  const raw = new HeadReader(8192).push(await readAll(stream))
  assert.ok(raw)
  return { ...parseResponseHead(raw.lines, 64), body: Buffer.from(raw.rest) }
}

async function ask (session: TransportSession, request: string): Promise<Answer> {
  const stream = await session.openBidi()
  await stream.write(Buffer.from(request))
  await stream.end()
  return await answerOf(stream)
}

const SHARD = Uint8Array.from({ length: 300_000 }, (_, index) => index * 7 % 251)
const GET = 'GET /shards/v/shard_5.bin HTTP/1.1\r\n'

/** Admits when the test says so. */
class FakePace implements ViewerPace {
  limited = false
  atOnce = false
  advice: BandwidthAdvice | undefined
  granted = 0
  returned = 0
  readonly waiting = new Map<(bytes: number) => void, number>()

  shareBps (): number | undefined { return undefined }

  take (wanted: number, signal: AbortSignal): number | Promise<number> {
    if (this.atOnce) {
      this.granted += wanted
      return wanted
    }
    return new Promise((resolve, reject) => {
      this.waiting.set(resolve, wanted)
      signal.addEventListener('abort', () => {
        this.waiting.delete(resolve)
        reject(new Error('aborted'))
      })
    })
  }

  giveBack (bytes: number): void { this.returned += bytes }

  news (): BandwidthAdvice | undefined {
    const { advice } = this
    this.advice = undefined
    return advice
  }

  grant (bytes: number): void {
    for (const [resolve, wanted] of this.waiting) {
      this.waiting.delete(resolve)
      this.granted += Math.min(bytes, wanted)
      resolve(Math.min(bytes, wanted))
    }
  }
}

/** What the session hears on its control stream from now on. */
function messagesOf (session: TransportSession): ControlMessage[] {
  const messages: ControlMessage[] = []
  session.onUni = stream => {
    const reader = new ControlReader()
    const pump = async (): Promise<void> => {
      for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) messages.push(...reader.push(chunk))
    }
    pump().catch(() => {})
  }
  return messages
}

suite('viewer session over a transport', () => {
  test('a shard arrives whole, a range in part, a validator saves the body', async t => {
    const rig = await viewerRig(t)
    rig.source.objects.set('v/5', SHARD)
    const session = await rig.dial()
    const whole = await ask(session, 'GET /shards/v/shard_05.bin')
    assert.equal(whole.status, 200)
    assert.equal(whole.fields.get('content-length'), '300000')
    assert.equal(whole.fields.get('cache-status'), 'icn-relay; hit')
    assert.ok(whole.body.equals(SHARD))
    const part = await ask(session, `${GET}range: bytes=100-199\r\n\r\n`)
    assert.equal(part.status, 206)
    assert.equal(part.fields.get('content-range'), 'bytes 100-199/300000')
    assert.ok(part.body.equals(SHARD.subarray(100, 200)))
    const etag = whole.fields.get('etag') ?? ''
    const same = await ask(session, `${GET}if-none-match: ${etag}\r\n\r\n`)
    assert.deepEqual([same.status, same.body.length, same.fields.get('etag')], [304, 0, etag])
    const head = await ask(session, 'HEAD /shards/v/shard_5.bin\r\n\r\n')
    assert.deepEqual([head.status, head.body.length, head.fields.get('content-length')], [200, 0, '300000'])
    const beyond = await ask(session, `${GET}range: bytes=300000-\r\n\r\n`)
    assert.deepEqual([beyond.status, beyond.fields.get('content-range')], [416, 'bytes */300000'])
    await until(() => rig.reports.length === 5, 'five reports')
    assert.deepEqual(rig.reports.map(({ outcome }) => outcome), ['ok', 'ok', 'not-modified', 'ok', 'client-error'])
    assert.equal(rig.source.held, 0)
  })

  test('200 streams at the same time are all served, with a bounded number of objects asked for at the same time', async t => {
    const rig = await viewerRig(t, { limits: { maxResolving: 10 } })
    rig.source.objects.set('v/5', SHARD.subarray(0, 50_000))
    const session = await rig.dial()
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(session, `${GET}\r\n`)))
    assert.ok(answers.every(({ status, body }) => status === 200 && body.length === 50_000))
    await until(() => rig.sessions[0]?.stats().streams === 0, 'no streams left')
    assert.deepEqual([rig.source.lent, rig.source.held, rig.faults.length], [200, 0, 0])
  })

  test('tokens: per request, in the old form, once per session, and never in an answer', async t => {
    const rig = await viewerRig(t, { authorize: async token => token === undefined ? MISSING : token === 's3cret' ? { ok: true, identity: 'v1', class: 'gold' } : refused('RELAY_ERR_VIEWER_UNAUTHORIZED', 'no') })
    rig.source.objects.set('v/5', SHARD)
    const open = await rig.dial()
    for (const [request, status] of [
      [`${GET}\r\n`, 401], [`${GET}authorization: Bearer wr0ng\r\n\r\n`, 401], [`${GET}authorization: Bearer s3cret\r\n\r\n`, 200],
      ['AUTH s3cret\nGET /shards/v/shard_5.bin', 200], ['AUTH wr0ng\nGET /shards/v/shard_5.bin', 401]
    ] as const) {
      const answer = await ask(open, request)
      assert.equal(answer.status, status, request)
      if (status === 401) assert.equal(answer.fields.get('www-authenticate'), request === `${GET}\r\n` ? 'Bearer' : 'Bearer error="invalid_token", error_description="no"')
      assert.ok(!/wr0ng|s3cret/.test(answer.body.subarray(0, 2000).toString('latin1')))
    }
    assert.equal(rig.source.lent, 2, 'nothing is resolved for a viewer without right')
    assert.deepEqual(rig.sessions[0]?.viewer, { ok: true, identity: 'v1', class: 'gold' })
    const authorised = await rig.dial('/v1/viewer?token=s3cret')
    assert.equal((await ask(authorised, `${GET}\r\n`)).status, 200)
    assert.equal((await ask(authorised, `${GET}authorization: Bearer wr0ng\r\n\r\n`)).status, 401, 'the token of the request counts')
    assert.ok(!JSON.stringify(rig.reports, (_, value: unknown) => value instanceof Error ? value.message : value).includes('s3cret'))
  })

  test('errors of the source reach the viewer as problem documents, unknown ones without their text', async t => {
    const rig = await viewerRig(t)
    const session = await rig.dial()
    const missing = await ask(session, `${GET}\r\n`)
    assert.equal(missing.status, 404)
    assert.equal(missing.fields.get('content-type'), 'application/problem+json')
    assert.equal((JSON.parse(missing.body.toString()) as { code: string }).code, 'RELAY_ERR_SHARD_NOT_FOUND')
    rig.source.resolve = () => { throw new Error('/etc/secret path') }
    const internal = await ask(session, `${GET}\r\n`)
    assert.equal(internal.status, 500)
    assert.ok(!internal.body.toString().includes('secret'))
  })

  test('a body that breaks ends with a reset, never with FIN', async t => {
    const rig = await viewerRig(t)
    rig.source.objects.set('v/5', SHARD)
    rig.source.failAt.set('v/5', { position: 200_000, error: new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'digest') })
    const session = await rig.dial()
    await assert.rejects(ask(session, `${GET}\r\n`), { name: 'TransportError', kind: 'reset', applicationCode: 2 })
    assert.equal(rig.reports[0]?.outcome, 'broken')
    assert.equal(rig.source.held, 0)
  })

  test('a viewer that cancels frees its object and its slot', async t => {
    const rig = await viewerRig(t)
    rig.source.objects.set('v/5', SHARD)
    rig.source.gate = new Promise(() => {})
    const session = await rig.dial()
    const stream = await session.openBidi()
    await stream.write(Buffer.from(`${GET}\r\n`))
    await until(() => rig.source.held === 1, 'the object is held')
    stream.cancel(0)
    await until(() => rig.source.held === 0 && rig.sessions[0]?.stats().streams === 0, 'released')
    assert.equal(rig.reports[0]?.outcome, 'cancelled')
    rig.source.gate = undefined
    assert.equal((await ask(session, `${GET}\r\n`)).status, 200)
  })

  test('a limited viewer gets its shard in the pieces it is admitted, what is not read goes back, and no waiter stays behind', async t => {
    const pace = new FakePace()
    const rig = await viewerRig(t, { pace })
    rig.source.objects.set('v/5', SHARD)
    rig.source.failAt.set('v/5', { position: 290_000, error: new RelayError('RELAY_ERR_UPSTREAM_BODY', 'gone') })
    const session = await rig.dial()
    pace.limited = false
    assert.equal((await ask(session, `${GET}range: bytes=0-99999\r\n\r\n`)).body.length, 100_000)
    assert.deepEqual([pace.waiting.size, rig.granted.length], [0, 0])
    pace.limited = true
    const part = ask(session, `${GET}range: bytes=0-99999\r\n\r\n`)
    for (let given = 0; given < 100_000; given += 20_000) {
      await until(() => pace.waiting.size === 1, 'waits')
      pace.grant(20_000)
    }
    assert.ok((await part).body.equals(SHARD.subarray(0, 100_000)))
    pace.atOnce = true
    await assert.rejects(ask(session, `${GET}\r\n`), { name: 'TransportError', kind: 'reset' })
    // The last read was given 65,536 bytes or less, came to nothing, and gave them back.
    assert.equal(pace.granted - pace.returned, 100_000 + 290_000)
    assert.equal(rig.granted.reduce((sum, bytes) => sum + bytes, 0), 390_000)
    pace.atOnce = false
    rig.source.failAt.clear()
    const streams = await Promise.all(Array.from({ length: 5 }, async () => await session.openBidi()))
    for (const stream of streams) await stream.write(Buffer.from(`${GET}\r\n`))
    await until(() => pace.waiting.size === 5, 'all wait')
    streams[0]?.cancel(0)
    await until(() => pace.waiting.size === 4, 'one has gone')
    rig.now = 1e9
    rig.sessions[0]?.tick()
    assert.equal(pace.waiting.size, 4, 'waiting is not a stall')
    session.close()
    await until(() => pace.waiting.size === 0 && rig.source.held === 0 && rig.reports.length === 8, 'nothing is left')
    assert.deepEqual(rig.faults, [])
  })

  test('a refusal of the throttle is an answer', async t => {
    const pace = new FakePace()
    pace.limited = true
    pace.take = () => { throw new RelayError('RELAY_ERR_RATE_LIMITED', 'too many wait') }
    const rig = await viewerRig(t, { pace })
    rig.source.objects.set('v/5', SHARD)
    const session = await rig.dial()
    assert.equal((await ask(session, `${GET}\r\n`)).status, 429)
    pace.take = async () => { throw new RelayError('RELAY_ERR_STOPPING', 'closed') }
    assert.equal((await ask(session, `${GET}\r\n`)).status, 503)
    assert.deepEqual([rig.source.held, rig.faults.length], [0, 0])
  })

  test('a lost session releases everything', async t => {
    const rig = await viewerRig(t)
    rig.source.objects.set('v/5', SHARD)
    const session = await rig.dial()
    for (let count = 0; count < 20; count++) {
      const stream = await session.openBidi()
      await stream.write(Buffer.from(`${GET}\r\n`))
    }
    await until(() => rig.source.held === 20, 'all are held by slow readers')
    session.close()
    await until(() => rig.source.held === 0 && rig.reports.length === 20, 'all released')
    assert.deepEqual(rig.sessions[0]?.stats().streams, 0)
  })

  test('the control stream says hello, bandwidth, redirect and drain; the deadline closes the session', async t => {
    const rig = await viewerRig(t)
    const session = await rig.dial()
    const messages = messagesOf(session)
    rig.sessions[0]?.tick()
    await until(() => messages.length === 1, 'hello')
    assert.deepEqual(messages[0], { type: 'hello', version: '1.2.3', region: 'EU-WEST', limits: { maxStreams: 256, requestTimeoutMs: 5000, idleTimeoutMs: 300_000 } })
    const [relay] = rig.sessions
    assert.ok(relay)
    relay.bandwidth(1_660_000, '480p')
    relay.redirect('https://b.example', 'maintenance')
    relay.drain(5000, ['https://c.example'])
    await until(() => messages.length === 4, 'the others')
    assert.deepEqual(messages.slice(1).map(({ type }) => type), ['bandwidth', 'redirect', 'drain'])
    rig.now = 5000
    relay.tick()
    assert.deepEqual(await session.closed, { code: 2, reason: 'drained', clean: true })
  })

  test('a limited viewer is told of its bandwidth right behind the hello, before its first answer, and again when there is news', async t => {
    const pace = new FakePace()
    pace.advice = { bitsPerSecond: 1_660_000, rendition: '480p' }
    const rig = await viewerRig(t, { pace })
    rig.source.objects.set('v/5', SHARD)
    const session = await rig.dial()
    const messages = messagesOf(session)
    await ask(session, `${GET}\r\n`)
    await until(() => messages.length === 2, 'two messages')
    assert.deepEqual([messages[0]?.type, messages[1]], ['hello', { type: 'bandwidth', bitsPerSecond: 1_660_000, suggestedRendition: '480p' }])
    pace.advice = { bitsPerSecond: 0, rendition: '1080p' }
    rig.sessions[0]?.tick()
    await until(() => messages.length === 3, 'a third')
    assert.deepEqual(messages[2], { type: 'bandwidth', bitsPerSecond: 0, suggestedRendition: '1080p' })
  })

  test('bytes after the request are refused, the answer still comes', async t => {
    const rig = await viewerRig(t)
    rig.source.objects.set('v/5', SHARD)
    const session = await rig.dial()
    const stream = await session.openBidi()
    const flood = (async () => {
      await stream.write(Buffer.from(`${GET}\r\n`))
      for (let count = 0; count < 100; count++) await stream.write(new Uint8Array(65_536))
    })()
    assert.equal((await answerOf(stream)).body.length, 300_000)
    await assert.rejects(flood, { kind: 'stopped' })
  })

  test('a session token comes from the query or a bearer field', () => {
    const request = (path: string, headers = {}): Parameters<typeof sessionToken>[0] => ({ path, headers, authority: '', peer: { ip: '', port: 0 } })
    assert.equal(sessionToken(request('/v1/viewer?a=b&token=x%2By')), 'x+y')
    assert.equal(sessionToken(request('/v1/viewer?token=')), undefined)
    assert.equal(sessionToken(request('/v1/viewer', { authorization: 'bearer t' })), 't')
    assert.equal(sessionToken(request('/v1/viewer', { authorization: 'Basic t' })), undefined)
  })
})
