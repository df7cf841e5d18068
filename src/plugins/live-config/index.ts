import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { setLevel, type Logger } from '../../base/log.ts'
import { replaceFile } from '../../base/replace-file.ts'
import { WatchedFiles } from '../../base/watched-files.ts'
import { checkConfig, defaultConfig, readTokens, tokenFiles, type Config } from '../../config/config.ts'
import { layersOf, mergeLayers, type ConfigLayers } from '../../config/layers.ts'
import { LiveConfig, type ConfigSource } from './live-config.ts'
import { loadOverrides } from './overrides.ts'

declare module 'fastify' {
  interface FastifyInstance {
    liveConfig: LiveConfig
  }
}

/** Time to get ready for a change, ms: less than whoever asks for it waits. */
const DEADLINE_MS = 8_000
export const OVERRIDES_FILE = 'overrides.json'

/** A configuration as it was read, and how it is read again. */
export interface ReadConfig {
  readonly layers: ConfigLayers
  readonly source: ConfigSource
}

export interface LiveConfigPluginOptions {
  readonly config: Config
  readonly logger: Logger
  /** Without it the configuration is what it is. */
  readonly read?: ReadConfig | undefined
}

function unchanging (config: Config): ReadConfig {
  const layers = layersOf(config, defaultConfig())
  return { layers, source: { file: undefined, read: async () => layers, complete: readTokens } }
}

/** The configuration in force: what it is made of, reloads, and what operators set over the admin API. */
export default fp<LiveConfigPluginOptions>(async (app, { config, logger, read = unchanging(config) }) => {
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'live-config' })
  const file = join(config.cache.path, OVERRIDES_FILE)
  const live = new LiveConfig({
    config,
    ...read,
    overrides: await loadOverrides(file, (message, fields) => { log.error(fields, message) }),
    keep: async text => { await app.diskQueue.run('write', async () => { await replaceFile(file, text) }) },
    now: systemClock.now,
    deadline: () => AbortSignal.timeout(DEADLINE_MS),
    reloaded: success => { metrics.count('icn_relay_config_reloads_total', { outcome: success ? 'success' : 'refused' }) },
    log: (level, message, fields) => { log[level](fields, message) }
  })
  const secrets = new WatchedFiles(() => {
    live.refresh().catch((error: unknown) => { log.error({ reason: error instanceof Error ? error.message : String(error) }, 'admin tokens not replaced, the old ones stay in use') })
  })
  const watch = (): void => { secrets.watch(tokenFiles(checkConfig(mergeLayers(live.layers)))) }
  watch()
  live.onChange(watch)
  live.on(['log.level'], next => () => { setLevel(logger, next.log.level) })
  app.decorate('liveConfig', live)
  metrics.onCollect(() => {
    metrics.set('icn_relay_config_reload_success', live.lastReload.success ? 1 : 0)
    metrics.set('icn_relay_config_reload_success_timestamp_seconds', live.loadedAt / 1_000)
    metrics.set('icn_relay_config_hash', Number.parseInt(live.hash, 16))
    metrics.set('icn_relay_config_pending_keys', live.restart.length)
    metrics.set('icn_relay_config_overrides', live.overridden.length)
  })
  app.addHook('preClose', async () => {
    secrets.close()
    await live.close()
  })
}, { name: 'live-config', dependencies: ['metrics'] })
