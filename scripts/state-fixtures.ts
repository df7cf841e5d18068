/**
 * Writes what this version of the relay leaves on disk to `test/fixtures/state/<version>`: `node --import tsx scripts/state-fixtures.ts`. To be run before a
 * format changes, and kept: `test/contracts/state-formats.test.ts` opens them all.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../src/base/version.ts'
import { checkConfig } from '../src/config/config.ts'
import { withOwnToken } from '../src/plugins/admin/own-token.ts'
import { ownEntriesText } from '../src/plugins/denylist/own-entries.ts'
import { overridesText } from '../src/plugins/live-config/overrides.ts'
import { WitnessRecords } from '../src/plugins/integrity/witness-records.ts'
import { pinsText } from '../src/plugins/pins/pin-state.ts'
import { openCache } from '../src/plugins/shard-cache/open-cache.ts'
import { scrubStateText, type ScrubState } from '../src/plugins/scrub/scrub-state.ts'
import { openCertificateStore } from '../src/plugins/tls/certificate-store.ts'
import { NodeChanges, saveChanges } from '../src/plugins/upstream/node-changes.ts'
import { warmStateText, type WarmState } from '../src/plugins/warm/warm-state.ts'
import type { ShardKey } from '../src/protocol/shard-key.ts'

const NEW_YEAR = Date.UTC(2026, 0, 1)
/** A self-signed certificate is renewed by then, and both are kept. */
const LATER = NEW_YEAR + 12 * 86_400_000

const directory = fileURLToPath(new URL(`../test/fixtures/state/${VERSION}`, import.meta.url))
if (existsSync(directory)) throw new Error(`${directory} is there already: what an earlier version has written stays`)
const path = join(directory, 'cache')
const nothing = (): void => {}

const cache = await openCache({
  path,
  maxBytes: 1e9,
  ramBytes: 0,
  passThroughBytes: 1e6,
  clock: { now: () => NEW_YEAR, monotonic: () => 0 },
  random: () => 0.5,
  log: nothing,
  observer: { diskIo: nothing, diskError: nothing, removed: nothing, stored: nothing, storeBypassed: nothing }
})
const keys: ShardKey[] = [{ cid: 'QmUpper', part: 0 }, { cid: 'QmUpper', part: 13 }, { cid: 'QmUpper', part: 'manifest' }, { cid: 'bafy-lower_1', part: 7 }]
for (const [n, key] of keys.entries()) {
  const body = Buffer.from(`${key.cid} ${key.part}\n`.repeat(10 * n + 1))
  const { spool, commit } = await cache.cache.createSpool(key, body.length, true)
  await spool.append(body, new AbortController().signal)
  if (!await commit(createHash('sha256').update(body).digest('hex'))) throw new Error('not stored')
  await spool.close()
}
for (const key of keys.slice(0, 2)) (await cache.cache.open(key))?.release()
cache.cache.addTags('QmUpper', ['news', 'series:1'])
const manifest = Array.from(cache.cache.exportManifest()).join('')
await cache.close()

const changes = new NodeChanges()
changes.add({ url: 'http://192.0.2.1:9002', region: 'EU-WEST' })
changes.remove('http://192.0.2.2:9002')
changes.setState('http://192.0.2.3:9002', 'draining')
await saveChanges(join(path, 'upstreams.json'), changes)

const scrub: ScrubState = {
  version: 1,
  paused: true,
  verifiedSince: NEW_YEAR,
  pass: { startedAt: NEW_YEAR + 1, bytes: 100, verified: 2, rotted: 0, unreadable: 0, skipped: 0, cursor: 'QmUpper/13' },
  last: { startedAt: NEW_YEAR, bytes: 300, verified: 3, rotted: 1, unreadable: 0, skipped: 0, endedAt: NEW_YEAR + 1 }
}
await writeFile(join(path, 'scrub-state.json'), scrubStateText(scrub))
await writeFile(join(path, 'denied.json'), ownEntriesText([{ entry: 'QmDenied', reason: 'for a test', since: NEW_YEAR }, { entry: 'tv-*', reason: '', since: NEW_YEAR + 1 }]))

await writeFile(join(path, 'manifest-witnesses.json'), new WitnessRecords([{ cid: 'QmUpper', sha256: 'ab'.repeat(32), witnesses: ['region NA-WEST', 'operator example'] }], () => {}).toText())
await writeFile(join(path, 'pins.json'), pinsText([{ cid: 'QmUpper', since: NEW_YEAR, expiresAt: null }, { cid: 'bafy-lower_1', since: NEW_YEAR + 1, expiresAt: Date.UTC(2100, 0, 1) }]))

const job = { detail: null, createdAt: NEW_YEAR, endedAt: null, source: 'operator', concurrency: 4, bytes: 300, through: { videos: 1, fetched: 10, present: 1 }, failures: [] } as const
const warm: WarmState = {
  version: 1,
  jobs: [
    { ...job, id: '0-1', state: 'failed', detail: '1 of 22 objects could not be brought in', endedAt: NEW_YEAR + 1, videos: [{ cid: 'QmUpper', parts: '+++=++++!+----+' }], failures: [{ cid: 'QmUpper', part: 8, code: 'RELAY_ERR_SHARD_NOT_FOUND' }] },
    { ...job, id: '0-2', state: 'open', videos: [{ cid: 'bafy-lower_1', parts: '.......=......+' }], failures: [] }
  ],
  feed: { url: 'http://192.0.2.1:9002/recent', etag: '"1"', cids: ['QmUpper'] }
}
await writeFile(join(path, 'warm-jobs.json'), warmStateText(warm))
await writeFile(join(path, 'overrides.json'), overridesText(new Map([['limits.tracked_ips', { value: 5_000, since: NEW_YEAR }], ['region.override', { value: '', since: NEW_YEAR + 1 }]])))

const { admin } = await withOwnToken(checkConfig({ cache: { path } }), { info: nothing })
const options = { certFile: '', keyFile: '', directory: join(path, 'tls'), hosts: ['relay.example'] }
let hashes: unknown
for (const now of [NEW_YEAR, LATER]) {
  const store = await openCertificateStore(options, { now: () => now, log: nothing })
  hashes = store.hashes()
  await store.close()
}

// Git keeps no empty directory, and LMDB makes its lock anew.
await rmdir(join(path, 'shards/tmp'))
await rm(join(path, 'index/lock.mdb'))
await writeFile(join(directory, 'cache_manifest.json'), manifest)
await writeFile(join(directory, 'expected.json'), `${JSON.stringify({ now: LATER, entries: (JSON.parse(manifest) as { entries: unknown }).entries, token: admin.tokens[0]?.token, hosts: options.hosts, hashes }, undefined, 2)}\n`)
