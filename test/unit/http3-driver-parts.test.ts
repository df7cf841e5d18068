/** The pure parts of the driver: packet headers, address tokens, admission, pacing, stream bookkeeping. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TOKEN_LIFETIME_MS, checkToken, issueToken, resetToken, statelessReset } from '../../src/gateway/transports/http3/address-token.ts'
import { AdmissionControl, MAX_HALF_OPEN, RETRY_THRESHOLD } from '../../src/gateway/transports/http3/admission.ts'
import type { Admission } from '../../src/gateway/transports/http3/admission.ts'
import { MAX_BURST_PACKETS, MAX_PACKET_SIZE, Pacer } from '../../src/gateway/transports/http3/pacer.ts'
import { parseHeader, shortRouteKey, routeKey, versionNegotiation } from '../../src/gateway/transports/http3/packet-header.ts'
import type { QuicheConnection } from '../../src/gateway/transports/http3/quiche-binding.ts'
import { SeenStreams } from '../../src/gateway/transports/http3/seen-streams.ts'
import { StreamCredit } from '../../src/gateway/transports/http3/stream-credit.ts'
import { StreamWriter } from '../../src/gateway/transports/http3/stream-writer.ts'
import { openGate } from '../../src/limits/handshake-limiter.ts'
import type { HandshakeVerdict } from '../../src/limits/handshake-limiter.ts'

const from = { host: '192.0.2.1', port: 4433 }

/** An Initial with the given ids and token, padded to `size`. */
function initial (dcid: Uint8Array, scid: Uint8Array, token: Uint8Array, size = 1200, version = 1): Buffer {
  const head = Buffer.concat([
    Buffer.from([0xc0, 0, 0, 0, version, dcid.length]), dcid, Buffer.from([scid.length]), scid,
    Buffer.from([0x40 | (token.length >> 8), token.length & 0xff]), token
  ])
  return Buffer.concat([head, Buffer.alloc(Math.max(0, size - head.length), 1)])
}

test('packet headers: Initial, short and unknown versions are told apart; noise and truncations never throw', () => {
  const dcid = Buffer.alloc(8, 7)
  const scid = Buffer.alloc(5, 8)
  const packet = initial(dcid, scid, Buffer.from('tok'))
  assert.deepEqual(parseHeader(packet), { kind: 'initial', version: 1, dcid, scid, token: Buffer.from('tok') })
  assert.equal(parseHeader(initial(dcid, scid, Buffer.alloc(0), 1200, 9))?.kind, 'unknown-version')
  const short = Buffer.concat([Buffer.from([0x41]), dcid, Buffer.alloc(30)])
  assert.deepEqual(parseHeader(short), { kind: 'short', dcid })
  assert.equal(shortRouteKey(short), routeKey(dcid))
  assert.equal(shortRouteKey(packet), undefined)
  for (let end = 0; end < 40; end++) parseHeader(packet.subarray(0, end))
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => { parseHeader(Buffer.from(noise)) }), { numRuns: 2000 })
})

test('version negotiation swaps the ids and offers version 1', () => {
  const packet = versionNegotiation(Buffer.from('dddddddd'), Buffer.from('ss'), 0)
  assert.equal(packet.toString('hex'), `80000000000273730864646464646464640000000${'1'}1a2a3a4a`)
})

test('tokens are valid for their address, id and time only; any flipped bit is refused', () => {
  const key = Buffer.alloc(32, 1)
  const subject = { ip: '192.0.2.1', port: 4433, retryId: Buffer.alloc(16, 2) }
  const odcid = Buffer.from('original')
  const token = issueToken(key, subject, odcid, 1000)
  assert.deepEqual(checkToken(key, subject, token, 1000 + TOKEN_LIFETIME_MS), odcid)
  assert.equal(checkToken(key, subject, token, 1001 + TOKEN_LIFETIME_MS), undefined)
  assert.equal(checkToken(key, { ...subject, port: 4434 }, token, 1000), undefined)
  assert.equal(checkToken(key, { ...subject, ip: '192.0.2.2' }, token, 1000), undefined)
  assert.equal(checkToken(key, { ...subject, retryId: Buffer.alloc(16, 3) }, token, 1000), undefined)
  assert.equal(checkToken(Buffer.alloc(32, 2), subject, token, 1000), undefined)
  fc.assert(fc.property(fc.nat(token.length * 8 - 1), (bit) => {
    const flipped = Buffer.from(token)
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.equal(checkToken(key, subject, flipped, 1000), undefined)
  }))
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => { assert.equal(checkToken(key, subject, noise, 1000), undefined) }))
})

