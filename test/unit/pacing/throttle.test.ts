import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RelayError } from '../../../src/base/errors.ts'
import { Throttle, type ReadAllowance, type ThrottleOptions } from '../../../src/pacing/throttle.ts'
import { virtualTimers, type VirtualTimers } from '../../fakes/timers.ts'

const CHUNK = 256 * 1024

interface Rig { readonly throttle: Throttle, readonly timers: VirtualTimers }

/** Lets all that can happen without time passing happen. */
async function settle (): Promise<void> {
  await new Promise(resolve => { setImmediate(resolve) })
}

async function pass (timers: VirtualTimers, ms: number): Promise<void> {
  await settle()
  await timers.pass(ms)
}

function rig (options: Partial<ThrottleOptions> = {}): Rig {
  const timers = virtualTimers()
  return { timers, throttle: new Throttle({ clock: { monotonic: () => timers.now() }, timers, totalBps: 8e6, maxViewers: 100, maxWaiting: 1000, ...options }) }
}

const never = new AbortController().signal

/** A viewer that takes all it gets until `signal` aborts; counts what it got. */
function reader (allowance: ReadAllowance, signal: AbortSignal): { bytes: number, ended: unknown } {
  const counts = { bytes: 0, ended: undefined as unknown }
  const read = async (): Promise<void> => {
    for (;;) counts.bytes += await allowance.take(CHUNK, signal)
  }
  read().catch((error: unknown) => { counts.ended = error })
  return counts
}

function refusedAs (code: string): (error: unknown) => boolean {
  return error => error instanceof RelayError && error.code === code
}

test('without a total and without caps nothing is limited and takes are answered immediately', () => {
  const { throttle, timers } = rig({ totalBps: 0 })
  const viewer = throttle.join('a', { weight: 1, floorBps: 1000 })
  assert.equal(throttle.limited, false)
  assert.equal(viewer.take(CHUNK, never), CHUNK)
  assert.equal(viewer.take(5, never), 5)
  assert.equal(viewer.shareBps(), undefined)
  assert.equal(timers.waiting, 0)
  const capped = throttle.join('b', { weight: 1, capBps: 8000 })
  assert.equal(throttle.limited, true)
  assert.equal(capped.shareBps(), 8000)
  capped.update({ weight: 1 })
  assert.equal(throttle.limited, false)
  capped.update({ weight: 1, capBps: 8000 })
  capped.leave()
  assert.equal(throttle.limited, false)
})

test('readers wait for their shares with one timer between them; weights count', async () => {
  const { throttle, timers } = rig()
  const stop = new AbortController()
  const readers = [1, 1, 2].map((weight, index) => reader(throttle.join(`v${index}`, { weight }), stop.signal))
  await pass(timers, 1000)
  const before = readers.map(({ bytes }) => bytes)
  await pass(timers, 1000)
  const [a = 0, b = 0, c = 0] = readers.map(({ bytes }, index) => bytes - (before[index] ?? 0))
  assert.ok(Math.abs(a - 250_000) < 12_500 && Math.abs(b - 250_000) < 12_500 && Math.abs(c - 500_000) < 25_000, `${a} ${b} ${c}`)
  assert.equal(timers.waiting, 1)
  assert.equal(throttle.sizes()['timers'], 1)
  stop.abort()
  await pass(timers, 100)
  assert.equal(timers.waiting, 0)
  assert.deepEqual(throttle.sizes(), { viewers: 3, waiting: 0, ready: 0, due: 0, capped: 0, timers: 0 })
})

test('a timer that comes late loses nothing while the bucket holds it', async () => {
  const timers = virtualTimers()
  // Half of the bucket of 20 ms is for lateness; here every timer is 8 ms late.
  const late = { now: () => timers.now(), after: (ms: number, callback: () => void) => timers.after(ms + 8, callback) }
  const throttle = new Throttle({ clock: { monotonic: () => timers.now() }, timers: late, totalBps: 100e6, maxViewers: 10, maxWaiting: 10 })
  const stop = new AbortController()
  const readers = ['a', 'b'].map(id => reader(throttle.join(id, { weight: 1 }), stop.signal))
  await pass(timers, 3000)
  const bytes = readers.reduce((sum, one) => sum + one.bytes, 0)
  assert.ok(bytes >= 0.98 * 37_500_000 && bytes <= 37_500_000 + 250_000, `${bytes}`)
  stop.abort()
  await settle()
})

