/** The comparison as a whole, small: real servers and clients, but only those that need no package. */
import assert from 'node:assert/strict'
import { access, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { withCleanup } from '../../tools/harness/cleanup.ts'
import { judgeGoals } from '../../compare/goals.ts'
import { Lab } from '../../compare/lab.ts'
import { dropPages } from '../../compare/page-cache.ts'
import { ROOT } from '../../compare/peers/peer.ts'
import { reportText } from '../../compare/report.ts'
import type { ScenarioResult } from '../../compare/result.ts'
import { runScenario, type Scenario } from '../../compare/scenario.ts'
import { allScenarios } from '../../compare/scenarios/all.ts'
import type { Scale } from '../../compare/scale.ts'

const TINY: Scale = { sizes: [20_000, 100_000], runMs: 100, browserMs: 100, coldBytes: 400_000, misses: 2, touches: false, warmMisses: 2, viewers: 4, heldSessions: 5, farMs: 1 }
const skip = process.platform !== 'linux' ? 'CPU and memory are read from /proc' : false

/** Type of a file system in memory, whose pages cannot be dropped (statfs(2)). */
const TMPFS = 0x01021994

test('bare Node and the relay are compared, and nothing is left', { timeout: 240_000, skip }, async () => {
  const onDisk = (await statfs(tmpdir())).type !== TMPFS
  let directory = ''
  const results: ScenarioResult[] = []
  const pids: number[] = []
  await withCleanup(async cleanup => {
    const lab = await Lab.open({ scale: TINY, relayProgram: join(ROOT, 'src/server.ts') }, cleanup)
    directory = lab.world.directory
    const scenarios = allScenarios(lab)
    const only = (id: string, contenders: readonly string[]): Scenario => {
      const found = scenarios.find(scenario => scenario.id === id)
      assert.ok(found !== undefined, `${id} is one of ${scenarios.map(scenario => scenario.id).join(' ')}`)
      return { ...found, contenders: found.contenders.filter(contender => contenders.includes(contender.id)) }
    }
    for (const scenario of [only('hot-0.02mb', ['node', 'relay', 'relay-disk']), ...onDisk ? [only('cold-0.1mb', ['relay-disk'])] : [], only('miss-near', ['direct', 'relay']), only('viewers', ['relay'])]) {
      results.push(await runScenario(scenario, { runs: 2, warmUps: 0, log: () => {}, signal: new AbortController().signal }))
    }
    for (const peer of ['node', 'relay', 'relay-disk'] as const) pids.push((await lab.peer(peer)).process.pid)
    if (onDisk) assert.equal(await dropPages(lab.world.content, 'hot'), 0)
  })
  for (const { rows, columns, id } of results) {
    for (const { contender, runs, unavailable } of rows) {
      assert.equal(unavailable, undefined, `${id} ${contender}`)
      assert.deepEqual(runs.map(({ errors }) => errors), [[], []], `${id} ${contender}`)
      for (const { metrics } of runs) for (const column of columns) assert.ok(Number(metrics[column]) >= 0, `${id} ${contender} ${column}: ${metrics[column]}`)
    }
  }
  assert.deepEqual(results.map(({ rows }) => rows.length), onDisk ? [3, 1, 2, 1] : [3, 2, 1])
  const text = reportText({ command: 'npm run compare', startedAt: new Date(0).toISOString(), minutes: 1, runs: 2, machine: { CPU: 'some' }, scenarios: results, goals: judgeGoals(results) })
  assert.match(text, /\| icn-relay, memory hit \| \d+ \(\d+–\d+\) \|/)
  for (const pid of pids) await assert.rejects(access(`/proc/${pid}`), `${pid} is gone`)
  await assert.rejects(access(directory), 'its files are gone')
})
