import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, suite, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import { checkConfig } from '../../src/config/config.ts'
import { TOKEN_FILE, withOwnToken } from '../../src/plugins/admin/own-token.ts'
import { loadScrubState, newScrubState, SCRUB_STATE_VERSION, scrubStateText, type ScrubState } from '../../src/plugins/scrub/scrub-state.ts'
import { loadWitnessRecords, WITNESS_RECORDS_VERSION, WitnessRecords } from '../../src/plugins/integrity/witness-records.ts'
import { loadOwnEntries, ownEntriesText } from '../../src/plugins/denylist/own-entries.ts'
import { loadOverrides, OVERRIDES_VERSION, overridesText, type Overrides } from '../../src/plugins/live-config/overrides.ts'
import { loadPins, PINS_VERSION, pinsText } from '../../src/plugins/pins/pin-state.ts'
import { RECORD_VERSION } from '../../src/plugins/shard-cache/record-bytes.ts'
import { MANIFEST_VERSION, type ManifestEntry } from '../../src/plugins/shard-cache/manifest.ts'
import { TAG_LOG_VERSION } from '../../src/plugins/shard-cache/tag-log.ts'
import { loadWarmState, newWarmState, WARM_STATE_VERSION, warmStateText, type WarmState } from '../../src/plugins/warm/warm-state.ts'
import { openCertificateStore, type CertificateHash } from '../../src/plugins/tls/certificate-store.ts'
import { CHANGES_VERSION, lastGood, loadChanges, type NodeChanges } from '../../src/plugins/upstream/node-changes.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { sha256 } from '../../tools/harness/store-bytes.ts'
import { manualClock, openTestCache, readAll, type TestCache } from '../support/cache.ts'

/** What versions of the relay have left on disk, by version, written by scripts/state-fixtures.ts. */
const FIXTURES = fileURLToPath(new URL('../fixtures/state/', import.meta.url))
const OPERATIONS = new URL('../../docs/operations.md', import.meta.url)

interface Expected {
  /** When the relay was stopped, ms since the epoch. */
  readonly now: number
  /** Least recently used first. */
  readonly entries: readonly ManifestEntry[]
  readonly token: string
  readonly hosts: readonly string[]
  readonly hashes: readonly CertificateHash[]
}

interface Told { readonly level: string, readonly message: string, readonly fields: Record<string, unknown> | undefined }

class Left {
  readonly path: string
  readonly manifest: string
  readonly expected: Expected
  readonly told: Told[] = []

  constructor (path: string, fixture: string) {
    this.path = path
    this.manifest = readFileSync(join(fixture, 'cache_manifest.json'), 'utf8')
    this.expected = JSON.parse(readFileSync(join(fixture, 'expected.json'), 'utf8')) as Expected
  }

  get warnings (): string[] { return this.told.filter(({ level }) => level !== 'info').map(({ message }) => message) }

  readonly log = (level: string, message: string, fields?: Record<string, unknown>): void => { this.told.push({ level, message, fields }) }

  file (name: string): string { return join(this.path, name) }

  async text (name: string): Promise<string> { return await readFile(this.file(name), 'utf8') }

  async names (under = ''): Promise<string[]> { return (await readdir(this.file(under))).toSorted() }

  async change (name: string, change: (bytes: Buffer) => Buffer | string): Promise<void> { await writeFile(this.file(name), change(await readFile(this.file(name)))) }

  async cache (t: TestContext): Promise<TestCache> {
    return await openTestCache(t, this.path, { clock: manualClock(this.expected.now), log: this.log })
  }

  async nodes (): Promise<NodeChanges> { return await loadChanges(this.file('upstreams.json'), (message, fields) => { this.log('warn', message, fields) }) }

  async scrub (): Promise<ScrubState> { return await loadScrubState(this.file('scrub-state.json'), (message, fields) => { this.log('warn', message, fields) }) }

  async warm (): Promise<WarmState> { return await loadWarmState(this.file('warm-jobs.json'), (message, fields) => { this.log('error', message, fields) }) }

  async overrides (): Promise<Overrides> { return await loadOverrides(this.file('overrides.json'), (message, fields) => { this.log('error', message, fields) }) }

  async token (): Promise<string | undefined> { return (await withOwnToken(checkConfig({ cache: { path: this.path } }), { info: () => {} })).admin.tokens[0]?.token }

