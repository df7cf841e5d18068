import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { keysOf } from '../../config/schema.ts'
import { MAX_WAITING_READS, shareLimits, type BandwidthClasses, type BandwidthLimits } from '../../pacing/bandwidth-limits.ts'
import { BudgetKeeper } from '../../pacing/budget-keeper.ts'
import { Throttle } from '../../pacing/throttle.ts'
import { HttpViewers } from './http-viewers.ts'

export interface Bandwidth {
  readonly keeper: BudgetKeeper
  readonly classes: BandwidthClasses
  /** Viewers over HTTP. */
  readonly viewers: HttpViewers
}

declare module 'fastify' {
  interface FastifyInstance {
    bandwidth: Bandwidth
  }
}

function limitsOf (settings: Config['bandwidth']): BandwidthLimits {
  return { totalBps: settings.total_bps, viewerCapBps: settings.viewer_cap_bps, viewerFloorBps: settings.viewer_floor_bps, burstBytes: settings.burst_bytes }
}

function classesOf ({ weights, ladder }: Config['bandwidth']): BandwidthClasses {
  return { weights, ladder: ladder.map(({ rendition, min_bps: needs }) => ({ name: rendition, min_bps: needs })) }
}

/** Bandwidth shared by viewers: the budget, its split between HTTP and the gateway, and the shares of viewers over HTTP. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { bandwidth: settings, limits } = config
  const { relayMetrics: metrics } = app
  let classes = classesOf(settings)
  const throttle = new Throttle({
    clock: systemClock,
    timers: systemTimers,
    totalBps: settings.total_bps,
    // One more for those that have none of their own.
    maxViewers: limits.tracked_ips + 1,
    maxWaiting: MAX_WAITING_READS
  })
  const keeper = new BudgetKeeper({
    limits: limitsOf(settings),
    http: throttle,
    timers: systemTimers,
    burstFactor: () => app.overload.burstFactor,
    changed: () => { viewers.limitsChanged() }
  })
  const viewers = new HttpViewers({
    throttle,
    ladder: () => classes.ladder,
    limits: className => shareLimits(keeper.limits, classes.weights, className),
    maxViewers: limits.tracked_ips,
    timers: systemTimers
  })
  app.decorate('bandwidth', { keeper, get classes () { return classes }, viewers })
  app.liveConfig.on(keysOf('bandwidth'), ({ bandwidth: next }) => () => {
    classes = classesOf(next)
    // Tells viewers of their weights too.
    keeper.set(limitsOf(next))
  })
  metrics.onCollect(() => {
    const { bytes, waitedMs } = throttle.takeCounts()
    metrics.count('icn_relay_bandwidth_granted_bytes_total', { transport: 'http' }, bytes)
    metrics.count('icn_relay_bandwidth_throttled_seconds_total', { transport: 'http' }, waitedMs / 1_000)
    metrics.set('icn_relay_bandwidth_budget_bps', keeper.limits.totalBps)
    metrics.replace('icn_relay_bandwidth_share_bps', keeper.levelBps === undefined ? [] : [[{}, keeper.levelBps]])
    metrics.set('icn_relay_bandwidth_backlogged_viewers', keeper.backlogged())
    metrics.set('icn_relay_bandwidth_http_viewers', viewers.size)
  })
  app.addHook('onClose', async () => {
    keeper.close()
    viewers.close()
    throttle.close()
  })
}, { name: 'bandwidth', dependencies: ['live-config', 'metrics', 'overload'] })
