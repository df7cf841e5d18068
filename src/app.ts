import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from './base/log.ts'
import type { Config } from './config/config.ts'
import accessLogPlugin, { openAccessLog, requestLogTarget } from './plugins/access-log/index.ts'
import { refuseRebound } from './plugins/admin/access.ts'
import adminPlugin from './plugins/admin/index.ts'
import auditPlugin from './plugins/audit/index.ts'
import authPlugin from './plugins/auth/index.ts'
import bandwidthPlugin from './plugins/bandwidth/index.ts'
import denylistPlugin from './plugins/denylist/index.ts'
import healthPlugin from './plugins/health/index.ts'
import { bind, boundPort } from './plugins/http/bind.ts'
import { createInstance } from './plugins/http/instance.ts'
import type { StartListener } from './plugins/http/start-listener.ts'
import integrityPlugin from './plugins/integrity/index.ts'
import jobsPlugin from './plugins/jobs/index.ts'
import limitsPlugin from './plugins/limits/index.ts'
import liveConfigPlugin, { type ReadConfig } from './plugins/live-config/index.ts'
import metricsPlugin from './plugins/metrics/index.ts'
import overloadPlugin from './plugins/overload/index.ts'
import p2pPlugin from './plugins/p2p/index.ts'
import pinsPlugin from './plugins/pins/index.ts'
import prefetchPlugin from './plugins/prefetch/index.ts'
import purgePlugin from './plugins/purge/index.ts'
import regionPlugin from './plugins/region/index.ts'
import repairPlugin from './plugins/repair/index.ts'
import scrubPlugin from './plugins/scrub/index.ts'
import shardCachePlugin from './plugins/shard-cache/index.ts'
import shardsPlugin from './plugins/shards/index.ts'
import sizingPlugin from './plugins/sizing/index.ts'
import tlsPlugin from './plugins/tls/index.ts'
import upstreamPlugin from './plugins/upstream/index.ts'
import viewerHttpPlugin from './plugins/viewer-http/index.ts'
import viewersPlugin from './plugins/viewers/index.ts'
import warmPlugin from './plugins/warm/index.ts'
import type { GatewayProgram } from './spawn/gateway-process.ts'
import type { ListenSockets } from './spawn/listen-sockets.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Calls back once the relay begins to listen; `onListen` of Fastify knows nothing of a socket that was handed over. */
    whenListening (callback: () => void): void
  }
}

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
  /**
   * The lame-duck time before `close`, `viewer.lame_duck_ms`: `/ready` says 503 and sessions are asked to move, so that nobody new is sent here, and whoever
   * comes all the same is served, on a connection that ends with the answer.
   */
  leave (): Promise<void>
  /** Stops accepting, lets responses in flight finish within `viewer.stop_timeout_ms`, writes the index; idempotent. */
  close (): Promise<void>
  /** Whether something waits for a disk that does not answer, which would keep the process from exiting. */
  hangs (): boolean
  /** Reads the configuration again, with all files that it names. What is wrong is logged, and then nothing changes. Never rejects. */
  reload (): Promise<void>
  /** Opens files of logs anew, after a rotation. */
  reopenLogs (): Promise<void>
}

export interface AppDeps {
  readonly logger: Logger
  /** What the configuration was made of, to read it again. */
  readonly read?: ReadConfig | undefined
  /** Log lines that nobody read in time; none by default. */
  readonly droppedLines?: () => number
  /** Takes lines of the access log for standard output; nowhere by default. */
  readonly output?: (line: string) => void
  /** Sockets that a service manager has opened; none by default. */
  readonly sockets?: ListenSockets
  /** Holds the admin socket until `listen`. */
  readonly startListener?: StartListener | undefined
  /** Ends the start: loading the cache immediately, the rest when it is through. */
  readonly signal?: AbortSignal
  /** What gateways run; this program's own by default. */
  readonly gatewayProgram?: GatewayProgram
  /** Called for each listener before its routes are added; tests collect schemas here. */
  readonly onInstance?: (app: FastifyInstance, listener: 'admin' | 'viewer') => Promise<void>
}

/** Connections to the admin listener: operators and a few scrapers. */
const MAX_ADMIN_CONNECTIONS = 256

/** How often connections that fell idle while stopping are closed, ms. */
const IDLE_SWEEP_MS = 50

