import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { FairShare } from '../../../src/pacing/fair-share.ts'
import { MAX_QUANTUM, MIN_QUANTUM } from '../../../src/pacing/share-viewer.ts'
import { fluidShares, seededRandom, ShareSim, windowExtremes, type SimViewer } from '../../support/share-sim.ts'

/** The burst of a bucket that begins full is spent, and every viewer has come, long before this. */
const SETTLED_MS = 700
const WINDOW_MS = 1000

function makeShare (totalBps: number, options: { readonly burstBytes?: number, readonly maxViewers?: number, readonly maxWaiting?: number } = {}): FairShare<number> {
  return new FairShare<number>({ totalBps, maxViewers: 1000, maxWaiting: 1_000_000, ...options }, 0)
}

function greedy (id: string, streams: number, more: Partial<SimViewer> = {}): SimViewer {
  return { id, limits: { weight: 1 }, streams, wanted: MAX_QUANTUM, ...more }
}

/** Least and most of a window as parts of `shareBps`, for one viewer, or for all. */
function within (sim: ShareSim, shareBps: number, from: number, to: number, id?: string): { least: number, most: number } {
  const { least, most } = windowExtremes(id === undefined ? sim.grants : sim.grants.filter(grant => grant.id === id), WINDOW_MS, from, to)
  const bytes = shareBps / 8 * WINDOW_MS / 1000
  return { least: least / bytes, most: most / bytes }
}

/** What is promised, for windows that begin once all of them wait. */
function assertFair (sim: ShareSim, totalBps: number, ids: readonly string[], from: number, to: number): void {
  const total = within(sim, totalBps, from, to)
  assert.ok(total.least >= 0.98 && total.most <= 1.02 + 1e-9, `total ${total.least} to ${total.most} of the budget`)
  const byId = new Map<string, Array<{ at: number, bytes: number }>>(ids.map(id => [id, []]))
  for (const grant of sim.grants) byId.get(grant.id)?.push(grant)
  const bytes = totalBps / 8 / ids.length
  for (const [id, grants] of byId) {
    const { least, most } = windowExtremes(grants, WINDOW_MS, from, to)
    assert.ok(least >= 0.95 * bytes && most <= 1.05 * bytes, `viewer ${id} got ${least / bytes} to ${most / bytes} of its share`)
  }
}

// Each viewer's share is 200 kbit/s or more; a grant of the least size is more than 2.5 % of a second below that.
const SIZES: ReadonlyArray<readonly [totalBps: number, viewers: number]> = [
  [1e6, 1], [1e6, 5], [10e6, 1], [10e6, 7], [10e6, 50], [40e6, 200], [100e6, 2], [100e6, 60], [200e6, 200], [1e9, 10], [1e9, 200], [1e10, 5], [1e10, 100]
]

for (const [totalBps, viewers] of SIZES) {
  test(`${viewers} equal viewers at ${totalBps / 1e6} Mbit/s: each within 5 % of its share, the total within 2 % of the budget, over any second`, () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: viewers, size: 'max' }), fc.integer(), (streams, seed) => {
      const random = seededRandom(seed)
      const sim = new ShareSim(makeShare(totalBps), { lateMs: () => random() })
      const ids = Array.from({ length: viewers }, (_, index) => `v${index}`)
      ids.forEach((id, index) => { sim.add(greedy(id, streams[index % streams.length] ?? 1, { joinsAt: random() * 100 })) })
      sim.run(2200)
      assertFair(sim, totalBps, ids, SETTLED_MS, 2200)
    }), { numRuns: viewers >= 100 ? 2 : 5 })
  })
}

test('viewers who think up to 3 ms between their requests, beside greedy ones with 200 streams, with timers late by up to 4 ms: the same bounds', () => {
  fc.assert(fc.property(fc.constantFrom([10e6, 50], [100e6, 60], [40e6, 200], [200e6, 40]), fc.integer(), ([totalBps = 0, viewers = 0], seed) => {
    const random = seededRandom(seed)
    const sim = new ShareSim(makeShare(totalBps), { lateMs: () => random() * 4 })
    const ids = Array.from({ length: viewers }, (_, index) => `v${index}`)
    ids.forEach((id, index) => { sim.add(greedy(id, index % 5 === 0 ? 200 : 1, { thinkMs: () => random() * 3, wanted: index % 3 === 0 ? 16_384 : 65_536 })) })
    sim.run(3000)
    assertFair(sim, totalBps, ids, SETTLED_MS, 3000)
  }), { numRuns: 12 })
})

