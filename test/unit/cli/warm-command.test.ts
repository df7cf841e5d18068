import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { barText, PATIENCE, progressText, warmVideos, type WarmAnswer } from '../../../src/cli/commands/warm.ts'

const COMMAND = { cids: ['QmA', 'QmB'], manifest: undefined, parity: false, concurrency: undefined, admin: undefined }

function answer (done: number, overrides: Partial<WarmAnswer> = {}): WarmAnswer {
  return { id: 'a', state: 'running', detail: null, counts: { total: 22, pending: 22 - done, fetched: done, present: 0, failed: 0 }, bytes: done * 1_500_000, bytesPerSecond: 3_000_000, etaSeconds: 22 - done, waitsFor: null, failures: [], ...overrides }
}

async function run (answers: readonly WarmAnswer[], terminal: boolean, command: Partial<typeof COMMAND> & { readonly manifest?: string } = {}): Promise<{ text: string, warmed: boolean, asked: unknown[] }> {
  const left = [...answers]
  const asked: unknown[] = []
  let text = ''
  const warmed = await warmVideos(async (path, body) => {
    asked.push([path, body])
    return left.shift() ?? assert.fail('asked too often')
  }, { ...COMMAND, ...command }, { terminal, write: more => { text += more } }, async () => {})
  return { text, warmed, asked }
}

const DONE = answer(22, { state: 'done', etaSeconds: 0 })

suite('icn-relay warm', () => {
  test('on a terminal one line with a bar is written over and over', async () => {
    const { text, warmed } = await run([answer(0, { state: 'waiting', bytesPerSecond: 0, etaSeconds: null }), answer(11), answer(11), DONE], true)
    assert.equal(warmed, true)
    assert.deepEqual(text.split('\r\u001B[K'), [
      '',
      '[------------------------]   0 % 0 of 22: 0 fetched, 0 present, 0 B, waits for its turn',
      '[############------------]  50 % 11 of 22: 11 fetched, 0 present, 16.5 MB, 3.0 MB/s, 11 s left',
      '[########################] 100 % 22 of 22: 22 fetched, 0 present, 33.0 MB\ndone\n'
    ])
  })

  test('elsewhere a line is written for each tenth, and when it waits; what failed is named at the end, and the code is not 0', async () => {
    const failures = [{ cid: 'QmA', part: 3, code: 'RELAY_ERR_SHARD_NOT_FOUND' }] as const
    const failed = answer(22, { state: 'failed', detail: '1 of 22 objects could not be brought in', counts: { total: 22, pending: 0, fetched: 20, present: 1, failed: 1 }, failures: [...failures], etaSeconds: null })
    const { text, warmed } = await run([...Array.from({ length: 6 }, (_, n) => answer(n)), answer(5, { waitsFor: 'load', bytesPerSecond: 0 }), failed], false)
    assert.equal(warmed, false)
    assert.deepEqual(text.split('\n'), [
      'job a',
      '0 of 22: 0 fetched, 0 present, 0 B, 3.0 MB/s, 22 s left',
      '3 of 22: 3 fetched, 0 present, 4.5 MB, 3.0 MB/s, 19 s left',
      '5 of 22: 5 fetched, 0 present, 7.5 MB, 3.0 MB/s, 17 s left',
      '5 of 22: 5 fetched, 0 present, 7.5 MB, waits: load',
      '22 of 22: 20 fetched, 1 present, 1 failed, 33.0 MB',
      'QmA/3: RELAY_ERR_SHARD_NOT_FOUND',
      'failed: 1 of 22 objects could not be brought in',
      ''
    ])
  })

  test('it asks for what it was asked for', async () => {
    assert.deepEqual((await run([DONE], false)).asked, [['/jobs', { type: 'warm', cids: ['QmA', 'QmB'] }]])
    const { asked } = await run([answer(1), DONE], false, { manifest: 'http://a/shards/QmA/manifest.json', parity: true, concurrency: 2 } as never)
    assert.deepEqual(asked, [['/jobs', { type: 'warm', manifest: 'http://a/shards/QmA/manifest.json', parity: true, concurrency: 2 }], ['/jobs/a', undefined]])
  })

  test('a relay that restarts meanwhile is waited for, one that does not come back is not', async () => {
    let asked = 0
    const after = (failures: number) => async (): Promise<WarmAnswer> => {
      asked++
      if (asked > 1 && asked <= failures + 1) throw new Error('no relay answers')
      return asked === 1 ? answer(3) : DONE
    }
    const display = { terminal: true, write: () => {} }
    assert.equal(await warmVideos(after(PATIENCE - 1), COMMAND, display, async () => {}), true)
    asked = 0
    await assert.rejects(warmVideos(after(PATIENCE), COMMAND, display, async () => {}), /no relay answers/)
  })

  test('sizes and times are such as people read', () => {
    assert.match(progressText(answer(1, { bytes: 2_345_678_901, etaSeconds: 3_725, bytesPerSecond: 999 })), /2\.3 GB, 999 B\/s, 1 h 2 min left$/)
    assert.match(progressText(answer(1, { bytes: 5e15, etaSeconds: 125, bytesPerSecond: 1_000 })), /5000\.0 TB, 1\.0 kB\/s, 2 min 5 s left$/)
    assert.match(barText(answer(0, { counts: { total: 0, pending: 0, fetched: 0, present: 0, failed: 0 } })), /100 %/)
  })
})
