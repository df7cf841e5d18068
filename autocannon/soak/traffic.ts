import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { WorkerProcess } from '../worker-process.ts'
import { ROADS, type RoadTally } from './books.ts'

export type Road = typeof ROADS[number]

export type TrafficOrder =
  | { readonly type: 'start', readonly road: Road, readonly url: string, readonly viewers: number, readonly seed: number }
  /** Answers when nothing is in flight any more. */
  | { readonly type: 'stop' }

export interface TrafficOutcome extends RoadTally {
  /** What went wrong, by text and number. */
  readonly texts: Readonly<Record<string, number>>
}

/** Viewers over every road, each road in a process of its own. */
export class Traffic {
  readonly #workers: ReadonlyMap<Road, WorkerProcess<TrafficOrder, TrafficOutcome>>

  /** The processes end with the cleanup. */
  constructor (cleanup: Cleanup) {
    this.#workers = new Map(ROADS.map(road => [road, WorkerProcess.start<TrafficOrder, TrafficOutcome>(cleanup, 'soak/traffic-process.ts')]))
  }

  /** @param viewers of each road */
  async start (url: string, viewers: number, seed: number): Promise<void> {
    await Promise.all([...this.#workers].map(async ([road, worker]) => await worker.run({ type: 'start', road, url, viewers, seed })))
  }

  /** Lets everybody finish what is under way. */
  async stop (): Promise<Record<string, TrafficOutcome>> {
    return Object.fromEntries(await Promise.all([...this.#workers].map(async ([road, worker]) => [road, await worker.run({ type: 'stop' })] as const)))
  }
}
