import assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { HandshakeLimiter, type HandshakeLimits, type HandshakeVerdict } from '../../../src/admission/handshake-limiter.ts'

const DEFAULTS: HandshakeLimits = { handshakesPerSecond: 100, handshakesPerSecondPerIp: 10, trackedIps: 10_000 }
const MB = 1024 * 1024

/** IPv4 address number `n`. */
const ip = (n: number): string => `${10 + (n >>> 24)}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`

/**
 * What the limiter should do, written down as it is described: tokens that come back evenly, one bucket for all and one for each
 * address, none of which is ever forgotten. In thousandths of tokens, of which whole milliseconds bring whole ones.
 */
class Model {
  readonly #limits: HandshakeLimits
  readonly #spent = new Map<string, number[]>()

  constructor (limits: HandshakeLimits) { this.#limits = limits }

  admit (address: string, now: number): HandshakeVerdict {
    const { handshakesPerSecond, handshakesPerSecondPerIp } = this.#limits
    const own = level(this.#spent.get(address) ?? [], handshakesPerSecondPerIp, now)
    const total = level(this.#spent.get('') ?? [], handshakesPerSecond, now)
    if (own < TOKEN) return 'rate-address'
    if (total < TOKEN) return 'rate-total'
    for (const name of ['', address]) this.#spent.set(name, [...this.#spent.get(name) ?? [], now])
    return 'admit'
  }
}

const TOKEN = 1_000

/** Thousandths of tokens in a bucket of `perSecond`, from everything that was ever taken from it. */
function level (taken: readonly number[], perSecond: number, now: number): number {
  const full = perSecond * TOKEN
  let tokens = full
  let at = taken[0] ?? now
  for (const time of taken) {
    tokens = Math.min(full, tokens + (time - at) * perSecond) - TOKEN
    at = time
  }
  return Math.min(full, tokens + (now - at) * perSecond)
}

suite('handshakes', () => {
  test('of one address: the 10th in a second is admitted, the 11th is not, and the next a tenth of a second later', () => {
    const limiter = new HandshakeLimiter(DEFAULTS)
    const verdicts = Array.from({ length: 11 }, () => limiter.admit('192.0.2.1', 5_000))
    assert.deepEqual(verdicts, [...Array.from({ length: 10 }, () => 'admit'), 'rate-address'])
    assert.equal(limiter.admit('192.0.2.2', 5_000), 'admit', 'others are not concerned')
    assert.equal(limiter.admit('192.0.2.1', 5_099), 'rate-address')
    assert.equal(limiter.admit('192.0.2.1', 5_100), 'admit')
    assert.equal(limiter.admit('192.0.2.1', 5_100), 'rate-address')
  })

  test('IPv6 counts by /64, and IPv4 in its mapped form as IPv4', () => {
    const limiter = new HandshakeLimiter({ ...DEFAULTS, handshakesPerSecondPerIp: 2 })
    assert.equal(limiter.admit('2001:db8::1', 0), 'admit')
    assert.equal(limiter.admit('2001:db8::ffff:2', 0), 'admit')
    assert.equal(limiter.admit('2001:db8::3', 0), 'rate-address')
    assert.equal(limiter.admit('2001:db8:0:1::3', 0), 'admit')
    assert.equal(limiter.admit('::ffff:192.0.2.1', 0), 'admit')
    assert.equal(limiter.admit('192.0.2.1', 0), 'admit')
    assert.equal(limiter.admit('192.0.2.1', 0), 'rate-address')
    assert.equal(limiter.size, 3)
  })

  test('in total: the 100th in a second is admitted, the 101st is not; an address over its own limit does not charge the total', () => {
    const limiter = new HandshakeLimiter(DEFAULTS)
    for (let n = 0; n < 10; n++) limiter.admit(ip(0), 0)
    for (let n = 0; n < 1_000; n++) assert.equal(limiter.admit(ip(0), 0), 'rate-address')
    for (let n = 1; n <= 90; n++) assert.equal(limiter.admit(ip(n), 0), 'admit')
    assert.equal(limiter.admit(ip(91), 0), 'rate-total')
    assert.equal(limiter.size, 91, 'who is refused is not remembered')
    assert.equal(limiter.admit(ip(0), 0), 'rate-address', 'its own limit is named first')
  })

  test('a change of limits takes effect immediately and gives nothing away', () => {
    const limiter = new HandshakeLimiter(DEFAULTS)
    for (let n = 0; n < 10; n++) limiter.admit(ip(0), 0)
    limiter.change({ ...DEFAULTS, handshakesPerSecondPerIp: 20 })
    assert.equal(limiter.admit(ip(0), 49), 'rate-address')
    assert.equal(limiter.admit(ip(0), 50), 'admit')
    limiter.change({ handshakesPerSecond: 1, handshakesPerSecondPerIp: 1, trackedIps: 1 })
    assert.equal(limiter.admit(ip(1), 50), 'rate-total')
    assert.equal(limiter.admit(ip(0), 1_051), 'admit')
    assert.equal(limiter.size, 1)
  })
})

suite('the table', () => {
  test('decides like one without a bound while twice the total rate fits in, and is never larger than its bound', () => {
    const scenario = fc.record({
      // Rates whose interval is a whole number of nanoseconds, so that nothing is rounded.
      handshakesPerSecond: fc.constantFrom(1, 2, 4, 5, 8, 10, 20),
      handshakesPerSecondPerIp: fc.constantFrom(1, 2, 4, 5, 8, 10),
      room: fc.integer({ min: 0, max: 5 }),
      addresses: fc.integer({ min: 1, max: 200 })
    })
    const asks = fc.array(fc.record({ who: fc.nat(), step: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 })), forget: fc.boolean() }), { maxLength: 250 })
    fc.assert(fc.property(scenario, asks, ({ room, addresses, ...rates }, steps) => {
      const limits = { ...rates, trackedIps: 2 * rates.handshakesPerSecond + room }
      const limiter = new HandshakeLimiter(limits)
      const model = new Model(limits)
      let now = 0
      for (const { who, step, forget } of steps) {
        now += step
        if (forget) limiter.forgetIdle(now)
        const address = ip(who % addresses)
        assert.equal(limiter.admit(address, now), model.admit(address, now), `${address} at ${now}`)
        assert.ok(limiter.size <= limits.trackedIps)
      }
    }), { numRuns: 1_000 })
  })

  test('is at its bound and not above with one address more than it holds', () => {
    const limiter = new HandshakeLimiter({ handshakesPerSecond: 1_000_000, handshakesPerSecondPerIp: 1, trackedIps: 10_000 })
    for (let n = 0; n < 10_001; n++) {
      assert.equal(limiter.admit(ip(n), 0), 'admit')
      assert.ok(limiter.size <= 10_000)
    }
    assert.equal(limiter.size, 10_000)
    assert.equal(limiter.admit(ip(10_000), 0), 'rate-address', 'the last is remembered')
    assert.equal(limiter.admit(ip(0), 0), 'admit', 'the first was forgotten')
    limiter.forgetIdle(1_001)
    assert.equal(limiter.size, 0)
  })

  test('under an attack from 1,000,000 addresses decides every time like a table with room for them all', t => {
    const roomy = new HandshakeLimiter({ ...DEFAULTS, handshakesPerSecond: 1_000, trackedIps: 1_000_000 })
    const limiter = new HandshakeLimiter({ ...DEFAULTS, handshakesPerSecond: 1_000 })
    const viewers = ['2001:db8::1', '192.0.2.1']
    const counts: Partial<Record<HandshakeVerdict, number>> = {}
    let largest = 0
    // Ten seconds, 100 addresses in every millisecond, and viewers in between that ask again and again.
    for (let n = 0; n < 1_000_000; n++) {
      const now = n / 100
      const address = n % 50 === 0 ? viewers[n / 50 % 2] ?? '' : ip(n)
      const verdict = limiter.admit(address, now)
      if (verdict !== roomy.admit(address, now)) assert.fail(`${address} at ${now}: ${verdict}`)
      counts[verdict] = (counts[verdict] ?? 0) + 1
      if (n % 100_000 === 0) limiter.forgetIdle(now)
      largest = Math.max(largest, limiter.size)
    }
    t.diagnostic(`1,000,000 addresses in 10 s at 1,000/s: ${JSON.stringify(counts)}, at most ${largest} remembered`)
    assert.equal(counts.admit, 11_000 - 1)
    assert.ok((counts['rate-address'] ?? 0) > 0)
    assert.ok(largest <= 3_000, `${largest} remembered: what two seconds admit`)
  })

  test('1,000,000 addresses that are all admitted leave 10,000 behind', t => {
    const collect = collector()
    const before = heap(collect)
    const limiter = new HandshakeLimiter({ handshakesPerSecond: 1_000_000, handshakesPerSecondPerIp: 10, trackedIps: 10_000 })
    const empty = heap(collect) - before
    for (let n = 0; n < 1_000_000; n++) {
      limiter.admit(ip(n), 0)
      if (n % 1_000 === 0) assert.ok(limiter.size <= 10_000)
    }
    const full = heap(collect) - before
    assert.equal(limiter.size, 10_000)
    t.diagnostic(`table of 10,000: ${(empty / MB).toFixed(2)} MB empty, ${(full / MB).toFixed(2)} MB after 1,000,000 addresses (${Math.round(full / 10_000)} bytes each)`)
    assert.ok(full < 8 * MB)
  })
})

/** A garbage collection on demand. */
function collector (): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}

/** Bytes in use, on the heap and in the typed arrays beside it. */
function heap (collect: () => void): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
