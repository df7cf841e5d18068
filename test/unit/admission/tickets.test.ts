import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { HandshakeLimiter } from '../../../src/admission/handshake-limiter.ts'
import { decodeTicket, encodeTicket, NONCE_BYTES, TICKET_LIFE_MS } from '../../../src/admission/ticket.ts'
import { Reception } from '../../../src/gateway/reception.ts'
import { TicketGate } from '../../../src/gateway/ticket-gate.ts'
import { TicketIssuer } from '../../../src/plugins/viewers/ticket-issuer.ts'

const KEY = Buffer.alloc(32, 7)
const NOW = 1_800_000_000_000
const ADDRESSES = ['127.0.0.1', '2001:db8::1', 'fe80::1%eth0', '198.51.100.255']

function ticket (nonce = 0, address = '127.0.0.1', expiresAt = NOW + TICKET_LIFE_MS): string {
  const bytes = Buffer.alloc(NONCE_BYTES)
  bytes.writeUInt32BE(nonce)
  return encodeTicket({ address, expiresAt, nonce: bytes }, KEY)
}

test('a ticket says what went into it, to whoever has the key', () => {
  fc.assert(fc.property(fc.constantFrom(...ADDRESSES), fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.uint8Array({ minLength: NONCE_BYTES, maxLength: NONCE_BYTES }), (address, expiresAt, nonce) => {
    const text = encodeTicket({ address, expiresAt, nonce }, KEY)
    assert.match(text, /^[A-Za-z0-9_-]+$/)
    const back = decodeTicket(text, KEY)
    assert.ok(typeof back !== 'string')
    assert.deepEqual({ ...back, nonce: Uint8Array.from(back.nonce) }, { address, expiresAt, nonce })
    assert.equal(decodeTicket(text, Buffer.alloc(32, 8)), 'forged')
  }))
})

test('no change of a ticket is let in, whatever text it becomes, and none throws', () => {
  const good = ticket()
  fc.assert(fc.property(fc.nat(good.length - 1), fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ '), (at, letter) => {
    const changed = good.slice(0, at) + letter + good.slice(at + 1)
    const verdict = new TicketGate(KEY, 10).admit(changed, NOW)
    assert.equal(verdict.ok, changed === good)
  }))
  fc.assert(fc.property(fc.oneof(fc.string(), fc.base64String(), fc.nat(good.length).map(length => good.slice(0, length)), fc.string().map(text => good + text)), text => {
    assert.equal(new TicketGate(KEY, 10).admit(text, NOW).ok, text === good)
  }))
})

test('a ticket is good once, and until it expires', () => {
  const gate = new TicketGate(KEY, 10)
  assert.deepEqual(gate.admit(ticket(1, '192.0.2.1'), NOW + TICKET_LIFE_MS - 1), { ok: true, address: '192.0.2.1' })
  assert.deepEqual(gate.admit(ticket(1, '192.0.2.1'), NOW), { ok: false, fault: 'spent' })
  assert.deepEqual(gate.admit(ticket(2), NOW + TICKET_LIFE_MS), { ok: false, fault: 'expired' })
})

test('10,001 tickets at a gate with room for 10,000: the last is refused and none is let in twice, until the first have expired', () => {
  const gate = new TicketGate(KEY, 10_000)
  for (let nonce = 0; nonce < 10_000; nonce++) assert.ok(gate.admit(ticket(nonce), NOW).ok)
  assert.deepEqual(gate.admit(ticket(10_000), NOW), { ok: false, fault: 'full' })
  assert.equal(gate.size, 10_000)
  for (const nonce of [0, 5_000, 9_999]) assert.deepEqual(gate.admit(ticket(nonce), NOW), { ok: false, fault: 'spent' })
  const later = NOW + TICKET_LIFE_MS
  assert.ok(gate.admit(ticket(10_001, '127.0.0.1', later + 1), later).ok)
  assert.equal(gate.size, 1)
})

