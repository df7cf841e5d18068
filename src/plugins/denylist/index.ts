import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import { RelayError, systemCode } from '../../base/errors.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { Config } from '../../config/config.ts'
import { DenylistService } from './denylist-service.ts'
import { Denylist, SOURCES, type Denies } from './denylist.ts'
import { OwnEntries, loadOwnEntries } from './own-entries.ts'
import { PulledList } from './pulled-list.ts'

declare module 'fastify' {
  interface FastifyInstance {
    denylist: {
      readonly denies: Denies
      readonly size: number
      readonly service: DenylistService
      /** @param listener told whenever more may be denied than before */
      onChange (listener: () => void): void
    }
  }
}

/** @throws RelayError RELAY_ERR_CONFIG */
async function readList (file: string, maxBytes: number): Promise<Buffer> {
  try {
    const { size } = await stat(file)
    if (size > maxBytes) throw new RelayError('RELAY_ERR_CONFIG', `denylist.file ${file} is larger than denylist.max_bytes, ${maxBytes} bytes`)
    return await readFile(file)
  } catch (error) {
    if (error instanceof RelayError) throw error
    throw new RelayError('RELAY_ERR_CONFIG', `denylist.file ${file} cannot be read: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
}

function readerOf ({ file, max_bytes: maxBytes }: Config['denylist']): (() => Promise<Buffer>) | undefined {
  return file === '' ? undefined : async () => await readList(file, maxBytes)
}

/** What must not be served, whoever asks for it: the lists, and where they come from. Who keeps to it are `upstream` and `shards`. */
export default fp<{ config: Config }>(async (app, { config: { denylist: settings, cache } }) => {
  const { relayMetrics: metrics } = app
  const log = app.log.child({ plugin: 'denylist' })
  const denylist = new Denylist()
  const ownFile = join(cache.path, 'denied.json')
  const own = new OwnEntries(await loadOwnEntries(ownFile), async text => { await replaceFile(ownFile, text) })
  const service: DenylistService = new DenylistService({
    denylist,
    own,
    now: systemClock.now,
    read: readerOf(settings),
    pulled: settings.url === ''
      ? undefined
      : new PulledList({
        url: settings.url,
        intervalMs: settings.interval_s * 1_000,
        maxBytes: settings.max_bytes,
        file: join(cache.path, 'denied-url.txt'),
        timers: systemTimers,
        now: systemClock.now,
        pulled: list => { service.take('url', list) },
        failed: reason => {
          metrics.count('icn_relay_denylist_pull_failures_total')
          log.warn({ url: settings.url, reason }, 'denylist.url gives no list, the one of before holds')
        }
      }),
    log: (level, message, fields) => { log[level](fields, message) }
  })
  await service.open()
  app.decorate('denylist', {
    denies: denylist.denies,
    get size () { return denylist.size },
    service,
    onChange: (listener: () => void) => { denylist.onChange(listener) }
  })
  metrics.onCollect(() => {
    for (const source of SOURCES) metrics.set('icn_relay_denylist_entries', denylist.list(source)?.size ?? 0, { source })
    const { checkedAt } = service
    metrics.replace('icn_relay_denylist_pull_age_seconds', checkedAt === null ? [] : [[{}, Math.max(0, systemClock.now() - checkedAt) / 1_000]])
  })
  app.liveConfig.on(['denylist.file'], async ({ denylist: next }) => await service.prepare(readerOf(next)))
  // A list that is read again and cannot be used keeps nothing else from being changed: the one of before holds.
  app.liveConfig.on(['denylist.file'], () => () => { void service.reload() }, { always: true })
  app.whenListening(() => { service.start() })
  app.addHook('preClose', async () => { await service.close() })
}, { name: 'denylist', dependencies: ['live-config', 'metrics', 'shard-cache'] })
