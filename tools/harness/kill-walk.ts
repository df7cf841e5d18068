/** Kills a cache at work and judges what is left of it. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'
import { BlockSet } from '../../src/plugins/shard-cache/block-set.ts'
import { relativeFile } from '../../src/plugins/shard-cache/entry.ts'
import type { ShardCache } from '../../src/plugins/shard-cache/shard-cache.ts'
import { WRITE_POINTS, type WritePoint } from '../../src/plugins/shard-cache/write-points.ts'
import { keyId } from '../../src/protocol/shard-key.ts'
import type { KillAt, VictimLine, VictimOrder } from './cache-victim.ts'
import { BLOCK_BYTES, bodyOf, doWork, keyOf, MAX_BYTES, openWorkCache, readObject, type Batch, type Step } from './cache-work.ts'
import { ManagedProcess, nodeCommand } from './managed-process.ts'
import { sha256 } from './store-bytes.ts'

const VICTIM = resolve('node_modules/.cache/icn-relay/cache-victim.js')
/** Objects that are there before the work begins, those of them that are only ever read or rot, and all that the work knows. */
const PREPARED = 12
const ROTTING = [8, 9, 10, 11]
export const OBJECTS = 40
/** Versions of each. */
export const VERSIONS = 3
/** Time a batch may go on before it is killed, ms: a flush takes about as long. */
const MAX_KILL_MS = 5
/** Bound while little room is left. */
const SMALL_BYTES = 30_000

const one = (...steps: Step[]): Batch => ({ steps, flush: false })
const flush = (...steps: Step[]): Batch => ({ steps, flush: true })

/** By id and SHA-256. */
const ALL_BODIES: ReadonlyMap<string, { readonly object: number, readonly body: Buffer }> = new Map(Array.from({ length: OBJECTS * VERSIONS }, (_, n) => {
  const object = Math.floor(n / VERSIONS)
  const body = bodyOf(object, n % VERSIONS)
  return [`${keyId(keyOf(object))} ${sha256(body)}`, { object, body }]
}))

/** What the directory is prepared with. */
export const PREPARATION: readonly Batch[] = [
  ...Array.from({ length: PREPARED }, (_, object) => one({ do: 'store', object, version: 0 })),
  one({ do: 'blocks', object: 12, version: 0, blocks: [0, 1] }),
  one({ do: 'blocks', object: 13, version: 0, blocks: [1] }),
  flush()
]

/** Passes every write point: a step at a time. */
export const WALK: readonly Batch[] = [
  one({ do: 'store', object: 20, version: 0 }),
  flush({ do: 'store', object: 0, version: 1 }),
  one({ do: 'rot', object: 8 }),
  one({ do: 'read', object: 1 }),
  one({ do: 'blocks', object: 12, version: 0 }),
  one({ do: 'blocks', object: 13, version: 0, blocks: [0] }),
  flush({ do: 'blocks', object: 14, version: 0, blocks: [0, 2] }),
  one({ do: 'blocks', object: 14, version: 1 }),
  one({ do: 'blocks', object: 15, version: 0, blocks: [1] }),
  one({ do: 'store', object: 3, version: 1 }),
  one({ do: 'purge', object: 15 }),
  one({ do: 'purge', object: 4 }),
  flush({ do: 'purge-cid', object: 6 }),
  one({ do: 'blocks', object: 16, version: 0, blocks: [0] }),
  one({ do: 'resize', maxBytes: SMALL_BYTES }),
  ...Array.from({ length: 8 }, (_, n) => one({ do: 'store', object: 21 + n, version: 0 })),
  flush({ do: 'store', object: 29, version: 0 }),
  one({ do: 'resize', maxBytes: MAX_BYTES }),
  one({ do: 'store', object: 30, version: 0 }),
  flush({ do: 'purge-all' }),
  one({ do: 'store', object: 0, version: 2 }),
  flush({ do: 'store', object: 31, version: 0 }),
  one({ do: 'store', object: 32, version: 0 })
]