test('the end of the total lets all go who wait for it alone', async () => {
  const { throttle, timers } = rig({ totalBps: 8000, burstBytes: 2000 })
  const free = throttle.join('free', { weight: 1 })
  const capped = throttle.join('capped', { weight: 1, capBps: 8000 })
  let freed = 0
  const takes = Array.from({ length: 20 }, async () => {
    await free.take(CHUNK, never)
    freed += 1
  })
  let last = 0
  const slow = Array.from({ length: 10 }, async () => {
    await capped.take(CHUNK, never)
    last += 1
  })
  await pass(timers, 1)
  assert.ok(freed < 5)
  throttle.setBudget({ totalBps: 0, levelBps: undefined })
  await Promise.all(takes)
  assert.equal(freed, 20)
  assert.ok(last < 10)
  assert.equal(throttle.limited, true)
  await pass(timers, 10_000)
  await Promise.all(slow)
})

test('a new budget is followed immediately, up and down', async () => {
  const { throttle, timers } = rig({ totalBps: 8e6 })
  const stop = new AbortController()
  const one = reader(throttle.join('a', { weight: 1 }), stop.signal)
  await pass(timers, 1000)
  for (const bps of [80e6, 4e6, 16e6]) {
    throttle.setBudget({ totalBps: bps, levelBps: undefined, burstBytes: Math.max(65_536, bps / 400) })
    // What the bucket held is gone, and a grant of the old size is paid for.
    await pass(timers, 200)
    const before = one.bytes
    await pass(timers, 1000)
    const part = (one.bytes - before) * 8 / bps
    assert.ok(part >= 0.97 && part <= 1.03, `${part} of ${bps}`)
  }
  stop.abort()
  await settle()
})

test('a take ends with its signal\'s reason, before or while it waits, and its place goes to the next', async () => {
  const { throttle, timers } = rig({ totalBps: 80_000, burstBytes: 2000 })
  const viewer = throttle.join('a', { weight: 1 })
  assert.throws(() => viewer.take(1, AbortSignal.abort(new Error('gone'))), /gone/)
  while (typeof viewer.take(1000, never) === 'number') { /* empties the bucket */ }
  const stop = new AbortController()
  const first = viewer.take(1000, stop.signal)
  const second = viewer.take(1000, never)
  assert.ok(typeof first !== 'number')
  stop.abort(new Error('reader left'))
  await assert.rejects(first, /reader left/)
  await pass(timers, 1000)
  assert.equal(await second, 600)
})

test('what was taken and not sent comes back, for the count and for the others', async () => {
  const { throttle } = rig({ totalBps: 80_000, burstBytes: 4000 })
  const a = throttle.join('a', { weight: 1 })
  const b = throttle.join('b', { weight: 1 })
  let taken = 0
  for (let bytes = a.take(2000, never); typeof bytes === 'number'; bytes = a.take(2000, never)) taken += bytes
  const waits = b.take(600, never)
  assert.ok(typeof waits !== 'number')
  let got = 0
  void waits.then(bytes => { got = bytes })
  assert.equal(throttle.takeCounts().bytes, taken)
  a.giveBack(taken)
  // Immediately: the take of `a` that waited, and that of `b`.
  await settle()
  assert.equal(got, 600)
  // More came back than was taken since the last count: a counter never goes down.
  assert.equal(throttle.takeCounts().bytes, 0)
  assert.throws(() => { a.giveBack(-1) }, RangeError)
  a.giveBack(0)
  a.leave()
  a.giveBack(10)
})

test('time waited is counted per viewer, once for all its streams, while it waits too', async () => {
  const { throttle, timers } = rig({ totalBps: 8000, burstBytes: 2400 })
  const a = throttle.join('a', { weight: 1 })
  const b = throttle.join('b', { weight: 1 })
  while (typeof a.take(CHUNK, never) === 'number') { /* empties the bucket */ }
  void a.take(CHUNK, never)
  void a.take(CHUNK, never)
  assert.equal(a.waitedMs, 0)
  await pass(timers, 500)
  assert.equal(a.waitedMs, 500)
  assert.equal(b.waitedMs, 0)
  assert.equal(throttle.takeCounts().waitedMs, 500)
  await pass(timers, 5000)
  const waited = a.waitedMs
  assert.ok(waited > 500 && waited < 5500)
  a.leave()
  await pass(timers, 100)
  assert.equal(a.waitedMs, waited)
  assert.ok(Math.abs(throttle.takeCounts().waitedMs - (waited - 500)) < 1e-6)
  assert.equal(throttle.takeCounts().waitedMs, 0)
})

