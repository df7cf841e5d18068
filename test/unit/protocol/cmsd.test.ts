import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { formatCmsd, parseCmsd } from '../../../src/protocol/cmsd.ts'

test('what a relay writes is read back, to the kilobit, alone and beside what others say', () => {
  const hints = fc.record({ bitsPerSecond: fc.nat({ max: 1e12 }), rendition: fc.stringMatching(/^[A-Za-z0-9._-]{1,32}$/) })
  const others = fc.constantFrom('', '"CDNB-3ak1";etp=96;rtt=8', '"edge";du;mb=5', 'token;a="b"', '"icn";mb=1;icn-rendition="x"')
  fc.assert(fc.property(hints, others, others, (hint, before, after) => {
    const field = [before, formatCmsd(hint), after].filter(part => part !== '').join(', ')
    assert.deepEqual(parseCmsd(field), { bitsPerSecond: Math.floor(hint.bitsPerSecond / 1_000) * 1_000, rendition: hint.rendition })
  }))
  assert.equal(formatCmsd({ bitsPerSecond: 1_666_999, rendition: '480p' }), '"icn-relay";mb=1666;icn-rendition="480p"')
})

test('parameters may come in any order and with others between', () => {
  assert.deepEqual(parseCmsd('"icn-relay";etp=96;icn-rendition="720p"; mb=2500;du'), { bitsPerSecond: 2_500_000, rendition: '720p' })
})

test('anything else is nothing', () => {
  for (const field of [undefined, '', '"icn-relay"', '"icn-relay";mb=12', '"icn-relay";icn-rendition="480p"', '"icn-relay";mb=-1;icn-rendition="480p"', '"icn-relay";mb=1.5;icn-rendition="480p"',
    '"icn-relay";mb=1;icn-rendition=480p', '"icn-relay";mb=1;icn-rendition="<b>"', 'x"icn-relay";mb=1;icn-rendition="480p"', '"edge";mb=1;icn-rendition="480p"', `"icn-relay";mb=1;icn-rendition="480p"${' '.repeat(1_024)}`]) {
    assert.equal(parseCmsd(field), undefined, field)
  }
  fc.assert(fc.property(fc.string(), field => { parseCmsd(field) }))
})

test('a hostile field costs no time', () => {
  for (const field of [`"icn-relay"${';a'.repeat(500)}!`, `"icn-relay"${';a=""'.repeat(200)}!`, ','.repeat(1_000), '"icn-relay";'.repeat(80)]) {
    const began = process.cpuUsage()
    for (let count = 0; count < 100; count++) parseCmsd(field)
    const { user } = process.cpuUsage(began)
    assert.ok(user < 2_000_000, `${user} µs for 100 times`)
  }
})