test('a viewer with 200 streams gets what nine with one stream each get', () => {
  const sim = new ShareSim(makeShare(50e6))
  const ids = ['greedy', ...Array.from({ length: 9 }, (_, index) => `polite${index}`)]
  for (const id of ids) sim.add(greedy(id, id === 'greedy' ? 200 : 1, { thinkMs: () => 1 }))
  sim.run(4000)
  assertFair(sim, 50e6, ids, SETTLED_MS, 4000)
})

/** A viewer of the fluid comparison: what it wants, in parts of the total. */
interface Wish {
  readonly weight: number
  readonly cap?: number | undefined
  readonly floor?: number | undefined
  /** What it takes at most: a slow viewer. */
  readonly pace?: number | undefined
  readonly streams?: number
  readonly thinkMs?: number
  /** In which of the three phases it is there. */
  readonly first?: number
  readonly last?: number
}

const wishes: fc.Arbitrary<Wish> = fc.record({
  weight: fc.constantFrom(0.5, 1, 1, 2, 4),
  cap: fc.option(fc.double({ min: 0.02, max: 0.6, noNaN: true }), { nil: undefined }),
  floor: fc.option(fc.double({ min: 0.01, max: 0.3, noNaN: true }), { nil: undefined }),
  pace: fc.option(fc.double({ min: 0.005, max: 0.5, noNaN: true }), { nil: undefined }),
  streams: fc.integer({ min: 1, max: 200 }),
  thinkMs: fc.constantFrom(0, 1),
  first: fc.constantFrom(0, 0, 1, 2),
  last: fc.constantFrom(2, 2, 1, 0)
}).filter(({ first, last }) => first <= last)

/** One who thinks left some of its share to the one who wanted more: 43.6 Mbit/s for 37.2, found by a run of this property. */
const leftByOneWhoThinks: Wish[] = [
  { weight: 4, cap: 0.02 }, { weight: 2, thinkMs: 1 }, { weight: 0.5, cap: 0.02 }, { weight: 2, pace: 0.15 }, { weight: 1, last: 0 }, { weight: 2, pace: 0.02 }, { weight: 0.5, pace: 0.01 },
  { weight: 1, cap: 0.02 }, { weight: 4, cap: 0.06, pace: 0.39 }, { weight: 1, last: 0 }, { weight: 1, floor: 0.01, pace: 0.03 }, { weight: 4, cap: 0.02 }, { weight: 4, pace: 0.01 },
  { weight: 2, cap: 0.02, pace: 0.11 }, { weight: 0.5 }
]

