import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { BlockSet } from '../../../../src/plugins/shard-cache/block-set.ts'
import { DiskSync } from '../../../../src/plugins/shard-cache/disk-sync.ts'
import { MAX_PARTIALS, PARTIAL_SHARE, Partials, type PartialRecord } from '../../../../src/plugins/shard-cache/partials.ts'
import { MeasuredDisk, systemFiles } from '../../../../src/storage/disk-files.ts'
import { LeasedStore } from '../../../../src/storage/leased-store.ts'
import type { CacheEntry } from '../../../../src/plugins/shard-cache/cache-entry.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { recordingObserver } from '../../../support/cache.ts'

const SHA256 = 'a'.repeat(64)
const SIZE = 1_000
const MAX = 80_000

interface Setup { readonly root: string, readonly leased: LeasedStore<CacheEntry>, readonly partials: Partials }

async function setUp (t: TestContext, maxBytes = MAX, root?: string): Promise<Setup> {
  const path = root ?? await temporaryDirectory(t)
  await mkdir(join(path, 'tmp'), { recursive: true })
  const leased = new LeasedStore<CacheEntry>({ maxBytes, onFree: () => {} })
  const disk = new MeasuredDisk(systemFiles, recordingObserver(), () => 0)
  return { root: path, leased, partials: new Partials({ root: path, fs: systemFiles, disk, sync: new DiskSync({ policy: 'data', root: path, disk }), leased }) }
}

function recordOf (blocks: readonly number[], size = SIZE): PartialRecord {
  const set = new BlockSet(Math.ceil(size / 100))
  for (const block of blocks) set.add(block)
  return { size, sha256: SHA256, blockSize: 100, blocks: set }
}

let names = 0

async function keep ({ root, leased, partials }: Setup, id: string, record = recordOf([1, 3])): Promise<boolean> {
  const path = join(root, 'tmp', `boot.${names++}`)
  const handle = await systemFiles.open(path, 'wx+', 0o600)
  const reservation = leased.reserve(record.size)
  assert.ok(reservation)
  const kept = await partials.keep(id, `name${names++}`, path, handle, reservation, record)
  if (!kept) leased.cancel(reservation)
  await handle.close()
  return kept
}

const files = async (root: string): Promise<string[]> => (await readdir(join(root, 'partial'))).sort()

suite('partial objects', () => {
  test('are kept with their room, handed out once, and only to whoever wants that object', async t => {
    const set = await setUp(t)
    assert.equal(await keep(set, 'v/1'), true)
    assert.equal(await keep(set, 'v/2'), true)
    assert.deepEqual([set.partials.count, set.partials.bytes, set.leased.reservedBytes], [2, 2 * SIZE, 2 * SIZE])
    const taken = set.partials.take('v/1', { size: SIZE, sha256: SHA256, blockSize: 100 })
    assert.ok(taken)
    assert.deepEqual([...taken.blocks.toBytes()], [0b1010, 0])
    assert.ok((await stat(taken.path)).isFile())
    assert.equal(set.partials.take('v/1', { size: SIZE, sha256: SHA256, blockSize: 100 }), undefined)
    // Another version of the object: what is here of the old one is worth nothing.
    assert.equal(set.partials.take('v/2', { size: SIZE, sha256: 'b'.repeat(64), blockSize: 100 }), undefined)
    await set.partials.drained()
    assert.deepEqual([set.partials.count, set.leased.reservedBytes], [0, SIZE])
    assert.equal((await files(set.root)).length, 1)
  })

  test('are not kept where nothing is here, or where they are too large', async t => {
    const set = await setUp(t)
    assert.equal(await keep(set, 'v/1', recordOf([])), false)
    assert.equal(await keep(set, 'v/2', recordOf([0], MAX * PARTIAL_SHARE + 1)), false)
    assert.deepEqual([set.partials.count, set.leased.reservedBytes], [0, 0])
  })

  test('have bounds in number and bytes, also when the cache shrinks: what was left longest ago goes', async t => {
    const set = await setUp(t)
    for (let n = 0; n < 12; n++) assert.equal(await keep(set, `v${n}/1`), true)
    assert.equal(set.partials.bytes, MAX * PARTIAL_SHARE)
    assert.equal(set.partials.take('v1/1', recordOf([])), undefined)
    set.leased.resize(MAX / 2)
    set.partials.trim()
    assert.equal(set.partials.bytes, MAX / 2 * PARTIAL_SHARE)
    assert.ok(set.partials.take('v11/1', recordOf([])))

    const many = await setUp(t, 100_000_000)
    for (let n = 0; n < MAX_PARTIALS + 3; n++) await keep(many, `v${n}/1`)
    assert.equal(many.partials.count, MAX_PARTIALS)
    await many.partials.drained()
    assert.equal((await files(many.root)).length, 2 * MAX_PARTIALS)
  })

  test('go with their key', async t => {
    const set = await setUp(t)
    await keep(set, 'v/1')
    await keep(set, 'w/1')
    assert.equal(set.partials.drop(id => id.startsWith('v/')), 1)
    await set.partials.drained()
    assert.equal((await files(set.root)).length, 2)
  })

  test('outlive a restart; records of another version, without their file or that are none go, and so does what nobody knows', async t => {
    const set = await setUp(t)
    for (const id of ['v/1', 'v/2', 'v/3', 'v/4', 'v/5']) await keep(set, id)
    const [good = '', ...others] = (await files(set.root)).filter(name => name.endsWith('.json'))
    const change = async (name: string | undefined, text: (old: string) => string): Promise<void> => {
      const path = join(set.root, 'partial', name ?? '')
      await writeFile(path, text(await readFile(path, 'utf8')))
    }
    await change(others[0], old => old.replace('"version":1', '"version":2'))
    await change(others[1], () => '{')
    await change(others[2], old => old.replace('"size":1000', '"size":9007199254740991'))
    await writeFile(join(set.root, 'partial', 'junk'), 'x')
    await writeFile(join(set.root, 'partial', 'gone.json'), await readFile(join(set.root, 'partial', good)))
    const next = await setUp(t, MAX, set.root)
    assert.equal(await next.partials.restore(), 2)
    assert.deepEqual([next.partials.bytes, next.leased.reservedBytes], [2 * SIZE, 2 * SIZE])
    assert.equal((await files(set.root)).length, 4)

    const small = await setUp(t, SIZE / PARTIAL_SHARE, set.root)
    assert.equal(await small.partials.restore(), 1)
    const none = await setUp(t)
    assert.equal(await none.partials.restore(), 0)
  })
})
