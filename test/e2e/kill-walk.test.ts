/** `kill -9` of a cache at every kind of change that it makes on its disk, and at random: what is left is right. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, suite, test, type TestContext } from 'node:test'
import { seededRandom } from '../../demo/super-node/faults.ts'
import { WRITE_POINTS } from '../../src/plugins/shard-cache/write-points.ts'
import { buildVictim, countPoints, killAtPoint, killAtRandom, killPoints, prepareDirectory, type Judged } from '../../tools/harness/kill-walk.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const RANDOM_KILLS = 4
/** Killed and judged at the same time. */
const PARALLEL = 2

async function inParallel<T> (items: readonly T[], work: (item: T, lane: number) => Promise<unknown>): Promise<void> {
  const queue = items.values()
  await Promise.all(Array.from({ length: PARALLEL }, async (_, lane) => {
    for (const item of queue) await work(item, lane)
  }))
}

async function prepared (t: TestContext): Promise<{ template: string, placeOf: (lane: number) => string }> {
  const base = await temporaryDirectory(t)
  const template = join(base, 'template')
  await prepareDirectory(template)
  return { template, placeOf: lane => join(base, String(lane)) }
}

suite('a cache killed at work', { timeout: 240_000 }, () => {
  before(buildVictim)

  test('before and after every write point has every certain object, no wrong byte, and files, index and accounting agree', async t => {
    const { template, placeOf } = await prepared(t)
    const passed = await countPoints(template, placeOf(0))
    assert.deepEqual(WRITE_POINTS.filter(point => passed[point] === undefined), [], 'write points that the work does not pass')
    const moments = killPoints(passed)
    const judged: Judged[] = []
    await inParallel(moments, async (moment, lane) => { judged.push(await killAtPoint(template, placeOf(lane), moment)) })
    t.diagnostic(`${moments.length} kills, ${judged.reduce((sum, { certain }) => sum + certain, 0)} objects that had to be there`)
  })

  test('at random, with several things under way, too', async t => {
    const { template, placeOf } = await prepared(t)
    await inParallel(Array.from({ length: RANDOM_KILLS }, (_, seed) => seed), async (seed, lane) => await killAtRandom(template, placeOf(lane), seededRandom(seed)))
  })
})
