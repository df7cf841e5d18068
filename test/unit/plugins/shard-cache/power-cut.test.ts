/** What a power cut leaves of a cache, by `cache.sync`. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { seededRandom } from '../../../../demo/super-node/faults.ts'
import type { SyncPolicy } from '../../../../src/plugins/shard-cache/disk-sync.ts'
import { bodyOf, doWork, keyOf, openWorkCache, readObject, type WorkLine } from '../../../../tools/harness/cache-work.ts'
import { judge, OBJECTS, PREPARATION, VERSIONS, WALK, type Judged, type JudgeOptions } from '../../../../tools/harness/kill-walk.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { PowerCutFiles } from '../../../fakes/power-cut-files.ts'

/** What rots is changed behind the file system that knows what a cut leaves. */
const WORK = [...PREPARATION, ...WALK].map(({ steps, flush }) => ({ flush, steps: steps.filter(step => step.do !== 'rot') }))
/** Changes of the disk between two cuts. */
const BETWEEN_CUTS = 17

interface Cut { readonly path: string, readonly said: readonly WorkLine[], readonly losesAll: boolean }

/** Cuts the power again and again while a cache works; each cut leaves a directory. In turns, all that is not on the disk is lost, and any of it. */
async function cuts (t: TestContext, sync: SyncPolicy): Promise<Cut[]> {
  const base = await temporaryDirectory(t)
  const path = join(base, 'cache')
  const files = new PowerCutFiles()
  const found: Cut[] = []
  const said: WorkLine[] = []
  let changes = 0
  let index = 0
  const cut = (): void => {
    const target = join(base, String(found.length))
    const losesAll = found.length % 2 === 0
    mkdirSync(join(target, 'shards', 'tmp'), { recursive: true })
    // LMDB syncs for itself, and has done so while no batch is being written.
    cpSync(join(path, 'index'), join(target, 'index'), { recursive: true })
    files.cut(join(path, 'shards'), join(target, 'shards'), losesAll ? () => 0 : seededRandom(found.length))
    found.push({ path: target, said: [...said], losesAll })
  }
  const opened = await openWorkCache(path, 2, {
    sync,
    fs: files.fs,
    check: async () => ({ is: 'sound' }),
    onWrite: (point, when) => {
      if (point === 'index-write') index += when === 'before' ? 1 : -1
      if (said.length > 0 && index === 0 && changes++ % BETWEEN_CUTS === 0) cut()
    }
  })
  await opened.cache.reconciled
  files.settle()
  await doWork(opened.cache, WORK, line => { said.push(line) })
  cut()
  await opened.close()
  return found
}

/** @returns how many files had other bytes than were stored */
async function judgeAll (t: TestContext, sync: SyncPolicy, options: JudgeOptions): Promise<number> {
  const judged: Judged[] = []
  for (const { path, said } of await cuts(t, sync)) judged.push(await judge(path, WORK, [{ flushed: -1, entries: {} }, ...said], options))
  const sum = (of: keyof Judged): number => judged.reduce((total, one) => total + one[of], 0)
  t.diagnostic(`${judged.length} cuts: ${sum('certain')} flushed objects were there, ${sum('torn')} files were torn`)
  return sum('torn')
}

suite('a power cut', () => {
  test('with "full" loses nothing that was flushed, and what was purged stays away', async t => {
    await judgeAll(t, 'full', {})
  })

  test('with "data" may lose objects, and leaves no file with other bytes than were stored', async t => {
    await judgeAll(t, 'data', { loses: true })
  })

  test('with "none" may tear files, which are found out before they are served', async t => {
    assert.ok(await judgeAll(t, 'none', { loses: true, tears: true }) > 0)
  })

  for (const sync of ['none', 'data'] as const) {
    test(`with "${sync}" and an index that is damaged serves nothing wrong`, async t => {
      const bodies = new Set(Array.from({ length: OBJECTS * VERSIONS }, (_, n) => bodyOf(Math.floor(n / VERSIONS), n % VERSIONS).toString('hex')))
      let served = 0
      for (const { path } of (await cuts(t, sync)).filter(({ losesAll }) => !losesAll)) {
        await writeFile(join(path, 'index', 'data.mdb'), 'damaged')
        rmSync(join(path, 'index', 'lock.mdb'))
        const opened = await openWorkCache(path, 3, { check: async () => ({ is: 'damaged', why: 'a test' }) })
        await opened.cache.reconciled
        for (let object = 0; object < OBJECTS; object++) {
          const body = await readObject(opened.cache, keyOf(object))
          if (body === undefined) continue
          served++
          assert.ok(bodies.has(body.toString('hex')), `object ${object} has bytes that nobody stored`)
        }
        await opened.close()
      }
      if (sync === 'none') assert.equal(served, 0, 'nothing vouches for a file')
      else assert.ok(served > 0)
    })
  }
})
