import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { plainAddress } from '../../../src/admission/address-key.ts'
import { isNetwork, Networks } from '../../../src/admission/networks.ts'
import { ViewerNetworks } from '../../../src/admission/viewer-networks.ts'
import { HandshakeLimiter } from '../../../src/admission/handshake-limiter.ts'
import { Reception } from '../../../src/gateway/reception.ts'
import { TicketGate } from '../../../src/gateway/ticket-gate.ts'
import { encodeTicket } from '../../../src/admission/ticket.ts'

suite('networks', () => {
  test('an address is in a set exactly when BlockList of Node says so', () => {
    // Few different bits, so that prefixes meet addresses.
    const octet = fc.constantFrom(0, 1, 10, 127, 128, 192, 255)
    const group = fc.constantFrom('0', '1', '2001', 'db8', '8000', 'ffff')
    const ipv4 = fc.array(octet, { minLength: 4, maxLength: 4 }).map(octets => octets.join('.'))
    const ipv6 = fc.array(group, { minLength: 8, maxLength: 8 }).map(groups => groups.join(':')).filter(ip => plainAddress(ip) === ip)
    const network = fc.oneof(fc.tuple(ipv4, fc.integer({ min: 1, max: 32 })), fc.tuple(ipv6, fc.integer({ min: 1, max: 128 })))
    fc.assert(fc.property(fc.array(network, { maxLength: 12 }), fc.array(fc.oneof(ipv4, ipv6), { minLength: 1, maxLength: 12 }), (networks, addresses) => {
      const texts = networks.map(([address, prefix]) => `${address}/${prefix}`)
      // One for each family: it takes an IPv4 address for its mapped form, which a short IPv6 prefix has.
      const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
      const familyOf = (address: string) => address.includes(':') ? 'ipv6' : 'ipv4'
      for (const [address, prefix] of networks) lists[familyOf(address)].addSubnet(address, prefix, familyOf(address))
      const set = new Networks(texts)
      assert.ok(texts.every(isNetwork))
      for (const address of addresses) assert.equal(set.has(address), lists[familyOf(address)].check(address, familyOf(address)), `${address} in ${texts.join(' ')}`)
    }), { numRuns: 500 })
  })

  test('a mapped address is its IPv4 address, and no text throws', () => {
    const set = new Networks(['192.0.2.0/24', '2001:db8::/32', 'nonsense', '10.0.0.0/0', '::ffff:10.0.0.1'])
    assert.equal(set.size, 2)
    assert.deepEqual(['::ffff:192.0.2.9', '::ffff:c000:209', '192.0.2.255', '2001:db8:1::', '2001:DB8::1'].map(ip => set.has(ip)), [true, true, true, true, true])
    assert.deepEqual(['192.0.3.0', '::192.0.2.1', '2001:db9::', '10.0.0.1', '', 'unknown'].map(ip => set.has(ip)), [false, false, false, false, false, false])
    fc.assert(fc.property(fc.string(), text => { set.has(text) }))
  })

  test('10,000 networks cost a probe for each length', () => {
    const many = new Networks(Array.from({ length: 10_000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`))
    assert.equal(many.size, 10_000)
    assert.deepEqual([many.has('10.0.0.1'), many.has('10.39.15.9'), many.has('10.39.16.9')], [true, true, false])
  })

  test('denied beats allowed; with an allowed network nobody else is let in', () => {
    const refused = (allow: string[], deny: string[], ip: string): boolean => new ViewerNetworks({ allow, deny }).refuses(ip)
    assert.deepEqual([refused([], [], '192.0.2.1'), refused([], [], 'unknown'), refused([], ['192.0.2.1'], '192.0.2.1'), refused([], ['192.0.2.1'], '192.0.2.2')], [false, false, true, false])
    assert.deepEqual([refused(['192.0.2.0/24'], [], '192.0.2.1'), refused(['192.0.2.0/24'], [], '198.51.100.1'), refused(['192.0.2.0/24'], [], 'unknown'), refused(['192.0.2.0/24'], ['192.0.2.1'], '192.0.2.1')], [false, true, true, true])
  })

  test('sessions are refused by the address of their connection, or of their ticket, which other lists change', () => {
    const key = Buffer.alloc(32, 7)
    const now = 1_800_000_000_000
    const reception = new Reception({ tickets: new TicketGate(key, 10), requireTicket: true, networks: { allow: [], deny: ['192.0.2.0/24'] }, handshakes: new HandshakeLimiter({ handshakesPerSecond: 10, handshakesPerSecondPerIp: 10, trackedIps: 10 }), clock: { now: () => now, monotonic: () => 0 } })
    let nonce = 0
    const byTicket = (address: string) => reception.identify({ path: `/v1/viewer?ticket=${encodeTicket({ address, expiresAt: now + 60_000, nonce: Buffer.alloc(12, ++nonce) }, key)}` } as Parameters<typeof reception.identify>[0])
    const byPeer = (ip: string) => reception.identify({ path: '/v1/viewer', peer: { ip, port: 1 } } as Parameters<typeof reception.identify>[0])
    const refusal = { accept: false, status: 403, failure: 'network' }
    assert.deepEqual([byTicket('192.0.2.1'), byPeer('::ffff:192.0.2.1')], [refusal, refusal])
    assert.ok(!('accept' in byTicket('198.51.100.1')) && !('accept' in byPeer('2001:db8::1')))
    const networks = reception.useNetworks({ allow: ['192.0.2.0/24'], deny: [] })
    assert.deepEqual([byTicket('198.51.100.1'), byPeer('2001:db8::1'), networks.refuses('198.51.100.1')], [refusal, refusal, true])
    assert.ok(!('accept' in byTicket('192.0.2.1')))
  })
})
