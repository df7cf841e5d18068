import assert from 'node:assert/strict'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import type { CacheObserver, FileSystem } from '../../src/storage/disk-files.ts'
import { DiskStore } from '../../src/plugins/shard-cache/disk-store.ts'
import { openCache, type OpenCacheOptions, type OpenedCache } from '../../src/plugins/shard-cache/open-cache.ts'
import type { Clock } from '../../src/base/clock.ts'
import { seededRandom } from '../../demo/super-node/faults.ts'
import { MemoryIndexDb } from '../fakes/index-db.ts'
import { faultyFs, type FaultyFs } from '../fakes/faulty-fs.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

export { bytesOf } from '../../tools/harness/store-bytes.ts'

export interface RecordingObserver extends CacheObserver {
  readonly errors: string[]
  readonly removals: string[]
  readonly bypassed: string[]
  readonly io: Map<string, number>
}

export function recordingObserver (): RecordingObserver {
  const observer: RecordingObserver = {
    errors: [],
    removals: [],
    bypassed: [],
    io: new Map(),
    diskIo: operation => { observer.io.set(operation, (observer.io.get(operation) ?? 0) + 1) },
    diskError: (operation, code) => { observer.errors.push(`${operation} ${code}`) },
    removed: (tier, reason) => { observer.removals.push(`${tier} ${reason}`) },
    stored: () => {},
    storeBypassed: reason => { observer.bypassed.push(reason) }
  }
  return observer
}

export interface ManualClock extends Clock {
  advance (ms: number): void
}

export function manualClock (start = 1_700_000_000_000): ManualClock {
  let time = start
  return { now: () => time, monotonic: () => time - start, advance: ms => { time += ms } }
}

export interface TestStore {
  readonly store: DiskStore
  readonly db: MemoryIndexDb
  readonly faulty: FaultyFs
  readonly observer: RecordingObserver
  readonly root: string
  readonly clock: ManualClock
}

/** A disk store over a fresh real directory. */
export async function testStore (t: TestContext, options: { maxBytes?: number, passThroughBytes?: number } = {}): Promise<TestStore> {
  const root = join(await temporaryDirectory(t), 'shards')
  await mkdir(join(root, 'tmp'), { recursive: true })
  const faulty = faultyFs()
  const db = new MemoryIndexDb()
  const observer = recordingObserver()
  const clock = manualClock()
  const store = new DiskStore({ root, maxBytes: 1_000_000, passThroughBytes: 10_000_000, fs: faulty.fs, db, clock, bootId: 'boot', observer, ...options })
  return { store, db, faulty, observer, root, clock }
}

/** Reads all of a body through whatever reads pieces of it. */
export async function readAll (source: { readonly size: number, read: (position: number, length: number) => Promise<Uint8Array> }): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < source.size;) {
    const piece = await source.read(at, source.size - at)
    if (piece.length === 0) throw new Error(`an empty read at ${at}`)
    pieces.push(piece)
    at += piece.length
  }
  return Buffer.concat(pieces)
}

/** What lies in a shard directory: stored files with their sizes, and names in `tmp/`. */
export async function filesIn (root: string): Promise<{ files: Map<string, number>, bytes: number, temporary: string[] }> {
  const files = new Map<string, number>()
  for (const name of await readdir(root, { recursive: true })) {
    const entry = await stat(join(root, name))
    if (entry.isFile() && !name.startsWith('tmp')) files.set(name, entry.size)
  }
  return { files, bytes: Array.from(files.values()).reduce((sum, size) => sum + size, 0), temporary: await readdir(join(root, 'tmp')) }
}

/** Waits until `condition` holds, one turn of the event loop at a time; the test's own time limit ends a wait in vain. */
export async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn()
}

/** Nothing is under way: the directory has what is indexed, and no file, room or memory is held. */
export async function assertNothingHeld ({ store, root, faulty }: Pick<TestStore, 'store' | 'root' | 'faulty'>): Promise<void> {
  // A reservation ends when the temporary file is gone.
  await until(() => store.openFiles === 0 && store.reservedBytes === 0)
  await store.flush()
  const { bytes, temporary } = await filesIn(root)
  assert.equal(bytes, store.indexedBytes)
  assert.deepEqual(temporary, [])
  assert.equal(store.usedBytes, store.indexedBytes)
  assert.equal(store.passThrough.usedBytes, 0)
  assert.equal(faulty.openHandles, 0)
}

/** The next value of an endless fast-check stream. */
export function draw<T> (stream: Iterator<T>): T {
  const next: IteratorResult<T, unknown> = stream.next()
  if (next.done === true) throw new Error('the stream has an end')
  return next.value
}

let boots = 0

export interface TestCache extends OpenedCache {
  readonly observer: RecordingObserver
  readonly logs: string[]
}

/** Opens a cache as the relay does; closed with the test. Every call is a run of its own. */
export async function openTestCache (t: TestContext, path: string, options: Partial<OpenCacheOptions> & { fs?: FileSystem } = {}): Promise<TestCache> {
  const observer = recordingObserver()
  const logs: string[] = []
  const opened = await openCache({
    path,
    maxBytes: 100_000_000,
    ramBytes: 0,
    passThroughBytes: 10_000_000,
    clock: manualClock(1_700_000_000_000 + boots * 1_000),
    random: seededRandom(boots++),
    observer,
    diskThreads: 8,
    ioTimeoutMs: 60_000,
    log: (level, message) => { logs.push(`${level} ${message}`) },
    ...options
  })
  t.after(async () => { await opened.close() })
  return { ...opened, observer, logs }
}
