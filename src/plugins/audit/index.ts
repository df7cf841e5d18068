import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { RotatedFile } from '../../base/rotated-file.ts'
import type { Config } from '../../config/config.ts'
import { AuditLog, detail, parseRecords, type AuditRecord } from './audit-log.ts'

declare module 'fastify' {
  interface FastifyInstance {
    audit: AuditLog
  }
}

export const AUDIT_FILE = 'audit-log.ndjson'

/** Who changed what: requests of the admin API that write, and keys of the configuration that have another value, whatever was the reason. */
export default fp<{ config: Config }>(async (app, { config: { audit: settings, cache } }) => {
  const { relayMetrics: metrics, liveConfig } = app
  const log = app.log.child({ plugin: 'audit' })
  const file = new RotatedFile(settings.path === '' ? join(cache.path, AUDIT_FILE) : settings.path, settings.max_bytes)
  const records = await file.read().then(parseRecords, (error: unknown): AuditRecord[] => {
    log.error({ err: error, file: file.path }, 'the audit file cannot be read')
    return []
  })
  const audit = new AuditLog({
    records,
    added: () => { metrics.count('icn_relay_audit_records_total') },
    append: async lines => { await file.append(lines) },
    failed: (error, record) => {
      metrics.count('icn_relay_audit_failures_total')
      log.error({ err: error, file: file.path, record }, 'an audit record could not be written')
    }
  })
  liveConfig.onChange(changes => {
    for (const { key, before, after } of changes) {
      audit.add({ at: systemClock.now(), by: null, address: null, id: null, action: 'configChanged', target: key, status: null, before: detail(before), after: detail(after) })
    }
  })
  app.decorate('audit', audit)
  app.addHook('onClose', async () => { await audit.flush() })
}, { name: 'audit', dependencies: ['live-config', 'metrics'] })