test('viewers who join, leave and are slow, with weights, caps and floors: all follow the fluid max-min shares', () => {
  fc.assert(fc.property(fc.constantFrom<number[]>(5e6, 100e6, 300e6), fc.array(wishes, { minLength: 1, maxLength: 25, size: 'max' }), fc.integer(), (totalBps, specs, seed) => {
    const random = seededRandom(seed)
    // Small buckets: what is left in that of a cap is not part of the fluid model.
    const sim = new ShareSim(makeShare(totalBps, { burstBytes: totalBps / 8 / 250 }), { lateMs: () => random() })
    const phaseMs = 2500
    const viewers = specs.map((spec, index) => {
      const capBps = spec.cap === undefined ? undefined : spec.cap * totalBps
      const floorBps = spec.floor === undefined ? undefined : Math.min(spec.floor * totalBps, capBps ?? Infinity)
      // A slow viewer has one stream: many would each be slow.
      const paceBps = spec.pace === undefined ? undefined : Math.min(spec.pace * totalBps, capBps ?? Infinity)
      return { streams: 1, thinkMs: 0, first: 0, last: 2, ...spec, id: `v${index}`, capBps, floorBps, paceBps }
    })
    for (const { id, weight, capBps, floorBps, paceBps, streams, thinkMs, first, last } of viewers) {
      sim.add({
        id,
        limits: { weight, capBps, floorBps },
        // So little that a second holds many of a slow viewer's requests.
        wanted: paceBps === undefined ? MAX_QUANTUM : Math.ceil(paceBps / 8 / 50),
        streams: paceBps === undefined ? streams : 1,
        thinkMs: () => thinkMs * random(),
        ...paceBps === undefined ? {} : { paceBps },
        joinsAt: first * phaseMs,
        leavesAt: (last + 1) * phaseMs
      })
    }
    sim.run(3 * phaseMs)
    for (const phase of [0, 1, 2]) {
      const present = viewers.filter(({ first, last }) => first <= phase && phase <= last)
      if (present.length === 0) continue
      const wants = present.map(({ weight, capBps, floorBps, paceBps }) => ({ weight, floor: floorBps ?? 0, limit: Math.min(capBps ?? Infinity, paceBps ?? Infinity) }))
      const shares = fluidShares(wants, totalBps)
      // Where floors are most of the total they shrink by those of the viewers that wait just then, also by what a slow one does not take of its own.
      const scarce = present.reduce((sum, { floorBps }) => sum + (floorBps ?? 0), 0) > 0.7 * totalBps
      const end = (phase + 1) * phaseMs
      const second = sim.grants.filter(({ at }) => at >= end - WINDOW_MS && at < end)
      const taken = present.map(({ id }) => second.reduce((sum, grant) => sum + (grant.id === id ? grant.bytes : 0), 0) * 8)
      // A viewer that thinks between its requests may leave some of its share, and what it leaves goes to the others.
      const mosts = fluidShares(wants.map((want, index) => ({ ...want, limit: (taken[index] ?? 0) < (shares[index] ?? 0) ? taken[index] ?? 0 : want.limit })), totalBps)
      for (const [index, viewer] of present.entries()) {
        const [bits = 0, share = 0, most = 0] = [taken[index], shares[index], mosts[index]]
        const tolerance = (rate: number): number => (scarce ? 0.15 : 0.08) * rate + 0.01 * totalBps + 2 * MIN_QUANTUM * 8
        assert.ok(bits >= share - tolerance(share), `viewer ${viewer.id} in phase ${phase}: ${bits} of its ${share}`)
        assert.ok(bits <= Math.max(share, most) + tolerance(share), `viewer ${viewer.id} in phase ${phase}: ${bits} where ${most} is left for it`)
      }
      const all = shares.reduce((sum, share) => sum + share, 0)
      // Slow viewers who had to wait in the phase before catch up in this one.
      const bits = taken.reduce((sum, one) => sum + one, 0)
      assert.ok(bits >= 0.98 * all - MIN_QUANTUM * 8 && bits <= 1.02 * totalBps, `${bits} for ${all} in phase ${phase}`)
    }
  }), { numRuns: 60, endOnFailure: true, examples: [[300e6, leftByOneWhoThinks, -1595109930]] })
})

test('59 viewers who join one that had all to itself: from the moment they wait each gets its share, the first one too', () => {
  for (const streams of [1, 200]) {
    const sim = new ShareSim(makeShare(100e6))
    sim.add(greedy('first', streams))
    const ids = ['first', ...Array.from({ length: 59 }, (_, index) => `late${index}`)]
    for (const id of ids.slice(1)) sim.add(greedy(id, 2, { joinsAt: 1000 }))
    sim.run(3500)
    assert.ok(within(sim, 100e6, 0, 1000, 'first').least >= 0.98)
    assertFair(sim, 100e6, ids, 1001, 3500)
  }
})

test('when 30 of 60 leave, the others have their shares immediately', () => {
  const sim = new ShareSim(makeShare(100e6))
  const ids = Array.from({ length: 60 }, (_, index) => `v${index}`)
  ids.forEach((id, index) => { sim.add(greedy(id, 1 + index, index < 30 ? {} : { leavesAt: 2000 })) })
  sim.run(4000)
  assertFair(sim, 100e6, ids.slice(0, 30), 2001, 4000)
})

test('a budget cut to a tenth holds within the second after it, and each viewer has its share of it', () => {
  const share = makeShare(100e6)
  const sim = new ShareSim(share)
  const ids = Array.from({ length: 20 }, (_, index) => `v${index}`)
  for (const id of ids) sim.add(greedy(id, 3))
  sim.run(1000)
  share.setTotal(10e6, sim.now)
  sim.run(3000)
  assertFair(sim, 10e6, ids, 1001, 3000)
})

