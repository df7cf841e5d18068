import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { shareLimits, type GatewayShare } from '../../../src/pacing/bandwidth-limits.ts'
import { BudgetKeeper } from '../../../src/pacing/budget-keeper.ts'
import { gather } from '../../../src/pacing/gather.ts'
import type { Demand } from '../../../src/pacing/split-budget.ts'
import { Throttle, type ShareLimits } from '../../../src/pacing/throttle.ts'
import type { HttpViewer } from '../../../src/plugins/bandwidth/http-viewer.ts'
import { httpViewerKey, HttpViewers, OTHERS } from '../../../src/plugins/bandwidth/http-viewers.ts'
import { RateMeter } from '../../../src/plugins/bandwidth/rate-meter.ts'
import { virtualTimers } from '../../fakes/timers.ts'

const LADDER = [{ name: '480p', min_bps: 1e6 }, { name: '720p', min_bps: 2.5e6 }]
const NEVER = new AbortController().signal
const NOBODY: Demand = { groups: [], joinedWeight: 0 }
/** Viewers that take all they get. */
const busy = (viewers: number): Demand => ({ groups: [{ viewers, weight: viewers, floorBps: 0 }], joinedWeight: viewers })

test('limits of a viewer: weight by class, the default for others, no cap and no floor where they are 0', () => {
  const weights = { default: 2, premium: 4 }
  assert.deepEqual(shareLimits({ viewerCapBps: 0, viewerFloorBps: 0 }, weights), { weight: 2 })
  assert.deepEqual(shareLimits({ viewerCapBps: 5, viewerFloorBps: 3 }, weights, 'premium'), { weight: 4, capBps: 5, floorBps: 3 })
  for (const name of ['unknown', '__proto__', 'constructor']) assert.deepEqual(shareLimits({ viewerCapBps: 0, viewerFloorBps: 0 }, weights, name), { weight: 2 })
  assert.deepEqual(shareLimits({ viewerCapBps: 0, viewerFloorBps: 0 }, {}, 'premium'), { weight: 1 })
})

suite('gather', () => {
  /** Grants these, the last of them by promise. */
  function allowance (grants: (number | Error)[]) {
    const asked: number[] = []
    const state = { asked, returned: 0 }
    return {
      state,
      take: (wanted: number): number | Promise<number> => {
        asked.push(wanted)
        const next = grants.shift() ?? new Error('no more')
        if (next instanceof Error) return Promise.reject(next)
        return asked.length === 1 ? next : Promise.resolve(next)
      },
      giveBack: (bytes: number) => { state.returned += bytes }
    }
  }

  test('takes until all is there, in the same turn when the first grant is enough', async () => {
    const enough = allowance([100])
    assert.equal(gather(enough, 100, NEVER), 100)
    const parts = allowance([30, 30, 40])
    assert.equal(await gather(parts, 100, NEVER), 100)
    assert.deepEqual(parts.state, { asked: [100, 70, 40], returned: 0 })
  })

  test('what was granted before a failure goes back', async () => {
    const parts = allowance([30, 30, new Error('aborted')])
    await assert.rejects(async () => { await gather(parts, 100, NEVER) }, /aborted/)
    assert.equal(parts.state.returned, 60)
    const none = allowance([new Error('aborted')])
    await assert.rejects(async () => { await gather(none, 100, NEVER) }, /aborted/)
    assert.equal(none.state.returned, 0)
  })
})

test('a rate is that of the last second or so, whatever the pieces', () => {
  for (const pieces of [1, 10, 100]) {
    const meter = new RateMeter(0)
    for (let ms = 0; ms < 10_000; ms += 1_000 / pieces) meter.add(1_000_000 / pieces, ms)
    assert.ok(Math.abs(meter.rate(10_000) / 1_000_000 - 1) < 0.5, `${meter.rate(10_000)}`)
    assert.ok(meter.rate(20_000) < 1_000)
  }
})