/** Up to four steps at a time, of every kind. @param random in [0, 1) */
export function randomWork (random: () => number, batches = 40): Batch[] {
  const below = (n: number): number => Math.floor(random() * n)
  // Those that rot are not written meanwhile, so that what a file had before is known.
  const object = (): number => {
    const drawn = below(OBJECTS - ROTTING.length)
    return drawn < PREPARED - ROTTING.length ? drawn : drawn + ROTTING.length
  }
  const version = (): number => below(VERSIONS)
  const draw = (): Step => {
    const kind = below(100)
    if (kind < 45) return { do: 'store', object: object(), version: version() }
    if (kind < 65) return { do: 'blocks', object: object(), version: version(), ...below(2) === 0 ? {} : { blocks: [below(4), below(8)] } }
    if (kind < 80) return { do: 'read', object: object() }
    if (kind < 90) return { do: below(2) === 0 ? 'purge' : 'purge-cid', object: object() }
    if (kind < 94) return { do: 'rot', object: ROTTING[below(ROTTING.length)] ?? 0 }
    return kind < 99 ? { do: 'resize', maxBytes: below(2) === 0 ? SMALL_BYTES : MAX_BYTES } : { do: 'purge-all' }
  }
  return Array.from({ length: batches }, () => ({ steps: Array.from({ length: 1 + below(4) }, draw), flush: below(4) === 0 }))
}

/** Builds the program that is killed; once. */
export async function buildVictim (): Promise<void> {
  await build({ entryPoints: ['tools/harness/cache-victim.ts'], outfile: VICTIM, bundle: true, external: ['lmdb'], platform: 'node', format: 'esm', logLevel: 'warning' })
}

/** Makes a cache directory that work begins with: objects, parts of others, and what an earlier kill may have left. */
export async function prepareDirectory (path: string): Promise<void> {
  const opened = await openWorkCache(path, 1)
  await doWork(opened.cache, PREPARATION, () => {})
  await opened.close()
  const orphan = join(path, 'shards', relativeFile(keyId(keyOf(35)), 'earlier'))
  await mkdir(join(orphan, '..'), { recursive: true })
  await writeFile(orphan, bodyOf(35, 0))
  await writeFile(join(path, 'shards', 'tmp', 'earlier.1'), 'half')
}

/** What a process that worked in `path` has said until it ended. @param killWhen told of every line, kills it when it likes */
export async function runVictim (path: string, work: readonly Batch[], { killAt, killWhen }: { killAt?: KillAt, killWhen?: (line: VictimLine, kill: () => void) => void } = {}): Promise<{ said: VictimLine[], killed: boolean }> {
  const order: VictimOrder = { path, run: 2, work, killAt }
  const victim = ManagedProcess.start(nodeCommand(VICTIM, JSON.stringify(order)), { name: 'the cache at work' })
  if (killWhen !== undefined) victim.onEvent(line => { killWhen(line as unknown as VictimLine, () => { victim.child.kill('SIGKILL') }) })
  const { code, signal } = await victim.exit
  assert.ok(signal === 'SIGKILL' || code === 0, await victim.ended)
  return { said: victim.events as unknown as VictimLine[], killed: signal !== null }
}

/** A fresh copy of what was prepared, for one run. */
async function copied<T> (template: string, path: string, use: () => Promise<T>): Promise<T> {
  await cp(template, path, { recursive: true })
  try {
    return await use()
  } finally {
    await rm(path, { recursive: true })
  }
}

/** How often work passes each point. */
export async function countPoints (template: string, path: string): Promise<Readonly<Partial<Record<WritePoint, number>>>> {
  return await copied(template, path, async () => {
    const { said } = await runVictim(path, WALK)
    const last = said.at(-1)
    assert.ok(last !== undefined && 'passed' in last)
    await judge(path, WALK, said)
    return last.passed
  })
}

/** Kills the walk at one moment. @throws what is wrong afterwards, with the moment */
export async function killAtPoint (template: string, path: string, killAt: KillAt): Promise<Judged> {
  return await copied(template, path, async () => {
    const { said, killed } = await runVictim(path, WALK, { killAt })
    assert.ok(killed, `${JSON.stringify(killAt)} was not reached`)
    return await judge(path, WALK, said).catch((error: unknown) => { throw new Error(`killed ${JSON.stringify(killAt)}`, { cause: error }) })
  })
}

