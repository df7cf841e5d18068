import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import { LogBudget } from '../../base/log-budget.ts'
import { isPrivateHost } from '../../base/private-address.ts'
import { startThread } from '../../base/thread.ts'
import { VERSION } from '../../base/version.ts'
import type { Config } from '../../config/config.ts'
import type { HolderFault } from '../../protocol/holder-record.ts'
import { HolderDirectory, type LookupOutcome } from './holder-directory.ts'
import { KEY_FILE, keySeed } from './key-file.ts'
import type { P2pSettings } from './p2p-messages.ts'
import { P2pThread } from './p2p-thread.ts'
import { publicLookup } from './public-lookup.ts'
import type { P2pReportSource } from './routes.ts'
import { Tally } from './tally.ts'

declare module 'fastify' {
  interface FastifyInstance {
    p2p: P2pReportSource
  }
}

/** Heap of the thread, MB; it needs some 40. */
const WORKER_HEAP_MB = 128
/** Log lines on refused records in {@link BUDGET_MS}: strangers decide how many there would be. */
const REFUSED_LINES = 20
const BUDGET_MS = 10_000

/** Another source of super-nodes: libp2p, where it is on. Nothing of it is loaded otherwise. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { p2p: settings, trust, cache } = config
  const { relayMetrics: metrics, upstream, region } = app
  const lookups = new Tally<LookupOutcome>()
  const refused = new Tally<HolderFault | 'private'>()
  const report = { lookups, refused, holders: () => upstream.holderStatus() }
  if (!settings.enabled) {
    app.decorate('p2p', { ...report, thread: undefined, directory: undefined })
    metrics.onCollect(() => { metrics.set('icn_relay_p2p_peers', upstream.status().filter(node => node.connections.connected > 0).length) })
    return
  }
  const log = app.log.child({ plugin: 'p2p' })
  const budget = new LogBudget(REFUSED_LINES)
  const refuse = (cid: string, fault: HolderFault | 'private', detail: string): void => {
    refused.add(fault)
    metrics.count('icn_relay_p2p_records_refused_total', { fault })
    if (budget.spend()) log.warn({ cid, fault, detail }, 'holder record is refused')
  }
  const seed = await keySeed(settings.key_file === '' ? join(cache.path, KEY_FILE) : settings.key_file, file => { log.info({ file }, 'a private key was made for libp2p') })
  const workerData: P2pSettings = {
    seed,
    listen: settings.listen,
    announce: settings.announce,
    bootstrap: settings.bootstrap,
    protocol: settings.protocol,
    maxConnections: settings.max_connections,
    allowPrivate: settings.allow_private,
    publishers: trust.publishers,
    maxAgeMs: settings.record_max_age_s * 1_000,
    version: VERSION
  }
  const thread = new P2pThread({
    start: () => startThread('plugins/p2p/p2p-worker', { name: 'p2p', workerData, resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB } }),
    timers: systemTimers,
    observer: {
      refused: refuse,
      restarted: () => { metrics.count('icn_relay_p2p_restarts_total') }
    },
    log: (level, message, fields) => { log[level](fields, message) }
  })
  const directory = new HolderDirectory({
    ask: async (cid, signal, found) => await thread.ask(cid, signal, found),
    allows: ({ url }) => settings.allow_private || !isPrivateHost(new URL(url).hostname),
    timeoutMs: settings.lookup_timeout_ms,
    clock: systemClock,
    timers: systemTimers,
    observer: {
      looked: (_cid, outcome) => {
        lookups.add(outcome)
        metrics.count('icn_relay_p2p_lookups_total', { outcome })
      },
      noneAllowed: cid => { refuse(cid, 'private', 'no holder has an address that is public') }
    }
  })
  if (settings.bootstrap.length === 0) log.warn('p2p.bootstrap names nobody: only peers that connect to the relay are asked')
  await thread.start()
  const renewal = setInterval(() => {
    const dropped = budget.renew()
    if (dropped > 0) log.warn({ dropped }, 'more holder records were refused')
  }, BUDGET_MS).unref()
  upstream.useHolders(directory, settings.allow_private ? undefined : publicLookup())
  const advertise = (name: string): void => { thread.advertise(name === '' || settings.listen.length === 0 ? undefined : `relay:${name}`) }
  const forget = region.onChange(advertise)
  advertise(region.current)
  app.decorate('p2p', { ...report, thread, directory })
  metrics.onCollect(() => {
    metrics.set('icn_relay_p2p_peers', thread.state?.connected ?? 0)
    metrics.set('icn_relay_p2p_holders', upstream.holderStatus().length)
  })
  // Before fills are ended, which wait for what is asked.
  app.addHook('preClose', async () => { directory.close() })
  app.addHook('onClose', async () => {
    clearInterval(renewal)
    forget()
    await thread.close()
  })
}, { name: 'p2p', dependencies: ['metrics', 'region', 'shard-cache', 'upstream', 'integrity'] })