test('a viewer that leaves and a throttle that closes refuse what waits and what comes', async () => {
  const { throttle, timers } = rig({ totalBps: 8000, burstBytes: 2400 })
  const viewers = ['a', 'b'].map(id => throttle.join(id, { weight: 1 }))
  const waits = viewers.map(viewer => {
    for (;;) {
      const bytes = viewer.take(CHUNK, never)
      if (typeof bytes !== 'number') return bytes
    }
  })
  const [a, b] = viewers
  assert.ok(a !== undefined && b !== undefined)
  a.leave()
  a.leave()
  await assert.rejects(async () => { await waits[0] }, refusedAs('RELAY_ERR_STOPPING'))
  assert.throws(() => a.take(1, never), refusedAs('RELAY_ERR_STOPPING'))
  throttle.close()
  throttle.close()
  await assert.rejects(async () => { await waits[1] }, refusedAs('RELAY_ERR_STOPPING'))
  assert.throws(() => b.take(1, never), refusedAs('RELAY_ERR_STOPPING'))
  b.giveBack(5)
  b.update({ weight: 2 })
  b.leave()
  assert.equal(timers.waiting, 0)
  assert.equal(throttle.sizes()['viewers'], 0)
})

test('viewers and waiting takes are bounded', () => {
  const { throttle } = rig({ totalBps: 8000, burstBytes: 2400, maxViewers: 2, maxWaiting: 5 })
  const a = throttle.join('a', { weight: 1 })
  throttle.join('b', { weight: 1 })
  assert.throws(() => throttle.join('c', { weight: 1 }), refusedAs('RELAY_ERR_RATE_LIMITED'))
  assert.throws(() => {
    for (let tries = 0; tries < 100; tries++) void a.take(CHUNK, never)
  }, refusedAs('RELAY_ERR_RATE_LIMITED'))
  assert.equal(throttle.sizes()['waiting'], 5)
  assert.throws(() => a.take(0, never), RangeError)
  assert.throws(() => a.take(1.5, never), RangeError)
})

test('the share is that of the level over all processes, between floor and cap', () => {
  const { throttle } = rig({ totalBps: 50e6 })
  const plain = throttle.join('plain', { weight: 2 })
  const capped = throttle.join('capped', { weight: 2, capBps: 1e6 })
  const floored = throttle.join('floored', { weight: 0.1, floorBps: 500_000 })
  throttle.setBudget({ totalBps: 50e6, levelBps: 2e6 })
  assert.deepEqual([plain, capped, floored].map(viewer => viewer.shareBps()), [4e6, 1e6, 500_000])
  throttle.setBudget({ totalBps: 0, levelBps: undefined })
  assert.deepEqual([plain, capped, floored].map(viewer => viewer.shareBps()), [undefined, 1e6, undefined])
})

test('a process alone knows the share itself: what a viewer has when busy, and what one more would have', async () => {
  const { throttle, timers } = rig({ totalBps: 12e6 })
  const stop = new AbortController()
  const idle = throttle.join('idle', { weight: 1 })
  assert.equal(idle.shareBps(), 12e6)
  for (let index = 0; index < 6; index++) reader(throttle.join(`v${index}`, { weight: 1 }), stop.signal)
  await pass(timers, 1000)
  const share = idle.shareBps() ?? NaN
  assert.ok(Math.abs(share - 2e6) < 1e-3, `${share}`)
  stop.abort()
  await pass(timers, 3000)
  assert.ok(Math.abs((idle.shareBps() ?? NaN) - 12e6) < 1e-3)
})

test('floors beyond the total shrink in what a viewer is told, too', async () => {
  const { throttle, timers } = rig({ totalBps: 3e6 })
  const stop = new AbortController()
  const viewers = [4e6, 2e6].map((floorBps, index) => throttle.join(`v${index}`, { weight: 1, floorBps }))
  for (const viewer of viewers) reader(viewer, stop.signal)
  await pass(timers, 1000)
  assert.deepEqual(viewers.map(viewer => Math.round(viewer.shareBps() ?? NaN)), [2e6, 1e6])
  stop.abort()
  await settle()
})