test('nobody starves: while 200 viewers of weights from 0.1 to 10 wait, none waits longer than two of its grants take at its share', () => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 2, maxLength: 200, size: 'max' }), weights => {
    const totalBps = 100e6
    const sim = new ShareSim(makeShare(totalBps))
    weights.forEach((weight, index) => { sim.add(greedy(`v${index}`, 2, { limits: { weight } })) })
    sim.run(1500)
    const sum = weights.reduce((a, b) => a + b, 0)
    for (const [index, weight] of weights.entries()) {
      const times = sim.grants.filter(grant => grant.id === `v${index}`).map(grant => grant.at)
      const gaps = times.map((at, i) => at - (times[i - 1] ?? 0))
      const grantMs = Math.max(20, MIN_QUANTUM * 8000 / (totalBps * weight / sum))
      // The first round is of the full bucket.
      assert.ok(Math.max(...gaps) <= 2 * grantMs + 20, `weight ${weight} of ${sum} waited ${Math.max(...gaps)} ms`)
    }
  }), { numRuns: 10, endOnFailure: true })
})

test('floors beyond the total shrink alike, and hold against any crowd while they fit', () => {
  const crowd = new ShareSim(makeShare(20e6))
  crowd.add(greedy('floor', 1, { limits: { weight: 1, floorBps: 5e6 } }))
  for (let index = 0; index < 100; index++) crowd.add(greedy(`v${index}`, 2))
  crowd.run(3000)
  const held = within(crowd, 5e6, SETTLED_MS, 3000, 'floor')
  assert.ok(held.least >= 0.95 && held.most <= 1.05, `${held.least} to ${held.most}`)

  const shrunk = new ShareSim(makeShare(9e6))
  for (const [id, floorBps] of [['a', 9e6], ['b', 6e6], ['c', 3e6]] as const) shrunk.add(greedy(id, 2, { limits: { weight: 1, floorBps } }))
  shrunk.run(3000)
  for (const [id, bps] of [['a', 4.5e6], ['b', 3e6], ['c', 1.5e6]] as const) {
    const got = within(shrunk, bps, SETTLED_MS, 3000, id)
    assert.ok(got.least >= 0.95 && got.most <= 1.05, `${id}: ${got.least} to ${got.most}`)
  }
})

test('a viewer served beyond its floor for long has its floor the moment others come', () => {
  const sim = new ShareSim(makeShare(20e6))
  sim.add(greedy('floor', 2, { limits: { weight: 1, floorBps: 5e6 } }))
  for (let index = 0; index < 50; index++) sim.add(greedy(`v${index}`, 2, { joinsAt: 3000 }))
  sim.run(5000)
  const { least } = within(sim, 5e6, 3001, 5000, 'floor')
  assert.ok(least >= 0.95, `${least} of its floor`)
})

test('a cap is never exceeded apart from its burst, and what it leaves goes to the others immediately', () => {
  const sim = new ShareSim(makeShare(50e6))
  sim.add(greedy('capped', 20, { limits: { weight: 5, capBps: 4e6 } }))
  sim.add(greedy('free', 1))
  sim.run(4000)
  const capped = sim.grants.filter(grant => grant.id === 'capped')
  for (const ms of [10, 100, 1000]) {
    const { most } = windowExtremes(capped, ms, 0, 4000)
    assert.ok(most <= 4e6 / 8000 * ms + 65_536 + 1, `${most} bytes in ${ms} ms`)
  }
  assert.ok(within(sim, 4e6, SETTLED_MS, 4000, 'capped').least >= 0.95)
  assert.ok(within(sim, 46e6, SETTLED_MS, 4000, 'free').least >= 0.95)
})

test('caps hold without any total', () => {
  const sim = new ShareSim(makeShare(0))
  sim.add(greedy('capped', 5, { limits: { weight: 1, capBps: 8e6 } }))
  sim.run(3000)
  const { least, most } = within(sim, 8e6, SETTLED_MS, 3000, 'capped')
  assert.ok(least >= 0.95 && most <= 1.05, `${least} to ${most}`)
  assert.equal(sim.share.limited, true)
  assert.equal(makeShare(0).limited, false)
})

test('idle time earns the burst and no more, for the total and for the viewer', () => {
  const share = makeShare(8e6, { burstBytes: 100_000 })
  const sim = new ShareSim(share, { now: 0 })
  sim.add(greedy('early', 4, { leavesAt: 1000 }))
  sim.add(greedy('other', 4, { joinsAt: 20_000 }))
  sim.add(greedy('idle', 4, { joinsAt: 20_500 }))
  sim.run(23_000)
  const other = sim.grants.filter(grant => grant.at >= 20_000)
  assert.ok(windowExtremes(other, 1000, 20_000, 23_000).most <= 1_000_000 + 100_000)
  assertFair(sim, 8e6, ['other', 'idle'], 20_501, 23_000)
})

