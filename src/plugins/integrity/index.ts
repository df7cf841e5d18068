import { join } from 'node:path'
import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { Config } from '../../config/config.ts'
import { witnessOf } from '../upstream/each-node.ts'
import { settleUnverified } from '../shard-cache/settle.ts'
import { EvidenceBook } from './evidence.ts'
import { Integrity } from './integrity.ts'
import { keepManifest, keptManifest } from './kept-manifest.ts'
import { KeptText } from './kept-text.ts'
import { ManifestKeeper } from './manifest-keeper.ts'
import { ManifestStore } from './manifest-store.ts'
import { publisherKeys, type PublisherKeys } from './publisher-signature.ts'
import { Quarantine } from './quarantine.ts'
import type { IntegrityReportSource } from './routes.ts'
import { loadWitnessRecords, WitnessRecords } from './witness-records.ts'

declare module 'fastify' {
  interface FastifyInstance {
    integrity: IntegrityReportSource & {
      /** Undefined unless objects are compared with their manifests. */
      readonly checks: Integrity | undefined
      /** Whose signatures count. */
      readonly publishers: PublisherKeys
    }
  }
}

/** Compares what super-nodes send with the manifests of their CIDs. */
export default fp<{ config: Config }>(async (app, { config }) => {
  const { trust, cache: { integrity: mode }, upstream: { super_nodes: nodes, dns, max_manifest_bytes: maxBytes } } = config
  const { relayMetrics: metrics, upstream, shardCache, diskQueue } = app
  const log = app.log.child({ plugin: 'integrity' })
  const evidence = new EvidenceBook()
  const quarantine = new Quarantine()
  const publishers = publisherKeys(trust.publishers)
  const policy = { maxBytes, publishers, maxAgeMs: trust.manifest_max_age_s * 1_000 }
  let checks: Integrity | undefined
  const keeper = new ManifestKeeper({
    write: async (cid, bytes, digest) => { await keepManifest(shardCache, cid, bytes, digest) },
    timers: systemTimers,
    failed: (cid, error) => { log.debug({ err: error, cid }, 'a believed manifest could not be kept') }
  })
  const file = join(config.cache.path, 'manifest-witnesses.json')
  const kept: KeptText = new KeptText({
    text: () => records.toText(),
    write: async text => { await diskQueue.run('write', async () => { await replaceFile(file, text) }) },
    timers: systemTimers,
    failed: error => { log.warn({ err: error, file }, 'who vouched for manifests could not be written') }
  })
  const records = new WitnessRecords(mode === 'manifest' ? await loadWitnessRecords(file, (message, fields) => { log.warn(fields, message) }) : [], kept.changed)
  /** Those that are asked today. */
  const isWitness = (name: string): boolean => [...dns, ...upstream.nodes.nodes].some(node => witnessOf(node) === name)
  const store = new ManifestStore({
    ask: async (cid, options) => { await upstream.askEach(cid, options) },
    kept: async cid => await keptManifest(shardCache, cid, maxBytes),
    lifetimeOf: cid => shardCache.freshness.lifetimeOf({ cid, part: 'manifest' }),
    policy,
    quorum: trust.quorum,
    timeoutMs: trust.manifest_timeout_ms,
    clock: systemClock,
    timers: systemTimers,
    observer: {
      found: (cid, outcome) => {
        metrics.count('icn_relay_integrity_manifests_total', { outcome })
        if (outcome === 'conflict') log.warn({ cid }, 'super-nodes have different manifests, and none is believed')
      },
      refused: (node, cid, fault, detail) => {
        metrics.count('icn_relay_integrity_manifest_faults_total', { fault })
        log.warn({ node, cid, fault, detail }, 'manifest of a super-node is refused')
      }
    },
    vouched: (cid, sha256) => records.of(cid, sha256).filter(isWitness),
    keep: (cid, { bytes, digest, witnesses, by }) => {
      if (by === 'quorum') records.add({ cid, sha256: digest, witnesses: [...witnesses] })
      keeper.keep(cid, bytes, digest)
    },
    forgotten: matches => { keeper.forget(matches) },
    believed: (cid, facts) => {
      shardCache.addTags(cid, facts.tags)
      checks?.settle(cid, facts)
    }
  })
  if (mode === 'manifest') {
    checks = new Integrity({
      store,
      policy,
      unverified: trust.unverified,
      evidence,
      quarantine,
      clock: systemClock,
      observer: {
        checked: outcome => { metrics.count('icn_relay_integrity_checks_total', { outcome }) },
        settled: outcome => { metrics.count('icn_relay_integrity_settled_total', { outcome }) }
      },
      settle: (cid, expected) => settleUnverified(shardCache, cid, expected),
      log: (level, message, fields) => { log[level](fields, message) }
    })
    const witnesses = new Set([...nodes, ...dns].map(witnessOf)).size
    if (trust.publishers.length > 0) log.info({ publishers: trust.publishers.length }, 'manifests are believed that a publisher signed')
    else if (trust.quorum === 1) log.warn('manifests are believed of whichever super-node answers first: trust.quorum is 1, and trust.publishers is empty')
    else if (witnesses < trust.quorum) log.warn({ witnesses, quorum: trust.quorum }, 'no manifest will be believed: there are fewer witnesses, operators or regions of super-nodes, than trust.quorum, and trust.publishers is empty')
  }
  app.decorate('integrity', { checks, publishers, config, store, quarantine, evidence })
  metrics.onCollect(() => {
    metrics.set('icn_relay_integrity_manifests', store.size)
    metrics.set('icn_relay_integrity_quarantined', quarantine.size)
  })
  // Before fills are ended, which wait for what is asked.
  app.addHook('preClose', async () => {
    store.close()
    await keeper.close()
    await kept.close()
  })
}, { name: 'integrity', dependencies: ['metrics', 'shard-cache', 'upstream'] })
