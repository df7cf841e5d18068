import assert from 'node:assert/strict'
import test from 'node:test'
import { checkFromGateway } from '../../../src/channel/from-gateway.ts'
import { GatewayBandwidth } from '../../../src/gateway/bandwidth.ts'
import type { SessionPacing } from '../../../src/gateway/session-pacing.ts'
import type { GatewayShare } from '../../../src/pacing/bandwidth-limits.ts'
import type { Demand } from '../../../src/pacing/split-budget.ts'
import { virtualTimers } from '../../fakes/timers.ts'

const share = (changes: Partial<GatewayShare> = {}): GatewayShare => ({ budgetBps: 8e6, levelBps: 8e6, viewerCapBps: 0, viewerFloorBps: 0, burstBytes: 65_536, ...changes })

function rig (first: Partial<GatewayShare> = {}) {
  const timers = virtualTimers()
  const reports: Demand[] = []
  const bandwidth = new GatewayBandwidth({
    share: share(first),
    classes: { weights: { default: 1, premium: 3 }, ladder: [{ name: '480p', min_bps: 1e6 }, { name: '720p', min_bps: 2.5e6 }, { name: '1080p', min_bps: 5e6 }] },
    maxSessions: 20,
    timers,
    report: demand => {
      // As the relay will hear it.
      assert.equal(typeof checkFromGateway(structuredClone({ type: 'demand', demand })), 'object')
      reports.push(demand)
    }
  })
  return { timers, reports, bandwidth }
}

/** Takes all it gets until aborted. */
function greedy (pacing: SessionPacing, signal: AbortSignal): { bytes: number } {
  const got = { bytes: 0 }
  const pump = async (): Promise<void> => {
    for (;;) got.bytes += await Promise.resolve(pacing.take(4_000, signal)).then(bytes => bytes)
  }
  pump().catch(() => {})
  return got
}

async function turn (): Promise<void> { await new Promise(resolve => { setImmediate(resolve) }) }

test('sessions share the budget by weight, and the last budget holds while the relay is silent', async () => {
  const { timers, bandwidth } = rig()
  const abort = new AbortController()
  const plain = bandwidth.join('a')
  const premium = bandwidth.join('b', 'premium')
  const got = [greedy(plain, abort.signal), greedy(premium, abort.signal)]
  await timers.pass(1_000)
  const before = got.map(({ bytes }) => bytes)
  // No message of the relay for a minute.
  await timers.pass(60_000)
  const rates = got.map(({ bytes }, index) => (bytes - (before[index] ?? 0)) * 8 / 60)
  assert.ok(Math.abs((rates[0] ?? 0) / 2e6 - 1) < 0.02, rates.join())
  assert.ok(Math.abs((rates[1] ?? 0) / 6e6 - 1) < 0.02, rates.join())
  abort.abort()
  await turn()
  for (const pacing of [plain, premium]) pacing.leave()
  assert.deepEqual(Object.entries(bandwidth.sizes()).filter(([name]) => name !== 'bandwidth.timers'), [
    ['bandwidth.viewers', 0], ['bandwidth.waiting', 0], ['bandwidth.ready', 0], ['bandwidth.due', 0], ['bandwidth.capped', 0]
  ])
  bandwidth.close()
  assert.equal(timers.waiting, 0)
})

test('demand is reported every 100 ms while anything is limited, and not otherwise', async () => {
  const { timers, reports, bandwidth } = rig({ budgetBps: 0, levelBps: undefined })
  const pacing = bandwidth.join('a')
  await timers.pass(1_000)
  assert.deepEqual([reports.length, timers.waiting, pacing.limited], [0, 0, false])
  bandwidth.setShare(share())
  await timers.pass(1_000)
  assert.equal(reports.length, 11)
  bandwidth.setShare(share({ budgetBps: 0, levelBps: undefined }))
  await timers.pass(1_000)
  assert.deepEqual([reports.length, timers.waiting], [11, 0])
  // A cap alone limits too.
  bandwidth.setShare(share({ budgetBps: 0, levelBps: undefined, viewerCapBps: 800_000 }))
  assert.deepEqual([pacing.limited, pacing.shareBps()], [true, 800_000])
  await timers.pass(1_000)
  assert.equal(reports.length, 22)
  bandwidth.setShare(share({ budgetBps: 0, levelBps: undefined }))
  assert.equal(pacing.limited, false)
})