  async hashes (): Promise<CertificateHash[]> {
    const { now, hosts } = this.expected
    const store = await openCertificateStore({ certFile: '', keyFile: '', directory: this.file('tls'), hosts }, { now: () => now, log: this.log })
    await store.close()
    return store.hashes()
  }

  async expectBodies ({ cache }: TestCache): Promise<void> {
    for (const { cid, part, sha256: digest } of this.expected.entries) {
      const object = await cache.open({ cid, part })
      assert.ok(object, `${cid} ${part}`)
      assert.equal(sha256(await readAll(object)), digest)
      object.release()
    }
  }
}

async function leave (t: TestContext, version: string): Promise<Left> {
  const path = join(await temporaryDirectory(t), 'cache')
  await cp(join(FIXTURES, version, 'cache'), path, { recursive: true })
  return new Left(path, join(FIXTURES, version))
}

function withVersion (json: string, version: number): string {
  return `${JSON.stringify({ ...JSON.parse(json) as object, version }, undefined, 2)}\n`
}

const clean = { orphansRemoved: 0, adopted: 0, found: 0, missingDropped: 0, errors: 0 }

const versions = readdirSync(FIXTURES)

test('there is something to open', () => { assert.ok(versions.includes('0.1.0')) })

for (const version of versions) {
  suite(`what version ${version} has left`, () => {
    test('index and files: every object, in its order, with its times and hits', async t => {
      const left = await leave(t, version)
      const { entries } = left.expected
      const opened = await left.cache(t)
      assert.equal(opened.restored, entries.length)
      assert.deepEqual(Array.from(opened.cache.exportManifest()).join(''), left.manifest)
      assert.deepEqual(await opened.cache.reconciled, { ...clean, confirmed: entries.length })
      await left.expectBodies(opened)
      assert.deepEqual(left.warnings, [])
    })

    test('the manifest: files copied without the index are taken over by it', async t => {
      const left = await leave(t, version)
      const { entries } = left.expected
      await rm(left.file('index'), { recursive: true })
      await writeFile(left.file('cache_manifest.json'), left.manifest)
      const opened = await left.cache(t)
      assert.deepEqual(await opened.cache.reconciled, { ...clean, confirmed: 0, adopted: entries.length })
      await left.expectBodies(opened)
      assert.deepEqual(left.warnings, [])
    })

    test('what operators changed of the super-nodes', async t => {
      const left = await leave(t, version)
      const text = await left.text('upstreams.json')
      const changes = await left.nodes()
      const at = (n: number): { url: string, region: string } => ({ url: `http://192.0.2.${n}:9002`, region: 'EU-WEST' })
      assert.deepEqual(changes.apply([at(2), at(3)]), [at(3), at(1)])
      assert.equal(changes.state(at(3).url), 'draining')
      assert.deepEqual([await left.text('upstreams.json'), left.warnings], [text, []])
    })

    test('where the scrub was', async t => {
      const left = await leave(t, version)
      const state = await left.scrub()
      assert.deepEqual([scrubStateText(state), left.warnings], [await left.text('scrub-state.json'), []])
      assert.deepEqual([state.paused, state.pass?.cursor, state.last?.rotted], [true, 'QmUpper/13', 1])
    })

    test('what operators deny', async t => {
      const left = await leave(t, version)
      const entries = await loadOwnEntries(left.file('denied.json'))
      assert.equal(ownEntriesText(entries), await left.text('denied.json'))
      assert.deepEqual(entries.map(({ entry }) => entry), ['QmDenied', 'tv-*'])
    })

    test('what operators have pinned', async t => {
      const left = await leave(t, version)
      const pins = await loadPins(left.file('pins.json'), message => { left.log('error', message) })
      assert.deepEqual([pinsText(pins), left.warnings], [await left.text('pins.json'), []])
      assert.deepEqual(pins.map(({ cid, expiresAt }) => [cid, expiresAt !== null]), [['QmUpper', false], ['bafy-lower_1', true]])
    })

    test('who vouched for manifests', async t => {
      const left = await leave(t, version)
      const records = await loadWitnessRecords(left.file('manifest-witnesses.json'), message => { left.log('warn', message) })
      assert.deepEqual([new WitnessRecords(records, () => {}).toText(), left.warnings], [await left.text('manifest-witnesses.json'), []])
      assert.deepEqual(records.map(({ cid, witnesses }) => [cid, witnesses]), [['QmUpper', ['region NA-WEST', 'operator example']]])
    })

    test('tags of CIDs', async t => {
      const left = await leave(t, version)
      const { cache } = await left.cache(t)
      assert.deepEqual(['QmUpper', 'bafy-lower_1'].map(cid => cache.tagsOf(cid)), [['news', 'series:1'], []])
      assert.deepEqual(left.warnings, [])
    })

    test('warm jobs, and what the feed had', async t => {
      const left = await leave(t, version)
      const state = await left.warm()
      assert.deepEqual([warmStateText(state), left.warnings], [await left.text('warm-jobs.json'), []])
      assert.deepEqual([state.jobs.map(job => [job.state, job.videos[0]?.parts]), state.feed?.etag], [[['failed', '+++=++++!+----+'], ['open', '.......=......+']], '"1"'])
    })

    test('what operators set over the admin API', async t => {
      const left = await leave(t, version)
      const overrides = await left.overrides()
      assert.deepEqual([overridesText(overrides), left.warnings], [await left.text('overrides.json'), []])
      assert.deepEqual([...overrides].map(([key, { value }]) => [key, value]), [['limits.tracked_ips', 5_000], ['region.override', '']])
    })

    test('the admin token, and both certificates that browsers have pinned', async t => {
      const left = await leave(t, version)
      assert.equal(await left.token(), left.expected.token)
      assert.deepEqual(await left.hashes(), left.expected.hashes)
      assert.deepEqual(await left.names('tls'), ['current.pem', 'next.pem'])
      assert.deepEqual(left.told, [])
    })
  })
}

