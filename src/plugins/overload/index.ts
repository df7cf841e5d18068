import { setTimeout as delay } from 'node:timers/promises'
import { getHeapStatistics } from 'node:v8'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { LoopDelay } from '../../base/loop-delay.ts'
import { descriptorLimit, memoryLimit, openDescriptors, residentBytes } from '../../base/process-use.ts'
import { isWorse, OVERLOAD_STATES } from '../../channel/overload-states.ts'
import type { Config } from '../../config/config.ts'
import { keysOf } from '../../config/schema.ts'
import { Descriptors } from '../limits/descriptors.ts'
import { GatewayLoad } from './gateway-load.ts'
import { Overload, type OverloadPolicy } from './overload.ts'
import { signalThresholds, type OverloadSample } from './signals.ts'

declare module 'fastify' {
  interface FastifyInstance {
    overload: Overload
    /** What the gateway reports of its load. */
    gatewayLoad: GatewayLoad
    descriptors: Descriptors
  }
}

function policyOf (settings: Config['overload']): OverloadPolicy {
  return {
    thresholds: signalThresholds(settings),
    enterSamples: settings.enter_samples,
    windowSamples: settings.window_samples,
    holdMs: { degraded: settings.leave_degraded_ms, shedding: settings.leave_shedding_ms }
  }
}

/** Memory that the relay may have, bytes. */
const memoryOf = ({ memory_bytes: bytes }: Config['overload']): number => bytes === 0 ? memoryLimit() : bytes

/** Measures how overloaded the relay is, from before anything is served until the end; what follows from it stands where it is done. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { overload: settings, transport, upstream } = config
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'overload' })
  const overload = new Overload(policyOf(settings), systemClock.now())
  const gatewayLoad = new GatewayLoad()
  const limit = descriptorLimit()
  const descriptors = new Descriptors({ limit, count: () => openDescriptors(limit ?? Infinity), now: systemClock.monotonic, wait: delay })
  const loopDelay = new LoopDelay()
  let memoryBytes = memoryOf(settings)
  const heapBytes = getHeapStatistics().heap_size_limit
  const measure = (): OverloadSample => {
    const gateway = gatewayLoad.take(app.viewers.supervisor?.listening !== undefined)
    return {
      event_loop_delay: loopDelay.take(),
      heap: getHeapStatistics().used_heap_size / heapBytes,
      rss: residentBytes() / memoryBytes,
      ...gateway === undefined ? {} : { gateway_event_loop_delay: gateway.delayMs, gateway_rss: gateway.rssBytes / transport.max_rss_bytes },
      sessions: app.viewers.sessions() / transport.max_sessions,
      fills: app.shards.fills / upstream.max_fills,
      ...descriptors.share === undefined ? {} : { descriptors: descriptors.share }
    }
  }
  overload.onChange(({ from, to, signal, value }) => {
    metrics.count('icn_relay_overload_transitions_total', { from, to, signal })
    log[isWorse(to, from) ? 'warn' : 'info']({ from, to, signal, value }, 'overload state changed')
  })
  metrics.onCollect(() => {
    metrics.set('icn_relay_overload_state', OVERLOAD_STATES.indexOf(overload.state))
    for (const { signal, ratio } of overload.signals()) metrics.set('icn_relay_overload_signal', ratio, { signal })
  })
  app.decorate('overload', overload)
  app.decorate('gatewayLoad', gatewayLoad)
  app.decorate('descriptors', descriptors)
  let timer: NodeJS.Timeout | undefined
  const sampleEvery = (ms: number): void => {
    clearInterval(timer)
    timer = setInterval(() => { overload.sample(measure(), systemClock.monotonic(), systemClock.now()) }, ms).unref()
  }
  app.whenListening(() => {
    // What the start took is not load.
    loopDelay.take()
    sampleEvery(settings.sample_ms)
  })
  app.liveConfig.on(keysOf('overload'), ({ overload: next }) => () => {
    overload.change(policyOf(next))
    memoryBytes = memoryOf(next)
    if (timer !== undefined) sampleEvery(next.sample_ms)
  })
  app.addHook('preClose', async () => { clearInterval(timer) })
  app.addHook('onClose', async () => { loopDelay.stop() })
}, { name: 'overload', dependencies: ['live-config', 'metrics'] })
