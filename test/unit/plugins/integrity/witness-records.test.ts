import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { KEEP_MS, KeptText } from '../../../../src/plugins/integrity/kept-text.ts'
import { loadWitnessRecords, MAX_WITNESSED, MAX_WITNESSES, WitnessRecords, type WitnessRecord } from '../../../../src/plugins/integrity/witness-records.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

const DIGEST = 'ab'.repeat(32)

suite('who vouched for manifests', () => {
  test('is told of the same bytes only, a bounded number of CIDs and of witnesses', () => {
    let changes = 0
    const records = new WitnessRecords([], () => { changes++ })
    records.add({ cid: 'a', sha256: DIGEST, witnesses: ['region R1', 'operator o'] })
    assert.deepEqual(records.of('a', DIGEST), ['region R1', 'operator o'])
    assert.deepEqual([records.of('a', 'cd'.repeat(32)), records.of('b', DIGEST)], [[], []])
    for (let n = 0; n < MAX_WITNESSED + 10; n++) records.add({ cid: `c${n}`, sha256: DIGEST, witnesses: Array.from({ length: 2 * MAX_WITNESSES }, (_, at) => `region ${at}`) })
    assert.deepEqual([records.size, records.of('a', DIGEST), changes], [MAX_WITNESSED, [], MAX_WITNESSED + 11])
    assert.equal(records.of('c100', DIGEST).length, MAX_WITNESSES)
  })

  test('is read as it was written, in the order of use; what is no such file is moved aside, and nobody vouched', async t => {
    const file = join(await temporaryDirectory(t), 'manifest-witnesses.json')
    const warnings: string[] = []
    const load = async (): Promise<readonly WitnessRecord[]> => await loadWitnessRecords(file, message => { warnings.push(message) })
    assert.deepEqual(await load(), [])
    await fc.assert(fc.asyncProperty(fc.uniqueArray(fc.record({
      cid: fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/), sha256: fc.constant(DIGEST), witnesses: fc.array(fc.stringMatching(/^(region|operator) [A-Za-z0-9._-]{1,64}$/), { minLength: 1, maxLength: MAX_WITNESSES })
    }), { selector: ({ cid }) => cid, maxLength: 20 }), async added => {
      const records = new WitnessRecords([], () => {})
      for (const record of added) records.add(record)
      await writeFile(file, records.toText())
      const loaded = await load()
      assert.deepEqual(loaded, added.map(record => ({ ...record })))
      assert.equal(new WitnessRecords(loaded, () => {}).toText(), records.toText())
    }), { numRuns: 30 })
    assert.deepEqual(warnings, [])
    for (const text of ['{', '{"version":1}', `{"version":1,"manifests":[{"cid":"a b","sha256":"${DIGEST}","witnesses":["x"]}]}`, '{"version":2,"manifests":[]}']) {
      await writeFile(file, text)
      assert.deepEqual(await load(), [])
    }
    assert.equal(warnings.length, 4)
    assert.ok((await readdir(join(file, '..'))).every(name => /[.](damaged|other-version)-\d+$/.test(name)))
  })
})

test('what changes is written after a while, once for many changes, and at the end; a disk that refuses is told', async () => {
  const timers = virtualTimers()
  const written: string[] = []
  let value = 0
  let refuses = false
  let failures = 0
  const kept = new KeptText({
    text: () => String(value),
    write: async text => {
      if (refuses) throw new Error('full')
      written.push(text)
    },
    timers,
    failed: () => { failures++ }
  })
  for (value = 1; value < 5; value++) kept.changed()
  await timers.pass(KEEP_MS - 1)
  assert.deepEqual(written, [])
  await timers.pass(1)
  assert.deepEqual(written, ['5'])
  refuses = true
  kept.changed()
  await timers.pass(KEEP_MS)
  assert.equal(failures, 1)
  refuses = false
  value = 7
  kept.changed()
  await kept.close()
  kept.changed()
  await kept.close()
  assert.deepEqual([written, timers.waiting], [['5', '7'], 0])
})