test('a viewer is told its first share, each rendition that fits anew, and that nothing limits it any more', async () => {
  const { bandwidth } = rig({ budgetBps: 100e6, levelBps: 100e6 / 60 })
  const pacing = bandwidth.join('a')
  assert.deepEqual(pacing.news(0), { bitsPerSecond: 1_666_667, rendition: '480p' })
  assert.equal(pacing.news(250), undefined)
  bandwidth.setShare(share({ budgetBps: 100e6, levelBps: 100e6 / 30 }))
  assert.deepEqual(pacing.news(500), { bitsPerSecond: 3_333_333, rendition: '720p' })
  bandwidth.setShare(share({ budgetBps: 0, levelBps: undefined }))
  assert.deepEqual(pacing.news(750), { bitsPerSecond: 0, rendition: '1080p' })
  assert.equal(pacing.news(1_000), undefined)
  bandwidth.setShare(share({ budgetBps: 100e6, levelBps: 50e6 }))
  assert.deepEqual(pacing.news(1_250), { bitsPerSecond: 50e6, rendition: '1080p' }, 'the same rendition, and a limit again')
  pacing.leave()
  const unlimited = rig({ budgetBps: 0, levelBps: undefined }).bandwidth.join('b')
  assert.deepEqual([unlimited.news(0), unlimited.row()], [undefined, {}])
})

test('other weights and another ladder count for sessions that exist', async () => {
  const { timers, bandwidth } = rig({ budgetBps: 100e6, levelBps: 2e6 })
  const pacing = bandwidth.join('a', 'premium')
  assert.deepEqual(pacing.news(0), { bitsPerSecond: 6e6, rendition: '1080p' })
  bandwidth.setClasses({ weights: { premium: 2 }, ladder: [{ name: '240p', min_bps: 1e5 }, { name: '2160p', min_bps: 20e6 }] })
  await timers.pass(100)
  assert.deepEqual(pacing.news(100), { bitsPerSecond: 4e6, rendition: '240p' })
  assert.equal(pacing.news(200), undefined)
})

test('a token of another class changes the weight, and rows and waits tell what became of it', async () => {
  const { timers, bandwidth } = rig()
  const abort = new AbortController()
  const pacing = bandwidth.join('a')
  const got = [greedy(pacing, abort.signal), greedy(bandwidth.join('b'), abort.signal)]
  pacing.setClass('premium')
  await timers.pass(10_000)
  assert.ok(Math.abs((got[0]?.bytes ?? 0) / (got[1]?.bytes ?? 1) - 3) < 0.1)
  assert.deepEqual(Object.keys(pacing.row()), ['waitedMs', 'shareBps'])
  const waited = pacing.takeWaited()
  assert.ok(waited > 9_000)
  assert.equal(pacing.takeWaited(), 0)
  abort.abort()
})

test('sessions of one viewer share what one viewer gets, and what is left of it goes on when one of them ends', async () => {
  const { timers, bandwidth } = rig()
  const abort = new AbortController()
  const first = bandwidth.join('192.0.2.1 viewer')
  const second = bandwidth.join('192.0.2.1 viewer')
  const got = [first, second, bandwidth.join('another')].map(pacing => greedy(pacing, abort.signal))
  await timers.pass(10_000)
  const [mine = 0, twin = 0, other = 0] = got.map(({ bytes }) => bytes)
  assert.ok(mine + twin <= other * 1.05, `${mine} and ${twin} beside ${other}`)
  assert.ok(mine + twin >= other * 0.95, `${mine} and ${twin} beside ${other}`)
  assert.equal(bandwidth.sizes()['bandwidth.viewers'], 2)
  first.leave()
  first.leave()
  assert.equal(bandwidth.sizes()['bandwidth.viewers'], 2)
  second.leave()
  assert.equal(bandwidth.sizes()['bandwidth.viewers'], 1)
  abort.abort()
})

test('more sessions than there may be are refused', () => {
  const { bandwidth } = rig()
  for (let id = 0; id < 20; id++) bandwidth.join(`s${id}`)
  assert.throws(() => bandwidth.join('one-more'), { code: 'RELAY_ERR_RATE_LIMITED' })
})
