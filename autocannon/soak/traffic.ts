import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { WorkerProcess } from '../worker-process.ts'
import { TRANSPORTS, type TransportTally } from './books.ts'

export type TrafficTransport = typeof TRANSPORTS[number]

export type TrafficOrder =
  | { readonly type: 'start', readonly transport: TrafficTransport, readonly url: string, readonly viewers: number, readonly seed: number }
  /** Answers when nothing is in flight any more. */
  | { readonly type: 'stop' }

export interface TrafficOutcome extends TransportTally {
  /** What went wrong, by text and number. */
  readonly texts: Readonly<Record<string, number>>
}

/** Viewers over every transport, each transport in a process of its own. */
export class Traffic {
  readonly #workers: ReadonlyMap<TrafficTransport, WorkerProcess<TrafficOrder, TrafficOutcome>>

  /** The processes end with the cleanup. */
  constructor (cleanup: Cleanup) {
    this.#workers = new Map(TRANSPORTS.map(transport => [transport, new WorkerProcess<TrafficOrder, TrafficOutcome>(cleanup, 'soak/traffic-process.ts')]))
  }

  /** @param viewers of each transport */
  async start (url: string, viewers: number, seed: number): Promise<void> {
    await Promise.all([...this.#workers].map(async ([transport, worker]) => await worker.run({ type: 'start', transport, url, viewers, seed })))
  }

  /** Lets everybody finish what is under way. */
  async stop (): Promise<Record<string, TrafficOutcome>> {
    return Object.fromEntries(await Promise.all([...this.#workers].map(async ([transport, worker]) => [transport, await worker.run({ type: 'stop' })] as const)))
  }
}
