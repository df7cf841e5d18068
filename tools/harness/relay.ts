import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { buildApp, type AppDeps, type Relay } from '../../src/app.ts'
import { createLogger } from '../../src/base/log.ts'
import { checkConfig, defaultConfig, readTokens, type Config } from '../../src/config/config.ts'
import { layersOf, type ConfigLayers } from '../../src/config/layers.ts'
import { GENEROUS_LIMITS, PATIENT_SUPERVISOR, PATIENT_UPSTREAM } from './limits.ts'

/** That of the program which `npm test` has built starts in a third of the time; coverage is of the sources. */
const GATEWAY = process.env['RELAY_PROGRAM'] === undefined || process.env['NODE_V8_COVERAGE'] !== undefined
  ? {}
  : { gatewayProgram: { entry: join(dirname(process.env['RELAY_PROGRAM']), 'gateway/main.js'), execArgv: [] } }

type RelaySettings = Record<string, Record<string, unknown>>

export interface RunningRelay {
  readonly relay: Relay
  readonly viewerUrl: string
  readonly adminUrl: string
  /** What the next reload reads in the place of `settings`; the directory of the cache stays. */
  readonly rewrite: (settings: RelaySettings) => void
}

/** A relay in this process on free ports, closed with the test. Sections of `settings` are merged over the test defaults. */
export async function startRelay (t: Pick<TestContext, 'after'>, superNodes: readonly { url: string, region: string }[], settings: RelaySettings = {}, deps: Partial<AppDeps> = {}): Promise<RunningRelay> {
  const path = await mkdtemp(join(tmpdir(), 'icn-relay-test-'))
  const removeDirectory = async (): Promise<void> => { await rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) }
  const configOf = (settings: RelaySettings): Config => checkConfig({
    ...settings,
    viewer: { host: '127.0.0.1', port: 0, websocket_port: 0, stop_timeout_ms: 500, ...settings['viewer'] },
    admin: { port: 0, ...settings['admin'] },
    // A gateway process for tests that are about it; the others start faster without.
    transport: { engine: 'off', ...PATIENT_SUPERVISOR, ...settings['transport'] },
    // A test that keeps the event loop it shares with the relay busy is not an overload.
    overload: { degraded_delay_ms: 600_000, shedding_delay_ms: 600_000, ...settings['overload'] },
    // Tests that are about manifests say so; the origins of the others have none.
    cache: { path, integrity: 'digest', ...settings['cache'] },
    // What it brings in by itself would be counted with what tests ask for.
    prefetch: { enabled: false, ...settings['prefetch'] },
    limits: { ...GENEROUS_LIMITS, ...settings['limits'] },
    // Nor is a super-node that shares it late.
    upstream: { super_nodes: superNodes, ...PATIENT_UPSTREAM, ...settings['upstream'] }
  })
  const config = configOf(settings)
  let written = settings
  const layers = (config: Config): ConfigLayers => layersOf(config, defaultConfig())
  const read = { layers: layers(config), source: { file: undefined, read: async () => layers(configOf(written)), complete: readTokens } }
  const complete = await readTokens(config)
  const relay = await buildApp(complete, { logger: createLogger('silent'), read, ...GATEWAY, ...deps }).catch(async (error: unknown) => {
    await removeDirectory()
    throw error
  })
  // One hook for both: hooks run in the order they were registered, and the directory must outlive the relay.
  t.after(async () => {
    await relay.close()
    await removeDirectory()
  })
  const { viewerPort, adminPort } = await relay.listen()
  return { relay, viewerUrl: `http://127.0.0.1:${viewerPort}`, adminUrl: `http://127.0.0.1:${adminPort}`, rewrite: settings => { written = settings } }
}
