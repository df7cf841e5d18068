import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { encodeProblem } from '../../../src/gateway/session/response.ts'
import { cameFromRelay, onwardVia, refuseLoop, relayPseudonym, sameWay } from '../../../src/plugins/upstream/tiers.ts'
import { formatVia, MAX_VIA_MEMBERS, parseVia, receivedBy } from '../../../src/protocol/via.ts'

suite('the via field', () => {
  test('members in order, without comments; white space and empty elements do not count', () => {
    const cases: [field: string | undefined, members: string[]][] = [
      [undefined, []],
      ['', []],
      [' , ,\t', []],
      ['1.1 icn-relay-a', ['1.1 icn-relay-a']],
      ['1.0 fred, 1.1 p.example.net', ['1.0 fred', '1.1 p.example.net']],
      ['HTTP/2.0 fred:8080 ,2\t[::1]:80', ['HTTP/2.0 fred:8080', '2 [::1]:80']],
      ['1.1 abc.cloudfront.net (CloudFront), 1.1 x (a (b, c) \\) d)', ['1.1 abc.cloudfront.net', '1.1 x']]
    ]
    for (const [field, members] of cases) assert.deepEqual(parseVia(field), members, field)
  })

  test('members that are not ours to parse are left out, and those beside them stay', () => {
    const cases: [field: string, members: string[]][] = [
      ['1.1 kong/3.10.0', []],
      ['1.1 (squid)', []],
      ['1.1 kong/3.10.0, 1.1 icn-relay-a, 1.1 (squid)', ['1.1 icn-relay-a']],
      ['1.1 proxy (squid/6.6), 1.1 icn-relay-a', ['1.1 proxy', '1.1 icn-relay-a']],
      ['1.1 a(b)', ['1.1 a']],
      ['1.1 a(b)c, 1.1 d', ['1.1 d']],
      ['1.1 a, 1.1 (b, 1.1 icn-relay-a', ['1.1 a', '1.1 icn-relay-a']],
      ['1.1 a (x), 1.1 b (c, (d), 1.1 icn-relay-a', ['1.1 a', '1.1 icn-relay-a']],
      ['1.1 a ) b, 1.1 c', ['1.1 c']],
      [`1.1 ${'a'.repeat(256)}, 1.1 b`, ['1.1 b']]
    ]
    for (const field of ['1.1', 'a b c', '1.1 "a"', '1.1 a;b', '1/2/3 a', '1.1 ä']) cases.push([field, []])
    for (const [field, members] of cases) assert.deepEqual(parseVia(field), members, field)
  })

  test('a field of any length gives a bounded list, longer than any that is served', () => {
    const members = (count: number): string => Array.from({ length: count }, (_, n) => `1.1 p${n}`).join(',')
    assert.equal(parseVia(members(MAX_VIA_MEMBERS)).length, MAX_VIA_MEMBERS)
    assert.equal(parseVia(members(5_000)).length, MAX_VIA_MEMBERS)
    assert.throws(() => { refuseLoop(parseVia(members(5_000)), { pseudonym: 'icn-relay-A', maxHops: 16 }) }, { code: 'RELAY_ERR_LOOP' })
  })

  test('any text is read, to members that are written and read the same', () => {
    const char = fc.constantFrom('1', '.', 'a', ' ', '\t', ',', '(', ')', '\\', '/', '"', '[', ':')
    fc.assert(fc.property(fc.array(char, { maxLength: 60 }).map(chars => chars.join('')), field => {
      const members = parseVia(field)
      assert.ok(members.length <= MAX_VIA_MEMBERS)
      assert.deepEqual(parseVia(formatVia(members)), members)
    }), { numRuns: 2_000 })
  })

  test('a relay finds its name whatever proxies have written around it', () => {
    const noise = fc.array(fc.string({ unit: fc.constantFrom(...'1.a ,\t()/"') }).filter(text => !text.includes('(')), { maxLength: 3 }).map(parts => parts.join(','))
    fc.assert(fc.property(noise, noise, (before, after) => {
      assert.ok(parseVia([before, '1.1 icn-relay-x', after].join(',')).includes('1.1 icn-relay-x'))
    }))
  })
})

suite('tiers', () => {
  const tier = { pseudonym: 'icn-relay-A', maxHops: 4 }

  test('a request that passed us before is a loop, in whatever case; at the hop limit any request is', () => {
    for (const field of ['1.1 icn-relay-A', '2 x, 1.1 ICN-RELAY-a, 1.1 y']) assert.throws(() => { refuseLoop(parseVia(field), tier) }, { code: 'RELAY_ERR_LOOP', status: 508 })
    for (const field of [undefined, '1.1 icn-relay-AB', '1.1 a, 1.1 b, 1.1 c']) refuseLoop(parseVia(field), tier)
    assert.throws(() => { refuseLoop(parseVia('1.1 a, 1.1 b, 1.1 c, 1.1 d'), tier) }, { code: 'RELAY_ERR_LOOP' })
  })

  test('relays that forward to one another refuse within the hop limit, whatever the graph', () => {
    fc.assert(fc.property(fc.array(fc.nat({ max: 7 }), { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 16 }), (walk, maxHops) => {
      let field: string | undefined
      const visited: number[] = []
      for (const relay of walk) {
        const pseudonym = relayPseudonym(String(relay), '', () => 0)
        const via = parseVia(field)
        const expected = visited.includes(relay) || visited.length >= maxHops
        if (expected) {
          assert.throws(() => { refuseLoop(via, { pseudonym, maxHops }) }, { code: 'RELAY_ERR_LOOP' })
          return
        }
        refuseLoop(via, { pseudonym, maxHops })
        field = onwardVia(via, pseudonym)
        visited.push(relay)
        assert.ok(visited.length <= maxHops)
      }
    }))
  })

  test('a pseudonym is a token, short, and differs by chance', () => {
    assert.equal(relayPseudonym('sfo-1', 'host', () => 0), 'icn-relay-sfo-1')
    assert.equal(relayPseudonym('', 'Edge_1.example', () => 0.5), 'icn-relay-edge-1-example-80000000')
    fc.assert(fc.property(fc.string(), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (hostname, chance) => {
      const pseudonym = relayPseudonym('', hostname, () => chance)
      assert.match(pseudonym, /^icn-relay-[a-z0-9-]{8,50}$/)
      const [member = ''] = parseVia(onwardVia([], pseudonym))
      assert.equal(receivedBy(member), pseudonym)
    }))
  })

  test('a proxy is not a relay', () => {
    assert.equal(cameFromRelay(parseVia('1.1 nginx')), false)
    assert.equal(cameFromRelay(parseVia('1.1 nginx, 1.1 Icn-Relay-x')), true)
    assert.equal(sameWay(['a', 'b'], ['a', 'b']), true)
    assert.equal(sameWay(['a', 'b'], ['b', 'a']), false)
    assert.equal(sameWay(['a'], ['a', 'b']), false)
  })
  test('a circle that is found upstream reaches viewers over WebTransport as 508', () => {
    const { status, head } = encodeProblem(new RelayError('RELAY_ERR_LOOP', 'circle'))
    assert.equal(status, 508)
    assert.match(new TextDecoder().decode(head), /^HTTP\/1\.1 508 Loop Detected\r\n/)
  })
})
