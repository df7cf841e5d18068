import * as nodeFs from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { systemTimers, type Clock } from '../../base/clock.ts'
import { RelayError, systemCode } from '../../base/errors.ts'
import { systemFiles, type CacheObserver, type FileSystem } from '../../storage/disk-files.ts'
import { DiskQueue } from '../../storage/disk-queue.ts'
import type { EvictionPolicy } from '../../storage/orders/orders.ts'
import { guardedFiles } from '../../storage/guarded-files.ts'
import { CacheHealth } from './cache-health.ts'
import { clearUnfinished } from './clear-unfinished.ts'
import { inUse, LOCK_NAME, lockDirectory } from './directory-lock.ts'
import { DiskStore } from './disk-store.ts'
import { bootIdOf, type SyncPolicy } from './disk-sync.ts'
import { finder } from './found-files.ts'
import { groupReadable } from './group-readable.ts'
import { checkIndex, type IndexVerdict } from './index-check.ts'
import { openIndexDb, type IndexDb } from './index-db.ts'
import { DIRECTORY, makeDirectory } from '../../base/make-directory.ts'
import { parseManifest, voucher, type ManifestEntry } from './manifest.ts'
import { clearTemporary, dropMissing, reconcile } from './reconcile.ts'
import { TagLog } from './tag-log.ts'
import type { TtlRules } from './ttl-rules.ts'
import { ShardCache, type ShardCacheOptions } from './shard-cache.ts'
import { watchedFiles, type WriteObserver } from './write-points.ts'

export interface OpenCacheOptions {
  /** Directory of the cache; created when missing. */
  readonly path: string
  readonly maxBytes: number
  readonly ramBytes: number
  readonly passThroughBytes: number
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
  readonly observer: CacheObserver
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  readonly fs?: FileSystem
  /** Told of every change on the disk; nobody by default. */
  readonly onWrite?: WriteObserver
  /** Which entries go first, empty; the least recently used by default. */
  readonly eviction?: EvictionPolicy
  /** What waits for the disk; the bytes of objects by default. */
  readonly sync?: SyncPolicy
  /** Whether members of the process's group may read cached objects, as a gateway that is another user; false by default. */
  readonly groupReadable?: boolean
  /** Disk operations at the same time; as many as suit Node's own thread pool by default. */
  readonly diskThreads?: number
  /** Time the disk has to answer, ms; two seconds by default. */
  readonly ioTimeoutMs?: number
  /** Free space that is left to others, bytes; 0 by default. */
  readonly minFreeBytes?: number
  /** Whether there is a descriptor for a file of a reader, now or before long; always by default. Must not reject. */
  readonly mayOpen?: () => boolean | Promise<boolean>
  /** Whether objects may be copied to memory now; always by default. */
  readonly mayPromote?: () => boolean
  readonly verify?: ShardCacheOptions['verify']
  /** How long what a soft purge has marked is served at most, ms; for ever by default. */
  readonly maxStaleMs?: number
  /** How long objects are fresh; for ever by default. */
  readonly ttl?: TtlRules
  /** Asked before the index is opened; a process of its own that reads all of it by default. */
  readonly check?: (directory: string, visited: (share: number) => void) => Promise<IndexVerdict>
  /** Ends opening with RELAY_ERR_STOPPING; without effect later. */
  readonly signal?: AbortSignal
  /** Told what share of the index is checked and loaded, 0 to 1. */
  readonly loaded?: (share: number) => void
  /** Called once when another relay has taken the directory, whose lock somebody had removed: this one must end. */
  readonly onLost?: (error: RelayError) => void
  /** Awaited by the comparison of index and directory before every directory. */
  readonly pace?: (signal: AbortSignal) => Promise<void>
}

export interface OpenedCache {
  readonly cache: ShardCache
  /** Entries restored from the index of the last run. */
  readonly restored: number
  readonly health: CacheHealth
  readonly queue: DiskQueue
  /** Looks at room and directory, and heals what somebody has removed; to be called about once a second. Never rejects. */
  look (): Promise<void>
  /** Stops background work, writes the index, frees the directory; idempotent. */
  close (): Promise<void>
}