/** Kills random work at a random time within a random batch; the index is checked as at every start. @param random in [0, 1) */
export async function killAtRandom (template: string, path: string, random: () => number): Promise<Judged> {
  const work = randomWork(random)
  const [batch, afterMs] = [Math.floor(random() * work.length), random() * MAX_KILL_MS]
  return await copied(template, path, async () => {
    const { said } = await runVictim(path, work, { killWhen: (line, kill) => { if ('begins' in line && line.begins === batch) setTimeout(kill, afterMs) } })
    return await judge(path, work, said, { checks: true }).catch((error: unknown) => { throw new Error(`killed in batch ${batch} of ${JSON.stringify(work)}`, { cause: error }) })
  })
}

/** Moments around every point: before and after the first and the last time that it is passed. */
export function killPoints (passed: Readonly<Partial<Record<WritePoint, number>>>): KillAt[] {
  return WRITE_POINTS.flatMap(point => {
    const times = passed[point] ?? 0
    return [...new Set([1, times])].filter(nth => nth <= times).flatMap(nth => (['before', 'after'] as const).map(when => ({ point, nth, when })))
  })
}

/** What may be there of an object. */
interface Expected {
  /** SHA-256 of what the index had at the last flush, and of everything stored since. */
  readonly allowed: ReadonlySet<string>
  /** Whether it must be there, as it was. */
  readonly certain: boolean
  /** Whether it was purged before the last flush, and not heard of since. */
  readonly purged: boolean
}

/** What is known of all objects from what a process said until it was killed. */
function expectations (work: readonly Batch[], said: readonly VictimLine[]): (object: number) => Expected {
  const flushed = said.findLast(line => 'flushed' in line) ?? { flushed: -1, entries: Object.fromEntries(Array.from({ length: PREPARED }, (_, object) => [keyId(keyOf(object)), sha256(bodyOf(object, 0))])) }
  const begun = said.findLast(line => 'begins' in line)?.begins ?? -1
  const since = work.slice(flushed.flushed + 1, begun + 1).flatMap(({ steps }) => steps)
  const before = work.slice(0, flushed.flushed + 1).map(({ steps }) => steps)
  // Evicted is whatever the policy likes.
  const small = before.flat().findLast(step => step.do === 'resize')?.maxBytes === SMALL_BYTES
  const evicts = since.some(step => step.do === 'purge-all' || (step.do === 'resize' && step.maxBytes === SMALL_BYTES) || (small && 'version' in step))
  return object => {
    const indexed = flushed.entries[keyId(keyOf(object))]
    const stored = since.flatMap(step => 'version' in step && step.object === object ? [sha256(bodyOf(object, step.version))] : [])
    const untouched = !since.some(step => touches(step, object))
    return {
      allowed: new Set(indexed === undefined ? stored : [indexed, ...stored]),
      certain: indexed !== undefined && untouched && !evicts,
      // Beside a purge, a store may come after it.
      purged: untouched && before.map(steps => steps.filter(step => step.do === 'purge-all' || touches(step, object))).findLast(steps => steps.length > 0)?.every(step => step.do.startsWith('purge')) === true
    }
  }
}

/** Whether a step changes an object, besides what it evicts. */
function touches (step: Step, object: number): boolean {
  if (!('object' in step) || step.do === 'read') return false
  return step.object === object || (step.do === 'purge-cid' && step.object >> 1 === object >> 1)
}

/** What a judgement has looked at. */
export interface Judged { readonly entries: number, readonly bytes: number, readonly blocks: number, readonly certain: number, readonly torn: number }

/** What must hold besides. */
export interface JudgeOptions {
  /** The index is checked as at every start, by a process of its own; otherwise it is opened. */
  readonly checks?: boolean
  /** Objects that were flushed may be lost, and parts that were purged come back. */
  readonly loses?: boolean
  /** Files may have other bytes than their entries say, and are found out. */
  readonly tears?: boolean
}

