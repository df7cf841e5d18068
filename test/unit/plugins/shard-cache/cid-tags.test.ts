import assert from 'node:assert/strict'
import { appendFile, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { CidTags, MAX_CID_TAGS, MAX_TAG_BYTES } from '../../../../src/plugins/shard-cache/cid-tags.ts'
import { MAX_UNWRITTEN, TagLog } from '../../../../src/plugins/shard-cache/tag-log.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { openTestCache } from '../../../support/cache.ts'

const FILE = 'cid-tags.jsonl'
const x = Buffer.from('x')

suite('tags by CID', () => {
  test('are those that were added, at most 16; sets are kept once and forgotten with their last CID', () => {
    const step = fc.record({ cid: fc.integer({ min: 1, max: 5 }), tags: fc.option(fc.array(fc.constantFrom('a', 'b', 'c', 'd:1'), { maxLength: 4 })) })
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const tags = new CidTags()
      const model = new Map<number, Set<string>>()
      for (const { cid, tags: more } of steps) {
        if (more === null) {
          assert.equal(tags.forget(cid), model.delete(cid))
        } else {
          tags.add(cid, more)
          if (more.length > 0) model.set(cid, new Set([...model.get(cid) ?? [], ...more]))
        }
        for (let n = 1; n <= 5; n++) assert.deepEqual(tags.of(n), [...model.get(n) ?? []].toSorted())
        assert.equal(tags.tagged, model.size)
        assert.equal(tags.bytes, [...new Set([...model.values()].map(set => [...set].toSorted().join(' ')))].reduce((sum, text) => sum + text.length + 130, 0))
      }
    }), { numRuns: 50 })
  })

  test('are bounded, for each CID and in all, and what is left out is counted', () => {
    const tags = new CidTags()
    tags.add(1, Array.from({ length: MAX_CID_TAGS + 3 }, (_, n) => `t${n}`))
    assert.deepEqual([tags.of(1).length, tags.refused], [MAX_CID_TAGS, 1])
    const long = (n: number): string[] => Array.from({ length: MAX_CID_TAGS }, (_, m) => `${n}-${m}`.padEnd(64, '.'))
    for (let cid = 2; tags.refused === 1; cid++) {
      tags.add(cid, long(cid))
      assert.ok(tags.bytes <= MAX_TAG_BYTES)
    }
    assert.ok(tags.bytes > MAX_TAG_BYTES - 2_000)
    // What is there already is no more to keep.
    assert.equal(tags.add(1_000_000, long(2)), true)
  })
})

suite('the tags of a cache', () => {
  test('come with the first object of a CID and go with the last, and an object that is replaced does not lose them', async t => {
    const { cache } = await openTestCache(t, await temporaryDirectory(t))
    cache.tagBy(cid => cid === 'A' ? ['told'] : [])
    cache.addTags('A', ['early'])
    assert.deepEqual(cache.tagsOf('A'), [])
    await storeBytes(cache, { cid: 'A', part: 0 }, x)
    cache.addTags('A', ['later'])
    await storeBytes(cache, { cid: 'A', part: 0 }, Buffer.from('y'))
    assert.deepEqual(cache.tagsOf('A'), ['later', 'told'])
    assert.deepEqual(cache.details({ cid: 'A', part: 0 })?.tags, ['later', 'told'])
    cache.purgeCid('A')
    assert.deepEqual([cache.tagsOf('A'), cache.disk.table.tags.tagged, cache.disk.table.tags.bytes], [[], 0, 0])
  })

  test('outlive a restart, and a kill in the middle of a line', async t => {
    const path = await temporaryDirectory(t)
    const first = await openTestCache(t, path)
    for (const cid of ['A', 'B', 'C']) {
      await storeBytes(first.cache, { cid, part: 0 }, x)
      first.cache.addTags(cid, ['news', `of:${cid}`])
    }
    first.cache.purgeCid('B')
    await first.look()
    first.cache.addTags('C', ['unwritten'])
    const text = await readFile(join(path, FILE), 'utf8')
    assert.equal((await stat(join(path, FILE))).mode & 0o777, 0o600)
    await first.close()
    // As kill -9 after the look, and within a write.
    await writeFile(join(path, FILE), `${text}["C",["ha`)
    const second = await openTestCache(t, path)
    assert.deepEqual(['A', 'B', 'C'].map(cid => second.cache.tagsOf(cid)), [['news', 'of:A'], [], ['news', 'of:C']])
    assert.deepEqual(second.logs.filter(line => line.includes('tags')), [])
    await second.look()
    assert.equal(await readFile(join(path, FILE), 'utf8'), '{"version":1}\n["A",["news","of:A"]]\n["C",["news","of:C"]]\n')
  })

  test('of another version are kept beside', async t => {
    const path = await temporaryDirectory(t)
    await writeFile(join(path, FILE), '{"version":2}\n')
    const opened = await openTestCache(t, path)
    const { cache, logs } = opened
    assert.equal(logs.filter(line => line.startsWith('error tags of cached objects cannot be read')).length, 1)
    await storeBytes(cache, { cid: 'A', part: 0 }, x)
    cache.addTags('A', ['news'])
    await opened.look()
    assert.equal(await readFile(join(path, FILE), 'utf8'), '{"version":1}\n["A",["news"]]\n')
  })
})