/** Node's own pool has four. */
const DEFAULT_DISK_THREADS = 3
const DEFAULT_IO_TIMEOUT_MS = 2_000

/** Whoever has the index open may be a tool that ends soon, or the check of a start that was killed: times to look, and the pause between, ms. */
const INDEX_LOOKS = 5
const INDEX_PAUSE_MS = 400

/** What a batch of the index may take, of what reading may: as other writes. */
const INDEX_PATIENCE = 5

/** A manifest above this is refused instead of parsed: V8 strings end at 512 MB, and a million entries take about 280 MB. */
const MAX_MANIFEST_BYTES = 500_000_000

/**
 * Opens the cache directory: `shards/` with the files, `shards/tmp/` for files being written, `index/` with the LMDB environment,
 * and an optional `cache_manifest.json` that vouches for files the index does not know.
 * @throws RelayError RELAY_ERR_CACHE_PATH when the directory cannot be used or another relay uses it; RELAY_ERR_STOPPING when it was called off
 */
export async function openCache (options: OpenCacheOptions): Promise<OpenedCache> {
  const { clock, log } = options
  const health = new CacheHealth(log)
  const queue = new DiskQueue({ width: options.diskThreads ?? DEFAULT_DISK_THREADS, timeoutMs: options.ioTimeoutMs ?? DEFAULT_IO_TIMEOUT_MS, onLate: late => { health.set('hung', late > 0, { operations: late }) } })
  const path = resolve(options.path)
  const root = join(path, 'shards')
  const bare = options.fs ?? systemFiles
  const files = options.onWrite === undefined ? bare : watchedFiles(bare, root, options.onWrite)
  const fs = guardedFiles(options.groupReadable === true ? groupReadable(files) : files, queue)
  await prepareDirectory(fs, path, root, options.groupReadable === true ? 0o750 : DIRECTORY.mode)
  const lock = await lockDirectory(path)
  let db: IndexDb | undefined
  try {
    const sync = options.sync ?? 'data'
    const bootId = bootIdOf(Math.floor(clock.now()).toString(36) + Math.floor(options.random() * 36 ** 4).toString(36), sync)
    const { index, replaced, tookOver } = await openIndex(path, options)
    db = index
    const tagFile = join(path, 'cid-tags.jsonl')
    const tagLog: TagLog = new TagLog({ file: tagFile, tagsOf: cid => store.table.tagsOf(cid), tagged: () => store.table.taggedCids(), count: () => store.table.tags.tagged, run: async work => { await queue.run('write', work) }, nextTurn, log })
    if (sync === 'full') for (const directory of [path, join(path, 'index'), root]) await fs.syncDirectory(directory)
    const store: DiskStore = new DiskStore({ root, sync, eviction: options.eviction, maxBytes: options.maxBytes, passThroughBytes: options.passThroughBytes, fs, db: index, clock, bootId, observer: options.observer, minFreeBytes: options.minFreeBytes ?? 0, health, takesWrites: () => queue.takesWrites, indexTimeoutMs: INDEX_PATIENCE * (options.ioTimeoutMs ?? DEFAULT_IO_TIMEOUT_MS), mayOpen: options.mayOpen ?? (() => true) })
    for (const directory of [path, join(path, 'tls')]) await clearUnfinished(directory, clock.now())
    const halfWritten = await clearTemporary(fs, root, bootId)
    const start = clock.monotonic()
    const restored = await store.restore(share => {
      refuseWhenStopping(options.signal)
      options.loaded?.(CHECK_SHARE + (1 - CHECK_SHARE) * share)
    })
    await tagLog.load((cid, tags) => { store.table.addTags(cid, tags) })
    store.table.tagPlaces = { ...store.table.tagPlaces, changed: cid => { tagLog.changed(cid) } }
    const partial = await store.partials.restore()
    const unreadable = index.corrupt + index.foreign
    log(unreadable > 0 ? 'warn' : 'info', 'cache index loaded', { entries: restored, bytes: store.indexedBytes, corrupt: index.corrupt, otherVersion: index.foreign, halfWritten, partial, ms: Math.round(clock.monotonic() - start) })
    const stopping = new AbortController()
    const manifest = await readManifestFile(join(path, 'cache_manifest.json'), fs, log)
    const reconciled = reconcile({ store, fs, signal: stopping.signal, vouch: voucher(manifest ?? []), find: finder({ index, replaced, manifestUnread: manifest === undefined, now: clock.now }), ...options.pace === undefined ? {} : { pace: options.pace } })
    const settled = reconciled.then(
      async report => {
        log(report.errors > 0 ? 'warn' : 'info', 'cache reconciled', { ...report })
        if (!replaced || report.errors > 0 || stopping.signal.aborted) return
        await store.index.flush()
        if (!health.has('index')) await tookOver()
      }
    ).catch((error: unknown) => { log('error', 'cache reconciliation failed', { err: error }) })
    const cache = new ShardCache({ disk: store, db: index, ramBytes: options.ramBytes, observer: options.observer, reconciled, verify: options.verify, freshness: { ttl: options.ttl, maxStaleMs: options.maxStaleMs, now: clock.now }, ...options.mayPromote === undefined ? {} : { mayPromote: options.mayPromote } })
    const heal = async (): Promise<void> => {
      await fs.mkdir(join(root, 'tmp'), { ...DIRECTORY, recursive: true })
      const dropped = await dropMissing(store, fs, stopping.signal)
      await index.reopen()
      for (const entry of store.firstOut()) store.index.stored(entry.id, entry)
      log('warn', 'cache directory was emptied by somebody, begun anew', { dropped, kept: store.count })
    }
    const missing = async (file: string): Promise<boolean> => await fs.stat(file).then(() => false, (error: unknown) => systemCode(error) === 'ENOENT')
    /** Who has deleted `lock` has given nothing away, unless another relay was faster than this. */
    const keepLock = async (): Promise<void> => {
      const found = await fs.lstat(join(path, LOCK_NAME)).catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') return undefined
        throw error
      })
      if (found?.ino === lock.ino) return
      await fs.mkdir(path, { ...DIRECTORY, recursive: true })
      lost = !await lock.renew()
      if (lost) options.onLost?.(inUse(path))
      else log('warn', 'cache lock was removed by somebody, taken again')
    }
    let lost = false
    let looking: Promise<void> | undefined
    const looked = async (): Promise<void> => {
      if (stopping.signal.aborted || lost) return
      await keepLock()
      if (lost) return
      await tagLog.flush()
      // Begun anew beside a batch that hangs, it would wait for that.
      if (!store.index.late && (await missing(join(root, 'tmp')) || await missing(join(path, 'index', 'data.mdb')))) await heal()
      await store.lookAtSpace()
    }
    const look = async (): Promise<void> => {
      // What a disk says that does not answer is known already.
      await (looking ??= looked().catch(() => {}).finally(() => { looking = undefined }))
    }
    let closing: Promise<void> | undefined
    const close = async (): Promise<void> => {
      stopping.abort()
      queue.shut()
      await settled
      await looking
      await cache.flush()
      await tagLog.flush()
      // It would wait for the batch that hangs; the process ends all the same.
      if (!store.index.late) await index.close()
      lock.close()
    }
    await look()
    return { cache, restored, health, queue, look, close: async () => { await (closing ??= close()) } }
  } catch (error) {
    await db?.close()
    lock.close()
    throw error instanceof RelayError ? error : new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be used: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
}