suite('viewers over HTTP', () => {
  function rig (maxViewers: number, totalBps = 8e6) {
    const timers = virtualTimers()
    const throttle = new Throttle({ clock: { monotonic: () => timers.now() }, timers, totalBps, maxViewers: maxViewers + 1, maxWaiting: 100 })
    const limits: { now: ShareLimits } = { now: { weight: 1 } }
    const viewers = new HttpViewers({ throttle, ladder: () => LADDER, limits: className => className === undefined ? limits.now : { ...limits.now, weight: 4 }, maxViewers, timers })
    return { timers, throttle, viewers, limits }
  }

  test('are told apart by identity, else by address, IPv6 by /64', () => {
    assert.equal(httpViewerKey(undefined, '10.0.0.1'), 'ip 10.0.0.1')
    assert.equal(httpViewerKey(undefined, '::ffff:10.0.0.1'), 'ip 10.0.0.1')
    assert.equal(httpViewerKey(undefined, '2001:db8::1'), httpViewerKey(undefined, '2001:db8:0:0:ffff::'))
    assert.notEqual(httpViewerKey('10.0.0.1', '10.0.0.2'), httpViewerKey(undefined, '10.0.0.1'))
    assert.equal(httpViewerKey('alice', '10.0.0.1'), httpViewerKey('alice', '10.0.0.2'))
    for (const key of [httpViewerKey(OTHERS, ''), httpViewerKey(undefined, OTHERS)]) assert.notEqual(key, OTHERS)
  })

  test('responses of one viewer share one allowance, which outlives the pause between two requests', async () => {
    const { viewers, throttle, timers } = rig(10)
    const first = viewers.acquire('a')
    assert.equal(viewers.acquire('a'), first)
    viewers.release(first)
    viewers.release(first)
    await timers.pass(4_900)
    assert.equal(viewers.acquire('a'), first)
    viewers.release(first)
    await timers.pass(4_900)
    assert.equal(viewers.size, 1)
    await timers.pass(200)
    assert.deepEqual([viewers.size, viewers.idle, throttle.sizes()['viewers'], timers.waiting], [0, 0, 0, 0])
  })

  test('beyond the bound the longest idle one gives way, and without any the rest share one place', () => {
    const { viewers, throttle } = rig(2)
    const [a, b] = [viewers.acquire('a'), viewers.acquire('b')]
    const c = viewers.acquire('c')
    assert.deepEqual([c.id, viewers.acquire('d'), viewers.size, throttle.sizes()['viewers']], [OTHERS, c, 2, 3])
    viewers.release(b)
    viewers.release(a)
    const d = viewers.acquire('d')
    assert.deepEqual([d.id, viewers.rows().map(({ id }) => id)], ['d', ['a', 'd', OTHERS]])
    viewers.release(c)
    viewers.release(c)
    assert.equal(throttle.sizes()['viewers'], 2)
  })

  test('limits that change and classes that are shown reach the viewer', () => {
    const { viewers, limits } = rig(5, 0)
    const viewer = viewers.acquire('a')
    assert.deepEqual([viewer.limited, viewer.shareBps(), viewer.advice(), viewer.readBytes(1_000)], [false, undefined, undefined, 1_000])
    limits.now = { weight: 1, capBps: 800_000 }
    viewers.limitsChanged()
    assert.deepEqual([viewer.limited, viewer.shareBps(), viewer.advice()], [true, 800_000, { bitsPerSecond: 800_000, rendition: '480p' }])
    assert.deepEqual([viewer.readBytes(1_000_000), viewer.readBytes(10)], [10_000, 10])
    assert.equal(viewers.acquire('a', 'premium'), viewer)
    assert.equal(viewer.readBytes(1_000_000), 5_000, 'two responses')
    viewers.release(viewer)
    viewers.release(viewer)
    viewers.close()
    assert.equal(viewers.size, 0)
  })

  test('any order of requests and responses keeps the bound and counts every response', async () => {
    const step = fc.record({ kind: fc.nat(4), who: fc.nat(6), ms: fc.nat(4_000) })
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), async (steps, most) => {
      const { viewers, throttle, timers } = rig(most)
      const open: HttpViewer[] = []
      for (const { kind, who, ms } of steps) {
        if (kind <= 1) open.push(viewers.acquire(`v${who}`))
        else if (kind <= 3) {
          const [one] = open.splice(who % Math.max(1, open.length), 1)
          if (one !== undefined) viewers.release(one)
        } else await timers.pass(ms)
        assert.ok(viewers.size <= most)
        assert.ok((throttle.sizes()['viewers'] ?? 0) <= most + 1)
        for (const viewer of new Set(open)) assert.equal(viewer.responses, open.filter(other => other === viewer).length)
        const own = open.filter(viewer => viewer.id !== OTHERS)
        assert.equal(viewers.size - viewers.idle, new Set(own).size)
      }
      for (const viewer of open) viewers.release(viewer)
      await timers.pass(5_000)
      assert.deepEqual([viewers.size, throttle.sizes()['viewers'], timers.waiting], [0, 0, 0])
    }), { numRuns: 300 })
  })
})