test('stateless resets are shorter than what they answer, end with the token and look like short packets', () => {
  const token = resetToken(Buffer.alloc(32, 1), Buffer.alloc(16, 9))
  for (let answered = 0; answered < 100; answered++) {
    const packet = statelessReset(token, answered, Buffer.alloc(40, 0xff))
    if (answered < 22) {
      assert.equal(packet, undefined)
      continue
    }
    assert.ok(packet !== undefined && packet.length < answered && packet.length >= 21)
    assert.deepEqual(packet.subarray(-16), token)
    assert.equal((packet[0] ?? 0) & 0xc0, 0x40)
  }
})

test('admission: accepts, asks for proof under load, stops at its caps, and never amplifies', () => {
  const retries: Buffer[] = []
  const control = new AdmissionControl({
    retry: (_scid, _dcid, newScid, token, _version, out) => {
      retries.push(initial(newScid, Buffer.alloc(8), token))
      out.fill(0)
      return 100
    }
  }, 1000, 'secret', openGate)
  const packet = initial(Buffer.alloc(8, 1), Buffer.alloc(8, 2), Buffer.alloc(0))
  const idle = { links: 0, halfOpen: 0 }
  const loaded = { links: RETRY_THRESHOLD, halfOpen: RETRY_THRESHOLD }
  assert.equal(control.decide(packet, from, idle, 0).kind, 'accept')
  assert.equal(control.decide(packet.subarray(0, 1199), from, idle, 0).kind, 'drop')
  assert.equal(control.decide(initial(Buffer.alloc(7), Buffer.alloc(0), Buffer.alloc(0)), from, idle, 0).kind, 'drop')
  assert.equal(control.decide(packet, from, loaded, 0).kind, 'reply')
  const [proof] = retries
  assert.ok(proof !== undefined)
  const accepted = control.decide(proof, from, loaded, 5)
  assert.ok(accepted.kind === 'accept' && accepted.odcid !== null)
  assert.deepEqual(accepted.odcid, Buffer.alloc(8, 1))
  const refusals = [
    control.decide(proof, { ...from, port: 1 }, loaded, 5),
    control.decide(proof, from, { links: 600, halfOpen: MAX_HALF_OPEN }, 5),
    control.decide(packet, from, { links: 1000, halfOpen: 0 }, 5),
    control.decide(proof, from, loaded, TOKEN_LIFETIME_MS + 1)
  ]
  assert.deepEqual(refusals.map((refusal) => refusal.kind === 'refuse' ? refusal.failure : refusal.kind), ['protocol', 'limit', 'limit', 'protocol'])
  for (const refusal of refusals) assert.ok(refusal.kind === 'refuse' && refusal.packet !== undefined && refusal.packet.length < 150)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1400 }), fc.boolean(), (noise, long) => {
    if (long && noise.length > 0) noise[0] = (noise[0] ?? 0) | 0xc0
    const decision = control.decide(Buffer.from(noise), from, idle, 20_000)
    if (decision.kind === 'reply' || decision.kind === 'refuse') assert.ok((decision.packet?.length ?? 0) < noise.length)
  }), { numRuns: 1000 })
})