test('many requests of one viewer are answered in their order', () => {
  const share = makeShare(1e6, { burstBytes: 2400 })
  share.join('v', { weight: 1 }, 0)
  const answered: number[] = []
  for (let ticket = 1; ticket <= 50; ticket++) {
    if (share.request('v', ticket, 500 + ticket * 7 % 100, 0) > 0) answered.push(ticket)
  }
  assert.ok(answered.length < 5)
  assert.equal(share.cancel('v', 25, 0), true)
  assert.equal(share.cancel('v', 25, 0), false)
  for (let now = share.nextAt(0); now !== undefined; now = share.nextAt(now)) answered.push(...share.advance(now).map(grant => grant.ticket))
  assert.deepEqual(answered, Array.from({ length: 50 }, (_, index) => index + 1).filter(ticket => ticket !== 25))
})

test('bytes that come back may be granted again, to anyone', () => {
  const share = makeShare(8000, { burstBytes: 10_000 })
  share.join('a', { weight: 1 }, 0)
  share.join('b', { weight: 1 }, 0)
  let taken = 0
  for (let bytes = share.request('a', 0, 1000, 0); bytes > 0; bytes = share.request('a', 0, 1000, 0)) taken += bytes
  assert.ok(taken >= 9000 && taken <= 10_000)
  share.cancel('a', 0, 0)
  assert.equal(share.request('b', 1, 500, 0), 10_000 - taken >= 500 ? 500 : 0)
  share.cancel('b', 1, 0)
  share.refund('a', 5000, 0)
  assert.equal(share.request('b', 2, 500, 0), 500)
})

test('a total of 0 lets go all who wait for nothing else', () => {
  const share = makeShare(1e6)
  share.join('free', { weight: 1 }, 0)
  share.join('capped', { weight: 1, capBps: 8000 }, 0)
  let atOnce = 0
  for (let ticket = 0; ticket < 100; ticket++) atOnce += share.request('free', ticket, 100_000, 0) > 0 ? 1 : 0
  for (let ticket = 100; ticket < 300; ticket++) share.request('capped', ticket, 100_000, 0)
  assert.ok(atOnce < 100)
  share.setTotal(0, 0)
  const grants = share.advance(0)
  assert.equal(grants.filter(grant => grant.id === 'free').length, 100 - atOnce)
  assert.ok(grants.filter(grant => grant.id === 'capped').reduce((sum, grant) => sum + grant.bytes, 0) <= 65_536)
  assert.equal(share.sizes().ready, 0)
  assert.equal(share.sizes().capped, 1)
})

test('viewers and requests are bounded, and limits that cannot be are refused', () => {
  const share = makeShare(8000, { maxViewers: 2, maxWaiting: 3 })
  const refused = (code: string) => (error: unknown): boolean => error instanceof RelayError && error.code === code
  share.join('a', { weight: 1 }, 0)
  share.join('b', { weight: 1 }, 0)
  assert.throws(() => { share.join('c', { weight: 1 }, 0) }, refused('RELAY_ERR_RATE_LIMITED'))
  share.leave('b', 0)
  assert.throws(() => { share.join('a', { weight: 1 }, 0) }, refused('RELAY_ERR_INTERNAL'))
  assert.throws(() => { share.request('b', 1, 1, 0) }, refused('RELAY_ERR_INTERNAL'))
  let ticket = 0
  while (share.request('a', ticket, MAX_QUANTUM, 0) > 0) ticket += 1
  share.request('a', ticket + 1, 1, 0)
  share.request('a', ticket + 2, 1, 0)
  assert.throws(() => { share.request('a', ticket + 3, 1, 0) }, refused('RELAY_ERR_RATE_LIMITED'))
  assert.equal(share.sizes().waiting, 3)
  assert.deepEqual(share.leave('a', 0), [ticket, ticket + 1, ticket + 2])
  assert.deepEqual(share.sizes(), { viewers: 0, waiting: 0, ready: 0, due: 0, capped: 0 })
  for (const limits of [{ weight: 0 }, { weight: NaN }, { weight: 1, capBps: 0 }, { weight: 1, floorBps: -1 }, { weight: 1, capBps: 5, floorBps: 6 }]) {
    assert.throws(() => { share.join('bad', limits, 0) }, RangeError)
  }
  assert.throws(() => { share.setTotal(-1, 0) }, RangeError)
  assert.equal(share.sizes().viewers, 0)
})