suite('of the next version', () => {
  const version = versions.at(-1) ?? ''

  test('records of the index: the files stay hits, and the log says how many', async t => {
    const left = await leave(t, version)
    const db = open<Buffer, string>({ path: left.file('index'), encoding: 'binary', noSubdir: false })
    for (const { key, value } of Array.from(db.getRange())) await db.put(key, Buffer.concat([Buffer.of(RECORD_VERSION + 1), value.subarray(1)]))
    await db.close()
    const opened = await left.cache(t)
    assert.deepEqual(await opened.cache.reconciled, { ...clean, confirmed: 0, found: left.expected.entries.length })
    await left.expectBodies(opened)
    assert.deepEqual(left.warnings, ['cache index loaded'])
    assert.equal(left.told.find(({ level }) => level === 'warn')?.fields?.['otherVersion'], left.expected.entries.length)
  })

  test('the index as LMDB has it: kept beside, and the files stay hits', async t => {
    const left = await leave(t, version)
    const magic = Buffer.from('dec0efbe', 'hex')
    await left.change('index/data.mdb', bytes => {
      for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 4)) bytes.writeUInt32LE(bytes.readUInt32LE(at + 4) + 1, at + 4)
      return bytes
    })
    const theirs = await readFile(left.file('index/data.mdb'))
    const opened = await left.cache(t)
    assert.equal((await opened.cache.reconciled).found, left.expected.entries.length)
    await left.expectBodies(opened)
    await opened.close()
    const [aside = ''] = (await left.names()).filter(name => name.startsWith('index.damaged-'))
    assert.ok((await readFile(left.file(join(aside, 'data.mdb')))).equals(theirs))
    assert.match(String(left.told.find(({ level }) => level === 'error')?.fields?.['err']), /it is of another version of LMDB: format \d, not \d/)
  })

  test('a manifest: refused by name of both versions; copied files are left alone until there is one that can be read', async t => {
    const left = await leave(t, version)
    const { entries } = left.expected
    await rm(left.file('index'), { recursive: true })
    const theirs = withVersion(left.manifest, MANIFEST_VERSION + 1)
    for (const text of [theirs, '{', '']) {
      await writeFile(left.file('cache_manifest.json'), text)
      const opened = await left.cache(t)
      assert.deepEqual(await opened.cache.reconciled, { ...clean, confirmed: 0, errors: entries.length })
      await assert.rejects(opened.cache.importManifest(JSON.parse(theirs)), { code: 'RELAY_ERR_MANIFEST', message: `version must be ${MANIFEST_VERSION}, and is ${MANIFEST_VERSION + 1}: another version of the relay wrote it` })
      await opened.close()
      assert.equal(await left.text('cache_manifest.json'), text)
    }
    assert.equal(left.told.filter(({ level, message }) => level === 'error' && message.startsWith('cache_manifest.json cannot be read')).length, 3)
    await writeFile(left.file('cache_manifest.json'), left.manifest)
    const opened = await left.cache(t)
    assert.deepEqual(await opened.cache.reconciled, { ...clean, confirmed: 0, adopted: entries.length })
    await left.expectBodies(opened)
  })

  test('changes of the super-nodes: refused, although there is a copy of ours; nothing is written', async t => {
    const left = await leave(t, version)
    await left.change('upstreams.json', bytes => withVersion(String(bytes), CHANGES_VERSION + 1))
    const texts = [await left.text('upstreams.json'), await left.text('upstreams.json.last-good')]
    const names = await left.names()
    await assert.rejects(left.nodes(), { code: 'RELAY_ERR_CONFIG', message: /upstreams\.json is of version 2, and this relay reads 1: start the relay that wrote it, or move it away/ })
    assert.deepEqual([await left.text('upstreams.json'), await left.text('upstreams.json.last-good')], texts)
    assert.deepEqual(await left.names(), names)
  })

  test('a copy of those changes: kept beside before ours takes its place', async t => {
    const left = await leave(t, version)
    const [, copy] = ['upstreams.json', 'upstreams.json'].map(lastGood)
    await left.change(copy ?? '', bytes => withVersion(String(bytes), CHANGES_VERSION + 1))
    const theirs = await left.text(copy ?? '')
    await left.nodes()
    const [kept = ''] = (await left.names()).filter(name => name.startsWith(`${copy}.other-version-`))
    assert.equal(await left.text(kept), theirs)
    assert.equal(await left.text(copy ?? ''), await left.text('upstreams.json'))
    assert.deepEqual(left.warnings, ['a copy of the list of super-nodes is of another version of the relay'])
  })

  test('where the scrub was: told, and it begins anew', async t => {
    const left = await leave(t, version)
    await left.change('scrub-state.json', bytes => withVersion(String(bytes), SCRUB_STATE_VERSION + 1))
    assert.deepEqual(await left.scrub(), newScrubState())
    assert.deepEqual(left.warnings, ['where the scrub was cannot be read, it begins anew'])
    assert.equal(left.told[0]?.fields?.['reason'], 'it is of version 2, and this relay reads 1')
  })

  test('tags of CIDs: told, and kept beside', async t => {
    const left = await leave(t, version)
    await left.change('cid-tags.jsonl', bytes => String(bytes).replace(`:${TAG_LOG_VERSION}`, `:${TAG_LOG_VERSION + 1}`))
    const theirs = await left.text('cid-tags.jsonl')
    const opened = await left.cache(t)
    assert.deepEqual(opened.cache.tagsOf('QmUpper'), [])
    assert.deepEqual(left.warnings, ['tags of cached objects cannot be read: purges by tag do not find what was tagged before'])
    await opened.close()
    const kept = (await left.names()).find(name => name.startsWith('cid-tags.jsonl.unreadable-')) ?? ''
    assert.equal(await left.text(kept), theirs)
  })

  test('warm jobs: told, and moved aside', async t => {
    const left = await leave(t, version)
    await left.change('warm-jobs.json', bytes => withVersion(String(bytes), WARM_STATE_VERSION + 1))
    const theirs = await left.text('warm-jobs.json')
    assert.deepEqual(await left.warm(), newWarmState())
    assert.deepEqual([left.warnings, left.told[0]?.fields?.['reason']], [['warm jobs of earlier cannot be read: none goes on'], 'it is of version 2, and this relay reads 1'])
    const [kept = ''] = (await left.names()).filter(name => name.startsWith('warm-jobs.json'))
    assert.match(kept, /^warm-jobs\.json\.other-version-\d+$/)
    assert.equal(await left.text(kept), theirs)
  })

  test('what operators set over the admin API: told, and moved aside', async t => {
    const left = await leave(t, version)
    await left.change('overrides.json', bytes => withVersion(String(bytes), OVERRIDES_VERSION + 1))
    const theirs = await left.text('overrides.json')
    assert.equal((await left.overrides()).size, 0)
    assert.deepEqual(left.warnings, ['what operators set over the admin API cannot be read: the configuration holds'])
    const [kept = ''] = (await left.names()).filter(name => name.startsWith('overrides.json'))
    assert.match(kept, /^overrides\.json\.other-version-\d+$/)
    assert.equal(await left.text(kept), theirs)
  })

  test('an admin token: refused, and left where it is', async t => {
    const left = await leave(t, version)
    await left.change(TOKEN_FILE, bytes => `v2 ${String(bytes)}`)
    const theirs = await left.text(TOKEN_FILE)
    await assert.rejects(left.token(), { code: 'RELAY_ERR_CACHE_PATH', message: /admin-token holds no admin token that this relay has made; remove it/ })
    assert.equal(await left.text(TOKEN_FILE), theirs)
  })
})