suite('the file of tags', () => {
  interface Rig { readonly log: TagLog, readonly file: string, readonly table: Map<string, string[]>, readonly told: string[], fails: boolean }

  async function setUp (t: TestContext): Promise<Rig> {
    const file = join(await temporaryDirectory(t), FILE)
    const table = new Map<string, string[]>()
    const rig: Rig = {
      file,
      table,
      told: [],
      fails: false,
      log: new TagLog({
        file,
        tagsOf: cid => table.get(cid) ?? [],
        tagged: () => table.keys(),
        count: () => table.size,
        nextTurn: async () => {},
        run: async work => {
          if (rig.fails) throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
          await work()
        },
        log: (_level, message) => { rig.told.push(message) }
      })
    }
    return rig
  }

  test('says what the table does after whatever was appended, and is written anew when most of it is old', async t => {
    const { log, file, table } = await setUp(t)
    table.set('A', ['a'])
    for (let round = 0; round < 6; round++) {
      for (let n = 0; n < 2_000; n++) log.changed(`gone-${n}`)
      log.changed('A')
      await log.flush()
    }
    const lines = (await readFile(file, 'utf8')).split('\n').length
    assert.ok(lines < 8_000, `${lines} lines`)
    const read = new Map<string, readonly string[]>()
    await (await setUp(t)).log.load(() => {})
    const again = new TagLog({ file, tagsOf: () => [], tagged: () => [], count: () => 0, nextTurn: async () => {}, run: async work => { await work() }, log: assert.fail })
    await again.load((cid, tags) => { read.set(cid, tags) })
    assert.deepEqual([...read], [['A', ['a']]])
  })

  test('that cannot be written costs bounded memory, is told of once, and is whole when it can', async t => {
    const rig = await setUp(t)
    rig.fails = true
    rig.table.set('A', ['a'])
    for (let n = 0; n < MAX_UNWRITTEN + 10; n++) rig.log.changed(`c${n}`)
    await rig.log.flush()
    await rig.log.flush()
    assert.equal(rig.log.unwritten, MAX_UNWRITTEN)
    assert.equal(rig.told.length, 1)
    rig.fails = false
    await rig.log.flush()
    assert.equal(rig.log.unwritten, 0)
    assert.equal(await readFile(rig.file, 'utf8'), '{"version":1}\n["A",["a"]]\n')
    await appendFile(rig.file, 'x\ny\n')
    const told: string[] = []
    await new TagLog({ file: rig.file, tagsOf: () => [], tagged: () => [], count: () => 0, nextTurn: async () => {}, run: async work => { await work() }, log: (_level, message) => { told.push(message) } }).load(() => {})
    assert.deepEqual(told, ['lines of the tags of cached objects are damaged'])
  })
})