/** Builds the relay without listening. The order of registration is the architecture: each plugin stands on those above it. */
export async function buildApp (start: Config, deps: AppDeps): Promise<Relay> {
  const accessLog = await openAccessLog(start.access_log, deps.logger, deps.output ?? (() => {}))
  const { sockets = {} } = deps
  const admin = createInstance({
    logger: deps.logger,
    accessLog: requestLogTarget(accessLog),
    listener: 'admin',
    requestTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    maxConnections: MAX_ADMIN_CONNECTIONS,
    bodyLimit: 65_536
  })
  admin.addHook('onRequest', async ({ raw, headers }) => { refuseRebound({ remoteAddress: raw.socket.remoteAddress, host: headers.host }) })
  const starts: (() => void)[] = []
  admin.decorate('whenListening', callback => { starts.push(callback) })
  try {
    await deps.onInstance?.(admin, 'admin')
    await admin.register(metricsPlugin, { droppedLines: deps.droppedLines })
    await admin.register(liveConfigPlugin, { config: start, logger: deps.logger, read: deps.read })
    const { config } = admin.liveConfig
    await admin.register(accessLogPlugin, { accessLog })
    await admin.register(overloadPlugin, { config })
    await admin.register(shardCachePlugin, { config, signal: deps.signal, loaded: share => { deps.startListener?.loaded(share) } })
    await admin.register(pinsPlugin, { config })
    await admin.register(sizingPlugin, { config })
    await admin.register(auditPlugin, { config })
    await admin.register(tlsPlugin, { config })
    await admin.register(authPlugin, { config })
    await admin.register(denylistPlugin, { config })
    await admin.register(regionPlugin, { config })
    await admin.register(upstreamPlugin, { config })
    await admin.register(integrityPlugin, { config })
    await admin.register(p2pPlugin, { config })
    await admin.register(repairPlugin, { config })
    await admin.register(shardsPlugin, { config })
    await admin.register(jobsPlugin)
    await admin.register(limitsPlugin, { config })
    await admin.register(bandwidthPlugin, { config })
    await admin.register(viewersPlugin, { config, gatewayProgram: deps.gatewayProgram, websocketSocket: sockets.websocket })
    await admin.register(prefetchPlugin, { config })
    await admin.register(scrubPlugin, { config })
    await admin.register(warmPlugin, { config })
    await admin.register(purgePlugin)
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
  /** The time to stop is up. */
  let late = false
  const close = async (): Promise<void> => {
    const { stop_timeout_ms: deadlineMs } = start.viewer
    const sweep = async (): Promise<void> => {
      // A request that has arrived is read first: timers come before it, and without it its connection looks idle.
      await nextTurn()
      for (const { server } of [viewer, admin]) {
        if (late) server.closeAllConnections()
        // A keep-alive connection whose last response ends after close() began is idle again and would hold the server open.
        else server.closeIdleConnections()
      }
    }
    const cut = setTimeout(() => {
      late = true
      void sweep()
    }, deadlineMs)
    const sweeping = setInterval(() => { void sweep() }, IDLE_SWEEP_MS)
    try {
      await nextTurn()
      // Viewers of both transports have the same time; what they read comes from what admin.close() ends after them.
      await Promise.all([viewer.close(), admin.viewers.stop(deadlineMs)])
      await admin.close()
    } finally {
      clearTimeout(cut)
      clearInterval(sweeping)
    }
  }
  return {
    admin,
    viewer,
    listen: async () => {
      const { startListener } = deps
      await startListener?.handOver(admin.server)
      const adminPort = startListener === undefined ? await bind(admin, start.admin, 'admin', sockets.admin) : boundPort(admin)
      for (const callback of starts.splice(0)) callback()
      const viewerPort = await bind(viewer, start.viewer, 'viewer', sockets.viewer)
      await admin.viewers.start(viewerPort)
      return { viewerPort, adminPort }
    },
    leave: async () => {
      const { lame_duck_ms: ms } = start.viewer
      if (ms === 0) return
      admin.viewers.live.update({ drain: { deadlineMs: ms, alternates: admin.liveConfig.config.overload.alternates } })
      await delay(ms)
    },
    close: async () => { await (closing ??= close()) },
    hangs: () => accessLog.writing || admin.diskQueue.late > 0 || admin.shardCache.disk.index.late || (late && admin.shardCache.disk.index.writing),
    reload: async () => { await Promise.all([admin.liveConfig.reload().catch(() => {}), accessLog.reopen()]) },
    reopenLogs: async () => { await accessLog.reopen() }
  }
}