suite('damaged', () => {
  const version = versions.at(-1) ?? ''

  test('where the scrub was: told, and it begins anew', async t => {
    const left = await leave(t, version)
    await left.change('scrub-state.json', bytes => bytes.subarray(0, -5))
    assert.deepEqual(await left.scrub(), newScrubState())
    assert.deepEqual(left.warnings, ['where the scrub was cannot be read, it begins anew'])
  })

  test('changes of the super-nodes, as by an edit: kept beside, once; the last good ones are used now and at the next start', async t => {
    const left = await leave(t, version)
    const good = await left.text('upstreams.json')
    await left.change('upstreams.json', bytes => `${String(bytes)},`)
    assert.equal((await left.nodes()).toText(), good)
    const [kept = ''] = (await left.names()).filter(name => name.startsWith('upstreams.json.damaged-'))
    assert.equal(await left.text(kept), `${good},`)
    assert.equal(await left.text('upstreams.json'), good)
    const names = await left.names()
    assert.equal((await left.nodes()).toText(), good)
    assert.deepEqual(await left.names(), names)
    assert.deepEqual(left.warnings, ['the list of super-nodes is damaged, the last good one is used'])
  })

  test('a certificate: kept beside, and a new one is made', async t => {
    const left = await leave(t, version)
    await left.change('tls/current.pem', bytes => bytes.subarray(0, -40))
    const damaged = await left.text('tls/current.pem')
    const [, next] = left.expected.hashes
    assert.deepEqual(await left.hashes(), [next])
    const [kept = ''] = (await left.names('tls')).filter(name => name.startsWith('current.pem.damaged-'))
    assert.equal(await left.text(join('tls', kept)), damaged)
    assert.deepEqual(left.warnings, ['kept certificate is unusable, a new one replaces it'])
  })
})

