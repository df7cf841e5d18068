import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockSet } from '../../../../src/plugins/shard-cache/block-set.ts'
import { BlockRuns, MAX_RUNS, NEAR_BLOCKS, type BlockRun } from '../../../../src/plugins/shards/block-runs.ts'

const blank = (): { runs: BlockRuns, here: BlockSet } => ({ runs: new BlockRuns(20), here: new BlockSet(20) })
const span = (run: BlockRun | undefined): readonly number[] | undefined => run === undefined ? undefined : [run.next, run.end]

test('the first run goes from what is asked for to the end, the rest begins at the start', () => {
  const { runs, here } = blank()
  const run = runs.want(12, here)
  assert.deepEqual(span(run), [12, 20])
  for (let block = 12; block < 20; block++) here.add(block)
  assert.ok(run)
  runs.end(run)
  assert.equal(runs.idle, true)
  assert.equal(runs.rest(here), 0)
  assert.deepEqual(span(runs.want(0, here)), [0, 12])
})

test('a block that comes soon is waited for, one that is far off has a run of its own, and the first ends before it', () => {
  const { runs, here } = blank()
  const first = runs.want(0, here)
  assert.equal(runs.want(0, here), undefined)
  assert.equal(runs.want(NEAR_BLOCKS, here), undefined)
  assert.deepEqual(span(runs.want(NEAR_BLOCKS + 1, here)), [NEAR_BLOCKS + 1, 20])
  assert.deepEqual(span(first), [0, NEAR_BLOCKS + 1])
})

test('a run ends before blocks that are here, and before the run of somebody else', () => {
  const { runs, here } = blank()
  here.add(9)
  assert.deepEqual(span(runs.want(15, here)), [15, 20])
  assert.deepEqual(span(runs.want(10, here)), [10, 15])
  assert.deepEqual(span(runs.want(3, here)), [3, 9])
  assert.equal(runs.want(9, here), undefined, 'it is here')
  assert.equal(runs.want(20, here), undefined, 'there is no such block')
})

test('with as many runs as there may be a block waits until one of them ends', () => {
  const { runs, here } = blank()
  const all = Array.from({ length: MAX_RUNS }, (_, n) => runs.want(16 - 4 * n, here))
  assert.ok(all.every(run => run !== undefined))
  assert.equal(runs.want(0, here), undefined)
  const [last] = all
  assert.ok(last)
  runs.end(last)
  assert.deepEqual(span(runs.want(0, here)), [0, 4])
})

test('a run that turns out to cost ten times as much ends where that ends for which somebody waits; what comes after begins another', () => {
  const { runs, here } = blank()
  const run = runs.want(5, here, 8)
  assert.deepEqual(span(run), [5, 20])
  assert.ok(run)
  runs.stopsSoon(run)
  assert.deepEqual(span(run), [5, 8])
  assert.deepEqual(span(runs.want(9, here)), [9, 20])
  assert.deepEqual(span(runs.want(8, here)), [8, 9])
})

test('a run for somebody who wants no more than a part goes no further, and has one block at least', () => {
  const { runs, here } = blank()
  const run = runs.want(5, here, 8, 8)
  assert.deepEqual(span(run), [5, 8])
  assert.ok(run)
  run.next = 6
  runs.stopsSoon(run)
  assert.deepEqual(span(run), [6, 8])
  assert.deepEqual(span(runs.want(12, here, 3, 3)), [12, 13])
})

test('any history: no block is brought in by two runs, runs are few, what is wanted comes, and the rest finds every hole', () => {
  const steps = fc.array(fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('want' as const), block: fc.nat(33), soon: fc.nat(34), most: fc.option(fc.nat(34), { nil: undefined }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('soon' as const), run: fc.nat(MAX_RUNS) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('progress' as const), run: fc.nat(MAX_RUNS), blocks: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('fail' as const), run: fc.nat(MAX_RUNS) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), block: fc.nat(33) }) }
  ), { maxLength: 100, size: 'max' })
  fc.assert(fc.property(fc.integer({ min: 1, max: 34 }), steps, (blocks, history) => {
    const runs = new BlockRuns(blocks)
    const here = new BlockSet(blocks)
    const active: BlockRun[] = []
    const check = (): void => {
      assert.ok(active.length <= MAX_RUNS)
      assert.equal(runs.idle, active.length === 0)
      const covered = new Set<number>()
      for (const { next, end } of active) {
        assert.ok(next >= 0 && end <= blocks)
        for (let block = next; block < end; block++) {
          assert.ok(!covered.has(block), `block ${block} is brought in by two`)
          covered.add(block)
        }
      }
    }
    const want = (block: number, soon?: number, most?: number): void => {
      const before = active.length
      const coming = active.find(({ next, end }) => next <= block && block < end)
      const near = coming !== undefined && block - coming.next <= NEAR_BLOCKS
      const run = runs.want(block, here, soon, most)
      if (run === undefined) assert.ok(block >= blocks || here.has(block) || near || before === MAX_RUNS, 'only what is here, comes soon or has no place is not started')
      else {
        assert.equal(run.next, block)
        assert.ok(!here.has(block) && !near && run.end > block)
        for (let at = run.next; at < run.end; at++) assert.ok(!here.has(at), 'what is here is not asked for again')
        active.push(run)
      }
      check()
    }
    const progress = (run: BlockRun): void => {
      here.add(run.next++)
      if (run.next < run.end) return
      runs.end(run)
      active.splice(active.indexOf(run), 1)
    }
    for (const step of history) {
      const run = step.kind !== 'want' && step.kind !== 'lose' ? active[step.run % Math.max(1, active.length)] : undefined
      if (step.kind === 'want') want(step.block, step.soon, step.most)
      // A disk that refuses a block late.
      else if (step.kind === 'lose') here.delete(step.block)
      else if (run !== undefined && step.kind === 'fail') {
        runs.end(run)
        active.splice(active.indexOf(run), 1)
      } else if (run !== undefined && step.kind === 'soon') {
        runs.stopsSoon(run)
        if (run.next >= run.end) {
          runs.end(run)
          active.splice(active.indexOf(run), 1)
        }
      } else if (run !== undefined && step.kind === 'progress') {
        for (let left = step.blocks; left > 0 && active.includes(run); left--) progress(run)
      }
      check()
    }
    // Somebody goes on waiting for each block in turn; that it comes must not need more than there is to bring.
    for (let block = 0; block < blocks; block += 3) {
      for (let patience = blocks * MAX_RUNS; !here.has(block); patience--) {
        assert.ok(patience > 0, `block ${block} does not come`)
        want(block)
        for (const run of [...active]) progress(run)
        check()
      }
    }
    for (let patience = blocks * MAX_RUNS; !here.full; patience--) {
      assert.ok(patience > 0, 'a hole stays')
      if (runs.idle) {
        const hole = runs.rest(here)
        assert.ok(hole < blocks && !here.has(hole))
        want(hole)
        assert.equal(active.length, 1)
      }
      for (const run of [...active]) progress(run)
      check()
    }
    assert.equal(runs.rest(here), blocks)
  }), { numRuns: 300 })
})