async function prepareDirectory (fs: FileSystem, path: string, root: string, mode: number): Promise<void> {
  try {
    await makeDirectory(fs, join(root, 'tmp'))
    const probe = join(root, 'tmp', `probe.${process.pid}`)
    // What stands in tmp/ is removed at every start, so it must not be somewhere else.
    if (!(await fs.lstat(join(root, 'tmp'))).isDirectory()) throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path}: shards/tmp must be a directory and no link`)
    // Directories of earlier versions, or made by hand; whose they are decides whether we may.
    for (const directory of [path, root, join(root, 'tmp')]) await nodeFs.chmod(directory, mode).catch(() => {})
    const handle = await fs.open(probe, 'w', 0o600)
    await handle.close()
    await fs.unlink(probe)
  } catch (error) {
    if (error instanceof RelayError) throw error
    throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be written: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
}

interface SoundIndex {
  readonly index: IndexDb
  /** Files have no entries any more, since their index was damaged, in this run or in one that did not come to taking all of them over. */
  readonly replaced: boolean
  /** They have been taken over, and a file without an entry has been removed by somebody from now on. */
  readonly tookOver: () => Promise<void>
}

type IndexOpening = Pick<OpenCacheOptions, 'check' | 'onWrite' | 'clock' | 'log' | 'signal' | 'loaded'>

async function openIndex (path: string, options: IndexOpening): Promise<SoundIndex> {
  const directory = join(path, 'index')
  await nodeFs.mkdir(directory, DIRECTORY).catch(() => {})
  const opened = await openSound(path, directory, options)
  await nodeFs.chmod(directory, DIRECTORY.mode).catch(() => {})
  for (const name of ['data.mdb', 'lock.mdb']) await nodeFs.chmod(join(directory, name), 0o600).catch(() => {})
  return opened
}

/** How often a check that says nothing is tried. */
const CHECKS = 2

/** What part of opening the check is, as /ready has it: both read everything once. */
const CHECK_SHARE = 0.5

function refuseWhenStopping (signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new RelayError('RELAY_ERR_STOPPING', 'the relay was stopped while it started')
}

/** What a check says in the end: one that says nothing is tried again, and who else has the index open gets some time. @throws RelayError */
async function settledVerdict (path: string, directory: string, { check, log, signal, loaded }: IndexOpening): Promise<Exclude<IndexVerdict, { is: 'in use' }>> {
  const ask = check ?? (async (of, visited) => await checkIndex(of, { timers: systemTimers, signal, visited }))
  let checks = 0
  let looks = 0
  for (;;) {
    const verdict = await ask(directory, share => { loaded?.(share * CHECK_SHARE) })
    refuseWhenStopping(signal)
    if (verdict.is === 'in use') {
      // Somebody has deleted `lock` under another relay, or the check of a relay that was killed goes on for a moment.
      if (++looks === INDEX_LOOKS) throw inUse(path)
      await delay(INDEX_PAUSE_MS)
      continue
    }
    if (verdict.is !== 'inconclusive') return verdict
    const last = ++checks === CHECKS
    log('warn', last ? 'cache index could not be checked, opened unchecked' : 'cache index could not be checked, tried again', { detail: verdict.why })
    if (last) return verdict
  }
}

async function openSound (path: string, directory: string, opening: IndexOpening): Promise<SoundIndex> {
  // While it has this name, its files are being taken over: a kill in the middle must not make orphans of the others.
  const aside = `${directory}.damaged`
  const tookOver = async (): Promise<void> => { await nodeFs.rename(aside, `${aside}-${Math.floor(opening.clock.now())}`) }
  const unfinished = await nodeFs.lstat(aside).then(() => true, () => false)
  const verdict = await settledVerdict(path, directory, opening)
  let why: unknown = verdict.is === 'damaged' ? verdict.why : undefined
  if (why === undefined) {
    try {
      return { index: openIndexDb(directory, opening.onWrite), replaced: unfinished, tookOver }
    } catch (error) {
      why = error
    }
  }
  opening.log('error', 'cache index cannot be opened, moved aside and started empty; files are taken over by what they are', { err: why, aside })
  if (unfinished) await tookOver()
  await nodeFs.rename(directory, aside)
  return { index: openIndexDb(directory, opening.onWrite), replaced: true, tookOver }
}

/** Empty when there is none, undefined when it cannot be read. */
async function readManifestFile (file: string, fs: FileSystem, log: OpenCacheOptions['log']): Promise<ManifestEntry[] | undefined> {
  try {
    const { size } = await fs.stat(file)
    if (size > MAX_MANIFEST_BYTES) throw new RelayError('RELAY_ERR_MANIFEST', `${size} bytes exceed the limit of ${MAX_MANIFEST_BYTES}`)
    return parseManifest(await nodeFs.readFile(file, 'utf8'))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    log('error', 'cache_manifest.json cannot be read; files without an entry are left alone until it can, or has been removed', { err: error })
    return undefined
  }
}