test('whatever is shown in whatever order: a ticket is let in at most once, only within its life, and the gate remembers no more than it may', () => {
  const step = fc.record({ nonce: fc.nat(12), issuedAt: fc.nat(3), waits: fc.integer({ min: 0, max: 40_000 }), forget: fc.boolean() })
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 6 }), (steps, room) => {
    const gate = new TicketGate(KEY, room)
    const used = new Set<string>()
    let now = NOW
    for (const { nonce, issuedAt, waits, forget } of steps) {
      now += waits
      if (forget) gate.forgetExpired(now)
      const expiresAt = NOW + issuedAt * 30_000 + TICKET_LIFE_MS
      const text = ticket(nonce, '127.0.0.1', expiresAt)
      const verdict = gate.admit(text, now)
      if (verdict.ok) {
        // Nonces are random: the model has tickets that share one and differ in their expiry, of which a later one may pass.
        assert.ok(!used.has(text), 'let in twice')
        assert.ok(now < expiresAt)
        used.add(text)
      } else {
        assert.ok(verdict.fault === 'spent' || (verdict.fault === 'expired' && now >= expiresAt) || (verdict.fault === 'full' && gate.size === room))
      }
      assert.ok(gate.size <= room)
    }
  }))
})

test('the issuer issues ten a second to an address and to all as many as handshakes are allowed, each for a minute and with a nonce of its own', () => {
  let monotonic = 0
  const limiter = new HandshakeLimiter({ handshakesPerSecond: 15, handshakesPerSecondPerIp: 10, trackedIps: 100 })
  const issuer = new TicketIssuer({ key: () => KEY, limiter, clock: { now: () => NOW, monotonic: () => monotonic }, randomBytes: count => randomBytes(count) })
  const issued = Array.from({ length: 11 }, () => issuer.issue('192.0.2.1'))
  assert.deepEqual(issued.map(result => 'ticket' in result), [...Array.from({ length: 10 }, () => true), false])
  assert.deepEqual(issued[10], { refused: 'rate-address' })
  for (let count = 0; count < 5; count++) assert.ok('ticket' in issuer.issue('192.0.2.2'))
  assert.deepEqual(issuer.issue('192.0.2.3'), { refused: 'rate-total' })
  monotonic = 1_000
  assert.ok('ticket' in issuer.issue('192.0.2.1'))
  const gate = new TicketGate(KEY, 100)
  for (const result of issued) if ('ticket' in result) assert.deepEqual(gate.admit(result.ticket, NOW + TICKET_LIFE_MS - 1), { ok: true, address: '192.0.2.1' })
})

test('at the reception: the address of the connection or of the ticket, the name a client gives itself, and a status for each fault', () => {
  const clock = { now: () => NOW, monotonic: () => 0 }
  const strict = new Reception({ tickets: new TicketGate(KEY, 2), requireTicket: true, networks: { allow: [], deny: [] }, handshakes: new HandshakeLimiter({ handshakesPerSecond: 10, handshakesPerSecondPerIp: 1, trackedIps: 10 }), clock })
  const request = (query: string, peer?: { ip: string, port: number }) => ({ path: `/v1/viewer?${query}`, authority: 'relay', headers: {}, peer })
  const first = request(`ticket=${ticket(1, '192.0.2.9')}&viewer=abcdefghijklmnop`)
  assert.deepEqual(strict.identify(first), { ip: '192.0.2.9', port: undefined, viewer: 'abcdefghijklmnop' })
  assert.deepEqual(strict.visitor(first), { ip: '192.0.2.9', port: undefined, viewer: 'abcdefghijklmnop' })
  assert.deepEqual(strict.identify(request(`ticket=${ticket(1, '192.0.2.9')}`)), { accept: false, status: 409, failure: 'ticket' })
  assert.deepEqual(strict.identify(request('')), { accept: false, status: 403, failure: 'ticket' })
  assert.deepEqual(strict.identify(request('ticket=nonsense')), { accept: false, status: 403, failure: 'ticket' })
  assert.deepEqual(strict.identify(request(`ticket=${ticket(2, '192.0.2.9', NOW)}`)), { accept: false, status: 403, failure: 'ticket' })
  assert.ok('ip' in strict.identify(request(`ticket=${ticket(3)}`)))
  assert.deepEqual(strict.identify(request(`ticket=${ticket(4)}`)), { accept: false, status: 429, failure: 'ticket' })
  // An engine that tells the address needs no ticket, and one that is shown is not spent.
  const peer = { ip: '192.0.2.8', port: 4 }
  assert.deepEqual(strict.identify(request('viewer=too-short', peer)), { ...peer, viewer: undefined })
  const open = new Reception({ tickets: new TicketGate(KEY, 2), requireTicket: false, networks: { allow: [], deny: [] }, handshakes: new HandshakeLimiter({ handshakesPerSecond: 10, handshakesPerSecondPerIp: 1, trackedIps: 10 }), clock })
  assert.deepEqual(open.identify(request('')), { ip: 'unknown', port: undefined, viewer: undefined })
  assert.deepEqual(open.identify(request('')), { accept: false, status: 429, failure: 'rate-address' })
})