/** One step of a random history. */
const steps = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('join' as const), viewer: fc.nat(9), weight: fc.constantFrom(0.1, 1, 3), capBps: fc.option(fc.integer({ min: 1000, max: 5e6 }), { nil: undefined }), floor: fc.option(fc.integer({ min: 0, max: 1e6 }), { nil: undefined }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('leave' as const, 'cancel' as const), viewer: fc.nat(9) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('request' as const), viewer: fc.nat(9), bytes: fc.integer({ min: 1, max: 1e6 }) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.double({ min: 0, max: 50, noNaN: true }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('total' as const), bps: fc.constantFrom(0, 1e5, 1e6, 1e8) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('refund' as const), viewer: fc.nat(9) }) }
)

test('any history: grants are for requests that wait and no larger, the total is kept, the sizes are those of a model, and nothing waits that could be served', () => {
  fc.assert(fc.property(fc.array(steps, { maxLength: 150, size: 'max' }), history => {
    const burstBytes = 20_000
    const share = makeShare(1e6, { burstBytes })
    const model = new Map<string, Map<number, number>>()
    const capped = new Set<string>()
    let now = 0
    let rate = 1e6 / 8000
    /** What a bucket that had been full could have given at most. */
    let allowance = burstBytes
    let ticket = 0
    let last = 0
    const took = (bytes: number, wanted: number | undefined): void => {
      assert.ok(wanted !== undefined && bytes >= 1 && bytes <= Math.min(wanted, MAX_QUANTUM))
      allowance -= bytes
      last = bytes
      assert.ok(rate === 0 || allowance >= -1, `${-allowance} bytes beyond the total`)
    }
    const pass = (ms: number): void => {
      now += ms
      allowance = Math.min(burstBytes, allowance + rate * ms)
    }
    const advance = (): void => {
      for (const grant of share.advance(now)) {
        took(grant.bytes, model.get(grant.id)?.get(grant.ticket))
        model.get(grant.id)?.delete(grant.ticket)
      }
      const next = share.nextAt(now)
      assert.ok(next === undefined || next > now, 'something is left that could be granted')
    }
    for (const step of history) {
      const id = 'viewer' in step ? `v${step.viewer}` : ''
      const requests = model.get(id)
      if (step.kind === 'pass') {
        pass(step.ms)
        advance()
      } else if (step.kind === 'total') {
        if (rate === 0) allowance = burstBytes
        share.setTotal(step.bps, now)
        rate = step.bps / 8000
        advance()
      } else if (step.kind === 'join') {
        const limits = { weight: step.weight, capBps: step.capBps, floorBps: step.floor === undefined ? undefined : Math.min(step.floor, step.capBps ?? Infinity) }
        if (requests === undefined) {
          share.join(id, limits, now)
          model.set(id, new Map())
        } else share.update(id, limits, now)
        if (step.capBps === undefined) capped.delete(id)
        else capped.add(id)
      } else if (requests === undefined) {
        assert.deepEqual(share.leave(id, now), [])
      } else if (step.kind === 'request') {
        const bytes = share.request(id, ticket, step.bytes, now)
        if (bytes > 0) took(bytes, step.bytes)
        else requests.set(ticket, step.bytes)
        ticket += 1
      } else if (step.kind === 'leave') {
        assert.deepEqual(share.leave(id, now), [...requests.keys()])
        model.delete(id)
        capped.delete(id)
      } else if (step.kind === 'cancel') {
        const [first] = requests.keys()
        if (first !== undefined) assert.equal(share.cancel(id, first, now), true)
        if (first !== undefined) requests.delete(first)
      } else {
        share.refund(id, last, now)
        allowance = Math.min(burstBytes, allowance + last)
        last = 0
      }
      const waiting = [...model.values()].filter(waits => waits.size > 0).length
      const sizes = share.sizes()
      assert.equal(sizes.viewers, model.size)
      assert.equal(sizes.waiting, [...model.values()].reduce((sum, waits) => sum + waits.size, 0))
      assert.equal(sizes.ready + sizes.capped, waiting)
      assert.ok(sizes.due <= sizes.ready)
      assert.equal(share.limited, rate > 0 || capped.size > 0)
    }
    // Whatever waits is served in the end.
    if (rate === 0) allowance = burstBytes
    share.setTotal(1e8, now)
    rate = 1e8 / 8000
    for (let next = share.nextAt(now); next !== undefined; next = share.nextAt(now)) {
      pass(Math.max(0, next - now))
      advance()
    }
    assert.equal(share.sizes().waiting, 0)
  }), { numRuns: 300 })
})
