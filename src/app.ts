import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { RelayError, systemCode } from './errors.ts'
import { createInstance } from './http/instance.ts'
import type { Logger } from './log.ts'
import adminPlugin from './plugins/admin.ts'
import healthPlugin from './plugins/health.ts'
import metricsPlugin from './plugins/metrics.ts'
import shardCachePlugin from './plugins/shard-cache.ts'
import shardsPlugin from './plugins/shards.ts'
import upstreamPlugin from './plugins/upstream.ts'
import viewerHttpPlugin from './plugins/viewer-http.ts'

export interface Relay {
  /** The control plane: services, admin API, metrics. */
  readonly admin: FastifyInstance
  /** The viewer HTTP listener. */
  readonly viewer: FastifyInstance
  /**
   * Binds both listeners; ports are the ones really bound.
   * @throws RelayError RELAY_ERR_LISTEN naming the address
   */
  listen (): Promise<{ viewerPort: number, adminPort: number }>
  /** Stops accepting, lets responses in flight finish within `viewer.stop_timeout_ms`, writes the index; idempotent. */
  close (): Promise<void>
}

export interface AppDeps {
  readonly logger: Logger
  /** Called for each listener before its routes are added; tests collect schemas here. */
  readonly onInstance?: (app: FastifyInstance, listener: 'admin' | 'viewer') => Promise<void>
}

/** Connections to the admin listener: operators and a few scrapers. */
const MAX_ADMIN_CONNECTIONS = 256

/** How often connections that fell idle while stopping are closed, ms. */
const IDLE_SWEEP_MS = 50

/** Builds the relay without listening. The order of registration is the architecture: each plugin stands on those above it. */
export async function buildApp (config: Config, deps: AppDeps): Promise<Relay> {
  const admin = createInstance({
    logger: deps.logger,
    listener: 'admin',
    requestTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    maxConnections: MAX_ADMIN_CONNECTIONS,
    bodyLimit: 65_536
  })
  try {
    await deps.onInstance?.(admin, 'admin')
    await admin.register(metricsPlugin)
    await admin.register(shardCachePlugin, { config })
    await admin.register(upstreamPlugin, { config })
    await admin.register(shardsPlugin, { config })
    await admin.register(viewerHttpPlugin, { config, logger: deps.logger, onInstance: deps.onInstance })
    await admin.register(healthPlugin)
    await admin.register(adminPlugin, { config })
    await admin.ready()
    await admin.viewer.ready()
  } catch (error) {
    await admin.close()
    throw error
  }
  const { viewer } = admin
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    const cut = setTimeout(() => {
      viewer.server.closeAllConnections()
      admin.server.closeAllConnections()
    }, config.viewer.stop_timeout_ms)
    // A keep-alive connection whose last response ends after close() began is idle again and would hold the server open.
    const sweep = setInterval(() => {
      viewer.server.closeIdleConnections()
      admin.server.closeIdleConnections()
    }, IDLE_SWEEP_MS)
    try {
      await viewer.close()
      await admin.close()
    } finally {
      clearTimeout(cut)
      clearInterval(sweep)
    }
  }
  return {
    admin,
    viewer,
    listen: async () => {
      const adminPort = await bind(admin, config.admin, 'admin')
      const viewerPort = await bind(viewer, config.viewer, 'viewer')
      return { viewerPort, adminPort }
    },
    close: async () => { await (closing ??= close()) }
  }
}

async function bind (app: FastifyInstance, { host, port }: { host: string, port: number }, section: string): Promise<number> {
  try {
    await app.listen({ host, port, backlog: 4_096 })
  } catch (error) {
    throw new RelayError('RELAY_ERR_LISTEN', `${section}.host ${host}, ${section}.port ${port} cannot be listened on: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
  const address = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}