test('admission: the gate is asked once, with how well the address is known; its verdict is refused with a packet, up to 500 a second', () => {
  const asked: unknown[] = []
  let verdict: HandshakeVerdict = 'admit'
  const control = new AdmissionControl({ retry: (_scid, dcid, newScid, token, _version, out) => initial(newScid, dcid, token).copy(out) }, 1000, 'secret', (...question) => {
    asked.push(question)
    return verdict
  })
  const packet = initial(Buffer.alloc(8, 1), Buffer.alloc(8, 2), Buffer.alloc(0))
  const decide = (given: Buffer, halfOpen: number, now: number): Admission => control.decide(given, from, { links: halfOpen, halfOpen }, now)
  assert.equal(decide(packet, 0, 1).kind, 'accept')
  verdict = 'prove'
  const retry = decide(packet, RETRY_THRESHOLD, 2)
  assert.ok(retry.kind === 'reply')
  // The client sends the Retry's token back, to the Retry's id.
  const proof = initial(retry.packet.subarray(6, 14), Buffer.alloc(8, 2), parsedToken(retry.packet))
  verdict = 'admit'
  assert.equal(decide(proof, RETRY_THRESHOLD, 3).kind, 'accept')
  for (const [now, refused] of [[4, 'rate-address'], [5, 'rate-total']] as const) {
    verdict = refused
    const refusal = decide(packet, 0, now)
    assert.ok(refusal.kind === 'refuse' && refusal.failure === refused && refusal.packet !== undefined)
  }
  assert.deepEqual(asked, [
    ['192.0.2.1', 'optional', 1], ['192.0.2.1', 'required', 2], ['192.0.2.1', 'given', 3], ['192.0.2.1', 'optional', 4], ['192.0.2.1', 'optional', 5]
  ])
  const answers = Array.from({ length: 1_000 }, () => decide(packet, 0, 2_000))
  assert.equal(answers.filter((answer) => answer.kind === 'refuse').length, 1_000, 'each is counted')
  assert.equal(answers.filter((answer) => answer.kind === 'refuse' && answer.packet !== undefined).length, 500, 'not each is answered')
})

/** The token of an Initial whose ids have 8 bytes each. */
function parsedToken (packet: Buffer): Buffer {
  const header = parseHeader(packet)
  return header?.kind === 'initial' ? header.token : assert.fail('not an Initial')
}

test('stateless resets are limited in number', () => {
  const control = new AdmissionControl({ retry: () => 0 }, 10, 'secret', openGate)
  const short = Buffer.concat([Buffer.from([0x41]), Buffer.alloc(60, 3)])
  let sent = 0
  for (let count = 0; count < 2000; count++) if (control.decide(short, from, { links: 0, halfOpen: 0 }, 100).kind === 'reply') sent++
  assert.equal(sent, 500)
  assert.equal(control.decide(short, from, { links: 0, halfOpen: 0 }, 1100).kind, 'reply')
})

/** Rate that a pacer gives, as a multiple of the window by its round trip; its bucket is empty at `now`. */
function gainOf (pacer: Pacer, cwnd: number, rtt: number, now: number): number {
  pacer.spend(pacer.available(now))
  // So short that even sixteen times the rate does not fill the bucket.
  const ms = 0.01
  return (pacer.available(now + ms) * rtt) / (cwnd * ms)
}

test('pacer: a window that it keeps from being used after losses gets more, up to a bound and for a while; others do not', () => {
  const [cwnd, rtt] = [5 * MAX_PACKET_SIZE, 13]
  const rounded = (gain: number): number => Math.round(gain * 1000) / 1000
  for (const [lost, heldBack, most] of [[0, true, 1.25], [1, false, 1.25], [1, true, 16]] as const) {
    const pacer = new Pacer()
    const gains: number[] = []
    for (let now = 10; now <= 300; now += 10) {
      pacer.ended(now, heldBack)
      pacer.update({ cwnd, rtt, lost }, now)
      gains.push(rounded(gainOf(pacer, cwnd, rtt, now)))
    }
    assert.equal(gains.at(-1), most, gains.join(' '))
    assert.deepEqual(gains, [...gains].sort((a, b) => a - b))
    // Once the window is used, it is given what it has for a second more.
    for (const [now, expected] of [[310, most], [1_400, 1.25]] as const) {
      pacer.ended(now, false)
      pacer.update({ cwnd, rtt, lost }, now)
      assert.equal(rounded(gainOf(pacer, cwnd, rtt, now)), expected, `at ${now}`)
    }
  }
})

