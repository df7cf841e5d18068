import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { openCertificateStore, type CertificateStore } from './certificate-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    certificates: CertificateStore
  }
}

/** The certificate of every viewer listener: configured files, or a self-signed one kept beside the cache. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const log = app.log.child({ plugin: 'tls' })
  const store = await openCertificateStore({
    certFile: config.tls.cert,
    keyFile: config.tls.key,
    directory: join(config.cache.path, 'tls'),
    hosts: config.tls.hosts
  }, {
    now: systemClock.now,
    log: (level, message, fields) => { log[level](fields ?? {}, message) }
  })
  app.liveConfig.on(['tls.cert', 'tls.key'], async ({ tls }) => await store.prepare(tls.cert, tls.key), {
    always: true,
    // Viewer HTTP is HTTPS with a configured certificate only.
    needsRestart: (now, { tls }) => (now.tls.cert === '') !== (tls.cert === '')
  })
  app.decorate('certificates', store)
  app.relayMetrics.onCollect(() => {
    app.relayMetrics.set('icn_relay_certificate_not_after_timestamp_seconds', store.notAfter / 1_000, { source: store.source })
  })
  app.addHook('onClose', async () => { await store.close() })
}, { name: 'tls', dependencies: ['live-config', 'metrics', 'shard-cache'] })