suite('the budget and its split', () => {
  function rig (totalBps = 100e6) {
    const timers = virtualTimers()
    const overload = { burstFactor: 1 }
    const http = { limited: true, said: NOBODY, budget: { totalBps: 0, levelBps: undefined as number | undefined, burstBytes: undefined as number | undefined } }
    const changes: number[] = []
    const keeper = new BudgetKeeper({
      limits: { totalBps, viewerCapBps: 0, viewerFloorBps: 0, burstBytes: 0 },
      http: { get limited () { return http.limited }, demand: () => http.said, setBudget: ({ totalBps: total, levelBps, burstBytes }) => { http.budget = { totalBps: total, levelBps, burstBytes } } },
      timers,
      burstFactor: () => overload.burstFactor,
      changed: () => { changes.push(timers.now()) }
    })
    const shares: GatewayShare[] = []
    keeper.onShare(share => { shares.push(share) })
    /** The gateway reports every 100 ms for so long. */
    const reports = async (demand: Demand, ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 100) {
        keeper.reported(demand)
        await timers.pass(100)
      }
    }
    return { keeper, timers, http, shares, changes, reports, overload }
  }

  test('follows demand every 100 ms, and both parts together are the total', async () => {
    const { keeper, http, shares, reports } = rig()
    http.said = busy(20)
    await reports(busy(40), 300)
    assert.ok(shares.length >= 3)
    const share = keeper.share()
    assert.ok(Math.abs(share.budgetBps - 100e6 * 2 / 3) < 1e6, `${share.budgetBps}`)
    assert.equal(share.budgetBps + http.budget.totalBps, 100e6)
    assert.ok(Math.abs((share.levelBps ?? 0) - 100e6 / 60) < 1)
    assert.equal(http.budget.levelBps, share.levelBps)
    assert.equal(keeper.backlogged(), 60)
    http.said = NOBODY
    await reports(busy(40), 100)
    assert.ok(keeper.share().budgetBps > 95e6)
  })

  test('HTTP has everything while the gateway is gone, and the next gateway begins with the part of the last', async () => {
    const { keeper, http, timers, reports } = rig()
    assert.equal(http.budget.totalBps, 100e6)
    assert.ok(keeper.share().budgetBps > 0, 'a first gateway is not unlimited')
    http.said = busy(20)
    await reports(busy(20), 300)
    const last = keeper.share().budgetBps
    assert.ok(Math.abs(last - 50e6) < 1e6)
    keeper.gatewayGone()
    assert.equal(http.budget.totalBps, 100e6)
    assert.deepEqual(keeper.parts, { http: 100e6, gateway: 0 })
    await timers.pass(5_000)
    assert.equal(http.budget.totalBps, 100e6)
    assert.equal(keeper.share().budgetBps, last)
    keeper.set({ totalBps: 10e6 })
    assert.ok(Math.abs(keeper.share().budgetBps - last / 10) < 1, 'of the total as it is now')
    await reports(busy(20), 200)
    assert.ok(Math.abs(http.budget.totalBps - 5e6) < 1e5)
  })

  test('a gateway that hangs is believed for a second', async () => {
    const { http, timers, reports } = rig()
    http.said = busy(20)
    await reports(busy(20), 300)
    await timers.pass(800)
    assert.ok(http.budget.totalBps < 51e6)
    await timers.pass(300)
    assert.equal(http.budget.totalBps, 100e6)
  })

  test('bursts shrink under overload in both parts, never below what the rate needs, and come back', async () => {
    const { keeper, http, shares, overload, timers } = rig()
    const bursts = (): (number | undefined)[] => [http.budget.burstBytes, shares.at(-1)?.burstBytes]
    keeper.set({ burstBytes: 8_000_000 })
    assert.deepEqual(bursts(), [8_000_000, 8_000_000])
    for (const [burstFactor, expected] of [[0.5, 4_000_000], [0.25, 2_000_000], [0.000_1, 100e6 / 8 * 0.02], [1, 8_000_000]] as const) {
      overload.burstFactor = burstFactor
      await timers.pass(100)
      assert.equal(http.budget.burstBytes, expected)
    }
    keeper.set({ burstBytes: 0 })
    const usual = bursts()
    keeper.set({ burstBytes: 77 })
    overload.burstFactor = 0.25
    await timers.pass(100)
    assert.deepEqual(bursts(), [77, 77], 'what is as small already stays')
    keeper.set({ burstBytes: 0 })
    assert.deepEqual(bursts(), usual)
  })

  test('changes at run time: immediately, to both, and nothing when they contradict each other', async () => {
    const { keeper, http, shares, changes, timers } = rig()
    const before = shares.length
    keeper.set({ viewerCapBps: 5_000, burstBytes: 77 })
    assert.deepEqual([shares.length, changes.length, http.budget.burstBytes], [before + 1, 1, 77])
    assert.deepEqual({ ...shares.at(-1), budgetBps: 0, levelBps: 0 }, { budgetBps: 0, levelBps: 0, viewerCapBps: 5_000, viewerFloorBps: 0, burstBytes: 77 })
    assert.throws(() => { keeper.set({ viewerFloorBps: 5_001 }) }, { code: 'RELAY_ERR_BAD_REQUEST' })
    assert.deepEqual([keeper.limits.viewerFloorBps, changes.length], [0, 1])
    keeper.set({ totalBps: 0 })
    assert.deepEqual([http.budget.totalBps, keeper.share().budgetBps, keeper.levelBps], [0, 0, undefined])
    assert.equal(timers.waiting, 0, 'nothing to do while nothing is limited')
    keeper.set({ totalBps: 1e6 })
    assert.equal(timers.waiting, 1)
    keeper.close()
    assert.equal(timers.waiting, 0)
  })
})
