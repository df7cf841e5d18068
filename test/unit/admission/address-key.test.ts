import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { AddressCounts } from '../../../src/admission/address-counts.ts'
import { addressKey, NO_ADDRESS, plainAddress } from '../../../src/admission/address-key.ts'
import { isNetwork, Networks } from '../../../src/admission/networks.ts'

const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
const bytes = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 })

const isMapped = (groups: readonly number[]): boolean => groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff

/** Spellings of one address: full, upper case with leading zeros, every run of zeros shortened in turn, an IPv4 tail, a zone. */
function spellings (groups: readonly number[]): string[] {
  const texts = groups.map(group => group.toString(16))
  const tail = [groups[6] ?? 0, groups[7] ?? 0].flatMap(group => [group >> 8, group & 0xff]).join('.')
  const spelt = [texts.join(':'), groups.map(group => group.toString(16).toUpperCase().padStart(4, '0')).join(':'), `${texts.slice(0, 6).join(':')}:${tail}`]
  for (let from = 0; from < 8; from++) {
    for (let to = from + 1; to <= 8 && groups[to - 1] === 0; to++) {
      spelt.push(`${texts.slice(0, from).join(':')}::${texts.slice(to).join(':')}`)
      if (to <= 6) spelt.push(`${texts.slice(0, from).join(':')}::${[...texts.slice(to, 6), tail].join(':')}`)
    }
  }
  return [...spelt, `${texts.join(':')}%eth0`]
}

suite('address key', () => {
  test('examples', () => {
    assert.equal(addressKey('192.0.2.1'), '192.0.2.1')
    assert.equal(addressKey('::ffff:192.0.2.1'), '192.0.2.1')
    assert.equal(addressKey('::FFFF:c000:0201'), '192.0.2.1')
    for (const other of ['::192.0.2.1', '64:ff9b::192.0.2.1', '::fffe:192.0.2.1']) assert.equal(plainAddress(other), other)
    assert.equal(addressKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
    assert.equal(addressKey('2001:db8::1'), '2001:db8:0:0::/64')
    assert.equal(addressKey('::1'), '0:0:0:0::/64')
    assert.equal(addressKey('fe80::1%eth0'), 'fe80:0:0:0::/64')
    for (const text of ['', 'unknown', '1.2.3', '01.2.3.4', '1.2.3.4:80', '[::1]', '2001:db8::/64', ':::', 'x'.repeat(10_000)]) assert.equal(addressKey(text), NO_ADDRESS, text)
  })

  test('an IPv4 address is its own key, alone, mapped and spelt in any way', () => {
    fc.assert(fc.property(bytes, ([a = 0, b = 0, c = 0, d = 0]) => {
      const ip = `${a}.${b}.${c}.${d}`
      for (const spelt of [ip, ...spellings([0, 0, 0, 0, 0, 0xffff, a << 8 | b, c << 8 | d])]) {
        assert.equal(addressKey(spelt), ip, spelt)
        assert.equal(plainAddress(spelt), ip, spelt)
      }
    }))
  })

  test('every spelling of an IPv6 address has one key, which says its first 64 bits and nothing else', () => {
    fc.assert(fc.property(groups, groups, (one, other) => {
      fc.pre(!isMapped(one))
      const keys = new Set(spellings(one).map(addressKey))
      assert.deepEqual([...keys], [`${one.slice(0, 4).map(group => group.toString(16)).join(':')}::/64`])
      const neighbour = [...one.slice(0, 4), ...other.slice(4)]
      fc.pre(!isMapped(neighbour) && !isMapped(other))
      assert.ok(keys.has(addressKey(neighbour.map(group => group.toString(16)).join(':'))))
      assert.equal(keys.has(addressKey(other.map(group => group.toString(16)).join(':'))), one.slice(0, 4).every((group, at) => group === other[at]))
    }), { numRuns: 500 })
  })

  test('whatever the text, there is a key, and it is short', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.ipV4Extended(), fc.ipV6()), text => { assert.ok(addressKey(text).length <= 24) }), { numRuns: 1_000 })
    fc.assert(fc.property(fc.ipV4(), text => { assert.equal(addressKey(text), text) }))
    fc.assert(fc.property(fc.ipV6(), text => { assert.notEqual(addressKey(text), NO_ADDRESS) }))
  })
})

test('counts by address: what comes in goes out, under any spelling, and nothing is left', () => {
  const ips = ['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', '2001:db8::2', '198.51.100.1']
  fc.assert(fc.property(fc.array(fc.record({ ip: fc.constantFrom(...ips), add: fc.boolean() }), { maxLength: 60 }), steps => {
    const counts = new AddressCounts()
    const inside: string[] = []
    for (const { ip, add } of steps) {
      const at = inside.findIndex(other => addressKey(other) === addressKey(ip))
      if (add) {
        counts.add(ip)
        inside.push(ip)
      } else if (at >= 0) {
        counts.remove(ip)
        inside.splice(at, 1)
      }
      assert.equal(counts.of(ip), inside.filter(other => addressKey(other) === addressKey(ip)).length)
      assert.equal(counts.size, new Set(inside.map(addressKey)).size)
    }
    for (const ip of inside) counts.remove(ip)
    assert.equal(counts.size, 0)
  }))
})

test('networks: addresses and prefixes are in them, IPv4 also in its mapped form, and everybody is not a network', () => {
  for (const text of ['10.0.0.1', '10.0.0.0/8', '192.0.2.7/32', '2001:db8::/32', '::1', 'fd00::1/128']) assert.ok(isNetwork(text), text)
  for (const text of ['', 'loopback', 'proxy.example', '10.0.0', '10.0.0.0/0', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/255.0.0.0', '::/0', '::1/129', '::ffff:10.0.0.1', '::ffff:a00:1/128', 'fe80::1%eth0', ' 10.0.0.1', '10.0.0.1/8/8']) {
    assert.ok(!isNetwork(text), text)
  }
  const networks = new Networks(['10.0.0.0/8', '192.0.2.7', '2001:db8::/33', 'nonsense'])
  for (const ip of ['10.1.2.3', '::ffff:10.1.2.3', '::ffff:a01:203', '192.0.2.7', '2001:db8:7fff::1']) assert.ok(networks.has(ip), ip)
  for (const ip of ['11.1.2.3', '192.0.2.8', '2001:db8:8000::1', '::1', 'nonsense', '']) assert.ok(!networks.has(ip), ip)
  assert.ok(!new Networks([]).has('10.0.0.1'))
})