/** Opens what is left and throws when anything is wrong: a byte, the accounting, a file that nobody knows, an object that should be there or should not. */
export async function judge (path: string, work: readonly Batch[], said: readonly VictimLine[], { checks = false, loses = false, tears = false }: JudgeOptions = {}): Promise<Judged> {
  const rotted: string[] = []
  const opened = await openWorkCache(path, 3, { ...checks ? {} : { check: async () => ({ is: 'sound' }) }, verify: { mode: 'first', onRot: ({ entry: { id } }) => { rotted.push(id) } } })
  const { cache } = opened
  try {
    const expected = expectations(work, said)
    const report = await cache.reconciled
    assert.equal(report.errors, 0)
    await account(cache)
    let certain = 0
    for (let object = 0; object < OBJECTS; object++) {
      const { allowed, certain: must } = expected(object)
      const body = await readObject(cache, keyOf(object))
      if (body !== undefined) assert.ok(allowed.has(sha256(body)), `object ${object} has other bytes than it may have`)
      if (must && !loses) assert.ok(body !== undefined, `object ${object} is lost`)
      if (must && body !== undefined) certain++
    }
    if (!tears) assert.deepEqual(rotted.filter(id => !ROTTING.some(object => keyId(keyOf(object)) === id)), [], 'files with other bytes than their entries say')
    const { entries, bytes } = await account(cache)
    const blocks = tears ? 0 : await judgeParts(cache, object => !loses && expected(object).purged)
    await cache.purgeMatching(() => true)
    assert.deepEqual(await account(cache), { entries: 0, bytes: 0 })
    assert.equal(cache.disk.partials.count, 0)
    return { entries, bytes, blocks, certain, torn: rotted.length }
  } finally {
    await opened.close()
  }
}

/** Memory, index and directory agree. */
async function account (cache: ShardCache): Promise<{ entries: number, bytes: number }> {
  await cache.flush()
  const { disk } = cache
  const entries = new Map(Array.from(disk.firstOut(), entry => [disk.fileOf(entry).slice(disk.root.length + 1), entry.size]))
  const names = (await readdir(disk.root, { recursive: true, withFileTypes: true })).filter(found => found.isFile()).map(found => join(found.parentPath, found.name).slice(disk.root.length + 1))
  const parts = names.filter(name => name.startsWith('partial/'))
  const files = new Map<string, number>()
  for (const name of names) if (!parts.includes(name)) files.set(name, (await stat(join(disk.root, name))).size)
  assert.deepEqual(files, entries, 'files and entries')
  assert.equal(parts.length, 2 * disk.partials.count, 'files of parts')
  const bytes = [...files.values()].reduce((sum, size) => sum + size, 0)
  assert.deepEqual({ indexed: disk.indexedBytes, used: disk.usedBytes }, { indexed: bytes, used: bytes + disk.partials.bytes })
  assert.deepEqual(await cache.ids({ prefix: '', after: '', limit: 1_000 }), Array.from(disk.firstOut(), ({ id }) => id).sort(), 'ids of the index')
  return { entries: entries.size, bytes }
}

/** Blocks that a record says are in a file must be, as they were. @returns how many there are */
async function judgeParts ({ disk }: ShardCache, purged: (object: number) => boolean): Promise<number> {
  const directory = join(disk.root, 'partial')
  const records = (await readdir(directory).catch(() => [])).filter(name => name.endsWith('.json'))
  let count = 0
  for (const record of records) {
    const { id, sha256: digest, blocks } = JSON.parse(await readFile(join(directory, record), 'utf8')) as { id: string, sha256: string, blocks: string }
    const { object, body } = ALL_BODIES.get(`${id} ${digest}`) ?? assert.fail(`a part of ${id}, which nobody stored`)
    assert.ok(!purged(object), `a part of ${id}, which was purged`)
    const file = await readFile(join(directory, record.slice(0, -'.json'.length)))
    const here = new BlockSet(Math.ceil(body.length / BLOCK_BYTES), Buffer.from(blocks, 'base64'))
    for (let block = here.firstPresent(0); block < here.size; block = here.firstPresent(block + 1)) {
      const [start, end] = [block * BLOCK_BYTES, Math.min(body.length, (block + 1) * BLOCK_BYTES)]
      assert.ok(body.subarray(start, end).equals(file.subarray(start, end)), `block ${block} of a part of ${id}`)
      count++
    }
  }
  return count
}
