import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { fuzzTarget } from '../../scripts/fuzz-target.ts'
import { newerGlibc } from '../../tools/harness/newer-glibc.ts'
import { fuzz as planted } from '../fakes/planted-fault.ts'

const glibc = await newerGlibc()
const node = 'command' in glibc ? glibc.command : []

async function seeds (t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'icn-relay-seeds-'))
  t.after(async () => { await rm(directory, { recursive: true }) })
  await writeFile(join(directory, 'seed'), '{')
  return directory
}

suite('npm run fuzz', { skip: 'without' in glibc ? glibc.without : false }, () => {
  test('it finds a fault behind comparisons, and has the input that shows it', async t => {
    // It ends with what it finds, after a second or two.
    const { finding, runs } = await fuzzTarget({ file: 'test/fakes/planted-fault.ts', corpus: await seeds(t), seconds: 90, node })
    assert.ok(finding !== undefined, `nothing in ${runs} runs`)
    assert.match(finding.output, /TypeError: planted/)
    const { input } = finding
    assert.ok(input !== undefined)
    assert.throws(() => { planted(input) }, { message: 'planted' })
  })

  test('of a target that holds it tells how far it came', async () => {
    const { finding, runs, edges } = await fuzzTarget({ file: 'test/fuzz/via.ts', corpus: 'test/fuzz/corpus/via', seconds: 1, node })
    assert.equal(finding, undefined)
    assert.ok(runs > 100 && edges > 40, `${runs} runs, ${edges} edges`)
  })
})
