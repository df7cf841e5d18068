import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import type { Config } from '../../config/config.ts'
import type { RequestLogTarget } from '../http/request-log.ts'
import { AccessLog, type AccessLogKeys } from './access-log.ts'
import { readAddressKey } from './address-key.ts'

declare module 'fastify' {
  interface FastifyInstance {
    accessLog: AccessLog
  }
}

/**
 * Before there is any listener: each of them writes to it.
 * @param output takes lines for standard output
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function openAccessLog (keys: AccessLogKeys, logger: Logger, output: (line: string) => void): Promise<AccessLog> {
  return await AccessLog.open(keys, { output, addressKey: await readAddressKey(keys.address_key_file), logger: logger.child({ plugin: 'access-log' }), timers: systemTimers, now: systemClock.now, random: Math.random })
}

/** The access log as a listener of HTTP tells it of its responses. */
export function requestLogTarget (accessLog: AccessLog): RequestLogTarget {
  return { gate: accessLog.gate(), take: (record, written) => { accessLog.take(record, written) }, now: systemClock.now }
}

/** The access log: what becomes of the records of all listeners. */
export default fp<{ accessLog: AccessLog }>(async (app, { accessLog }) => {
  const { relayMetrics: metrics } = app
  app.decorate('accessLog', accessLog)
  const follow = ({ access_log: { sample_hits: sampleHits, sample_misses: sampleMisses, scrapes } }: Config): void => { accessLog.change({ sampleHits, sampleMisses, scrapes }) }
  // It was opened before anybody knew what operators have set.
  follow(app.liveConfig.config)
  app.liveConfig.on(['access_log.sample_hits', 'access_log.sample_misses', 'access_log.scrapes'], next => () => { follow(next) })
  let counted = { lines: 0, dropped: { file: 0, budget: 0, gateway: 0, listener: 0 } }
  metrics.onCollect(() => {
    const { lines, dropped } = accessLog
    metrics.count('icn_relay_access_log_lines_total', {}, lines - counted.lines)
    for (const where of ['file', 'budget', 'gateway', 'listener'] as const) metrics.count('icn_relay_access_log_dropped_total', { where }, dropped[where] - counted.dropped[where])
    counted = { lines, dropped }
  })
  app.addHook('preClose', async () => { accessLog.stream.close() })
  // After the last response.
  app.addHook('onClose', async () => { await accessLog.close() })
}, { name: 'access-log', dependencies: ['live-config', 'metrics'] })
