import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OpenResponses } from '../../../../src/plugins/limits/open-responses.ts'

test('never more are open than the bounds say, of an address (IPv6 by its /64) and in total, and one that ends makes room, once', () => {
  fc.assert(fc.property(fc.array(fc.oneof(fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2', ''), fc.nat({ max: 20 })), { maxLength: 100 }), steps => {
    const responses = new OpenResponses({ perAddress: 3, total: 7 })
    const open: { ip: string, end: () => void }[] = []
    const key = (ip: string): string => ip.startsWith('2001') ? '2001' : ip
    for (const step of steps) {
      if (typeof step === 'number') {
        const [ended] = open.splice(step, 1)
        ended?.end()
        ended?.end()
        continue
      }
      const same = open.filter(({ ip }) => key(ip) === key(step)).length
      try {
        open.push({ ip: step, end: responses.begin(step) })
        assert.ok(same < 3 && open.length <= 7)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        assert.equal((error as { code: string }).code, open.length === 7 ? 'RELAY_ERR_OVERLOADED' : 'RELAY_ERR_RATE_LIMITED')
        assert.ok(open.length === 7 || same === 3)
      }
      assert.equal(responses.open, open.length)
    }
    for (const { end } of open) end()
    assert.deepEqual([responses.open, responses.addresses], [0, 0])
  }))
})
