import assert from 'node:assert/strict'
import test from 'node:test'
import { Crowd, machineNow, range, spawnShared } from '../../tools/harness/bandwidth-rig.ts'
import { metric } from '../../tools/harness/http.ts'

const TOTAL_BPS = 100e6
/** A viewer's share may be off by this much. */
const TOLERANCE = 0.1
/** Between a change in the crowd and the window in which shares are right again, ms: the contract. */
const SETTLE_MS = 2_000
/** In which rates are taken, ms. */
const WINDOW_MS = 3_000

/** How often it is measured at most: another process may take the CPU from viewers and relay for a while. */
const WINDOWS = 20

/**
 * Every one of these viewers gets the same share of the total within the tolerance, and together they get no more than it; returns the
 * extremes. A machine that is too busy to carry the total, viewers included, shares what it carries.
 */
async function shareAlike (crowd: Crowd, ids: readonly number[], among: number): Promise<string> {
  await crowd.after(SETTLE_MS)
  for (let window = 1; ; window++) {
    const from = machineNow()
    const to = await crowd.after(WINDOW_MS)
    const rates = ids.map(id => crowd.rate(id, from, to))
    const sum = rates.reduce((total, rate) => total + rate, 0)
    // What waited in sockets while the viewers had no CPU comes on top; 2 % over is what the properties of the scheduler allow itself.
    assert.ok(sum <= TOTAL_BPS * 1.1, `${sum} bit/s together`)
    const fair = (sum < TOTAL_BPS * 0.95 ? sum : TOTAL_BPS) / among
    const wrong = rates.filter(rate => Math.abs(rate / fair - 1) > TOLERANCE)
    const extremes = `${among} viewers: ${(Math.min(...rates) / 1e6).toFixed(3)} to ${(Math.max(...rates) / 1e6).toFixed(3)} Mbit/s, fair ${(fair / 1e6).toFixed(3)}, window ${window}`
    if (wrong.length === 0) return extremes
    assert.ok(window < WINDOWS, `${wrong.length} of ${extremes}`)
  }
}

/** The last rendition each of these viewers was told. */
function told (crowd: Crowd, ids: readonly number[]): Set<string | undefined> {
  return new Set(ids.map(id => crowd.heard.findLast(heard => heard.id === id)?.rendition))
}

test('50 viewers saturate 100 Mbit/s, 10 more join, 30 leave: shares are equal within 2 s, nobody is refused, and all are told', { timeout: 240_000 }, async t => {
  const relay = await spawnShared(t, TOTAL_BPS)
  const crowd = new Crowd(t, relay)
  await crowd.join('webtransport', range(0, 50))
  await crowd.join('webtransport', range(50, 60))
  t.diagnostic(await shareAlike(crowd, range(0, 60), 60))
  await crowd.until(() => told(crowd, range(0, 60)).size === 1 && told(crowd, range(0, 60)).has('480p'))
  crowd.leave(range(0, 30))
  t.diagnostic(await shareAlike(crowd, range(30, 60), 30))
  await crowd.until(() => told(crowd, range(30, 60)).size === 1 && told(crowd, range(30, 60)).has('720p'))
  assert.deepEqual(crowd.failures, [])
  assert.ok((await metric(relay.adminUrl, 'icn_relay_bandwidth_throttled_seconds_total', '{transport="webtransport"}') ?? 0) > 0)
})

test('20 viewers over HTTP among 60 get what those over WebTransport get, and are told by cmsd-dynamic', { timeout: 240_000 }, async t => {
  const relay = await spawnShared(t, TOTAL_BPS)
  const crowd = new Crowd(t, relay)
  await Promise.all([crowd.join('webtransport', range(0, 40)), crowd.join('http', range(40, 60))])
  t.diagnostic(await shareAlike(crowd, range(0, 60), 60))
  await crowd.until(() => told(crowd, range(0, 60)).size === 1 && told(crowd, range(0, 60)).has('480p'))
  assert.deepEqual(crowd.failures, [])
})

test('a greedy viewer with 200 streams gets what 9 polite ones with one stream each get', { timeout: 240_000 }, async t => {
  const relay = await spawnShared(t, TOTAL_BPS)
  const crowd = new Crowd(t, relay)
  await Promise.all([crowd.join('webtransport', [0], 200), crowd.join('webtransport', range(1, 10))])
  t.diagnostic(await shareAlike(crowd, range(0, 10), 10))
  assert.deepEqual(crowd.failures, [])
})
