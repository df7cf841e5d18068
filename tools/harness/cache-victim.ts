/**
 * A cache at work in a process that ends before or after a change of its disk, as by `kill -9`: `cache-victim '<order as JSON>'`. Says on standard output,
 * a line of JSON each, which batch it begins, what the index holds after each flush, and in the end how often it has passed each point.
 */
import { writeSync } from 'node:fs'
import type { WritePoint } from '../../src/plugins/shard-cache/write-points.ts'
import { doWork, openWorkCache, type Batch, type WorkLine } from './cache-work.ts'

/** The moment at which it ends: the `nth` time, from 1 on, that it passes a point. */
export interface KillAt {
  readonly point: WritePoint
  readonly when: 'before' | 'after'
  readonly nth: number
}

export interface VictimOrder {
  readonly path: string
  readonly run: number
  readonly work: readonly Batch[]
  readonly killAt?: KillAt | undefined
}

export type VictimLine = WorkLine | { readonly passed: Readonly<Partial<Record<WritePoint, number>>> }

const { path, run, work, killAt } = JSON.parse(process.argv[2] ?? '') as VictimOrder
const passed: Partial<Record<WritePoint, number>> = {}
const ended: Partial<Record<WritePoint, number>> = {}
const say = (line: VictimLine): void => { writeSync(1, `${JSON.stringify(line)}\n`) }

const opened = await openWorkCache(path, run, {
  sync: 'full',
  eviction: 'lru',
  // Whoever judges does not ask it either, except where that is the question.
  check: async () => ({ is: 'sound' }),
  onWrite: (point, when) => {
    const counts = when === 'before' ? passed : ended
    const nth = counts[point] = (counts[point] ?? 0) + 1
    if (killAt?.point === point && killAt.when === when && killAt.nth === nth) process.kill(process.pid, 'SIGKILL')
  }
})
await doWork(opened.cache, work, say)
await opened.close()
say({ passed })