test('pacer: never more than a burst at once, and over time the rate the path gives', () => {
  fc.assert(fc.property(fc.integer({ min: 13_500, max: 2_000_000 }), fc.integer({ min: 1, max: 300 }), (cwnd, rtt) => {
    const pacer = new Pacer()
    pacer.update({ cwnd, rtt, lost: 0 }, 0)
    const rate = 1.25 * cwnd / rtt
    let sent = 0
    for (let now = 0; now < 1000; now++) {
      const may = pacer.available(now)
      assert.ok(may <= MAX_BURST_PACKETS * MAX_PACKET_SIZE)
      if (may >= MAX_PACKET_SIZE) {
        pacer.spend(may)
        sent += may
        assert.ok(pacer.wait(now) > 0)
      }
    }
    assert.ok(sent <= rate * 1000 + MAX_BURST_PACKETS * MAX_PACKET_SIZE, 'too fast')
    const reachable = Math.min(rate, MAX_BURST_PACKETS * MAX_PACKET_SIZE)
    assert.ok(sent >= reachable * 1000 * 0.9, `too slow: ${sent} of ${reachable * 1000}`)
  }))
})

test('seen streams: each is new once, whatever the order, and memory is only for gaps', () => {
  fc.assert(fc.property(fc.shuffledSubarray(Array.from({ length: 50 }, (_, index) => index * 4)), (ids) => {
    const seen = new SeenStreams()
    for (const id of ids) assert.ok(seen.add(id))
    for (const id of ids) assert.ok(!seen.add(id))
    assert.ok(seen.size <= ids.length)
    if (ids.length === 50) assert.equal(seen.size, 0)
  }))
})

test('stream credit: never grants more than the peer gave, wakes waiters in order, rejects the late', async () => {
  const left = { bidi: 1, uni: 0 }
  const credit = new StreamCredit({ peerStreamsLeftBidi: () => left.bidi, peerStreamsLeftUni: () => left.uni })
  await credit.take(true, 0)
  const order: string[] = []
  const second = credit.take(true, 5).then(() => order.push('second'))
  const third = credit.take(true, 9).then(() => order.push('third'), () => order.push('third rejected'))
  credit.update()
  assert.equal(credit.waiting, 2)
  // quiche counts the first now.
  left.bidi = 0
  credit.settle(true)
  left.bidi = 1
  credit.update()
  await second
  credit.expire(10)
  await third
  assert.deepEqual(order, ['second', 'third rejected'])
  assert.equal(credit.waiting, 0)
})

/** A native stream that takes bytes up to a window the test opens. */
class FakeConn {
  room = 0
  readonly calls: Array<{ bytes: Buffer, fin: boolean }> = []
  streamSend (_id: number, data: Uint8Array, fin: boolean): number | null {
    if (this.room === 0 && data.length > 0) return null
    const taken = Math.min(this.room, data.length)
    this.room -= taken
    this.calls.push({ bytes: Buffer.from(data.subarray(0, taken)), fin: fin && taken === data.length })
    return taken
  }
}

test('stream writer: bytes arrive in order, each promise settles once, and FIN always rides on a byte', () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 30 }), { maxLength: 6 }), fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }), fc.boolean(), (chunks, rooms, endEarly) => {
    const fake = new FakeConn()
    const conn = fake as unknown as QuicheConnection
    const writer = new StreamWriter(4, true)
    const queue = chunks.map((bytes) => ({ bytes, fin: false }))
    let done = 0
    let turn = 0
    const submit = (): boolean => {
      const next = queue.shift()
      if (next === undefined) return false
      writer.enqueue(next.bytes, false, (error) => { if (error === undefined) done++ })
      return true
    }
    let ended = false
    for (let steps = 0; steps < 500 && !writer.ended; steps++) {
      if (writer.waiting === 0 && !submit() && !ended) {
        writer.enqueue(new Uint8Array(0), true)
        ended = true
      }
      if (endEarly && queue.length === 0 && !ended) {
        writer.enqueue(new Uint8Array(0), true)
        ended = true
      }
      fake.room = rooms[turn++ % rooms.length] ?? 0
      if (rooms.every((room) => room === 0)) fake.room = 7
      writer.advance(conn, 1000, 0)
    }
    assert.ok(writer.ended)
    assert.equal(done, chunks.length)
    assert.deepEqual(Buffer.concat(fake.calls.map((call) => call.bytes)), Buffer.concat(chunks))
    assert.equal(fake.calls.filter((call) => call.fin).length, 1)
    const last = fake.calls.at(-1)
    assert.ok(last?.fin)
    if (chunks.length > 0) assert.ok(last.bytes.length > 0, 'FIN without a byte')
  }), { numRuns: 300 })
})
