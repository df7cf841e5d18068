/**
 * What `kill -9` leaves of a cache: `node --import tsx benchmarks/kill-walk.ts [kills] [seed]`. Kills it before and after every write point, then `kills` times at a random moment of
 * random work, of which up to four things are under way at a time, and judges what is left: bytes, digests, accounting, files, index. Says what it looked at; ends with the first thing that is wrong.
 */
import { join } from 'node:path'
import { seededRandom } from '../demo/super-node/faults.ts'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { buildVictim, countPoints, killAtPoint, killAtRandom, killPoints, prepareDirectory, type Judged } from '../tools/harness/kill-walk.ts'
import { temporaryDirectory } from '../tools/harness/temporary-directory.ts'
import { line } from './contender.ts'

const KILLS = Number(process.argv[2] ?? 200)
const SEED = Number(process.argv[3] ?? 1)

await withCleanup(async cleanup => {
  await buildVictim()
  const base = await temporaryDirectory(cleanup)
  const [template, place] = [join(base, 'template'), join(base, 'killed')]
  await prepareDirectory(template)
  line('kills', 'at', 'objects read', 'of them certain', 'MB', 'blocks of parts')
  line('---', '---', '---', '---', '---', '---')
  const show = (kills: number, at: string, judged: readonly Judged[]): void => {
    const sum = (of: keyof Judged): number => judged.reduce((total, one) => total + one[of], 0)
    line(String(kills), at, String(sum('entries')), String(sum('certain')), (sum('bytes') / 1e6).toFixed(1), String(sum('blocks')))
  }
  const moments = killPoints(await countPoints(template, place))
  const atPoints: Judged[] = []
  for (const moment of moments) atPoints.push(await killAtPoint(template, place, moment))
  show(moments.length, 'every write point', atPoints)
  const atRandom: Judged[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    atRandom.push(await killAtRandom(template, place, seededRandom(SEED * 100_000 + kill)).catch((error: unknown) => { throw new Error(`random kill ${kill} of seed ${SEED}`, { cause: error }) }))
  }
  show(KILLS, 'random moments', atRandom)
})