suite('the table of files in docs/operations.md', () => {
  let rows: Map<string, string>
  before(async () => {
    const [, table = ''] = (await readFile(OPERATIONS, 'utf8')).split('## Files on disk')
    rows = new Map(Array.from(table.split('\n## ')[0]?.matchAll(/^\| `([^`]+)` \|.*\| ([^|]*) \| [^|]* \|$/gm) ?? [], ([, path = '', version = '']) => [path, version]))
  })

  test('has the versions of the code', () => {
    const of = (path: string): string | undefined => rows.get(path)
    const [records = ''] = of('index/')?.split(';') ?? []
    assert.equal(of('pins.json'), String(PINS_VERSION))
    assert.equal(of('manifest-witnesses.json'), String(WITNESS_RECORDS_VERSION))
    assert.equal(of('cid-tags.jsonl'), `${TAG_LOG_VERSION}, in its first line`)
    assert.deepEqual([records, of('cache_manifest.json'), of('upstreams.json'), of('scrub-state.json'), of('warm-jobs.json'), of('overrides.json')], [`${RECORD_VERSION}, in every record`, String(MANIFEST_VERSION), String(CHANGES_VERSION), String(SCRUB_STATE_VERSION), String(WARM_STATE_VERSION), String(OVERRIDES_VERSION)])
    for (const [path, version] of rows) assert.notEqual(version.trim(), '', path)
  })

  test('has every file that a relay leaves', async t => {
    const left = await leave(t, versions.at(-1) ?? '')
    await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { cache: { path: left.path } })
    const patterns = Array.from(rows.keys(), path => new RegExp(`^${path.replaceAll('.', '\\.').replace('ab/cd', '[0-9a-f]{2}/[0-9a-f]{2}').replaceAll(/<\w+>/g, '[^/]+')}${path.endsWith('/') ? '' : '$'}`))
    const files = (await readdir(left.path, { recursive: true, withFileTypes: true })).filter(entry => !entry.isDirectory()).map(entry => join(entry.parentPath, entry.name).slice(left.path.length + 1))
    assert.ok(files.includes('lock') && files.includes('index/data.mdb') && files.includes('upstreams.json'))
    assert.deepEqual(files.filter(file => !patterns.some(pattern => pattern.test(file))), [])
  })
})
