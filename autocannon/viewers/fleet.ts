import type { Cleanup } from '../../tools/harness/cleanup.ts'
import { mergedHistogram, type TimeHistogram } from '../histogram.ts'
import type { GeneratorUse } from '../result.ts'
import { WorkerProcess } from '../worker-process.ts'
import type { LoadOrder, LoadOutcome, OpenOrder, OpenOutcome, VerifyOrder, VerifyOutcome, ViewerOrder, ViewerOutcome } from './orders.ts'

export interface FleetOpened {
  readonly opened: number
  readonly failed: number
  readonly handshake: TimeHistogram
  readonly errorTexts: readonly string[]
}

export interface FleetOutcome extends Omit<LoadOutcome, 'latency' | 'firstByte' | 'startup' | 'loopDelayP99Ms' | 'cpuMs'> {
  readonly latency: TimeHistogram
  readonly firstByte: TimeHistogram
  readonly startup: TimeHistogram
  readonly generator: GeneratorUse
}

type Sums = 'requests' | 'unexpected' | 'errors' | 'bytes' | 'stalls' | 'stalledMs' | 'viewersStalled' | 'playedMs' | 'lost'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** One outcome of what several processes measured at the same time. */
export function mergedOutcome (outcomes: readonly LoadOutcome[]): FleetOutcome {
  const total = (key: Sums): number => sum(outcomes.map(outcome => outcome[key]))
  const statuses: Record<string, number> = {}
  for (const outcome of outcomes) for (const [status, count] of Object.entries(outcome.statuses)) statuses[status] = (statuses[status] ?? 0) + count
  return {
    seconds: Math.max(0, ...outcomes.map(({ seconds }) => seconds)),
    requests: total('requests'),
    statuses,
    unexpected: total('unexpected'),
    errors: total('errors'),
    errorTexts: [...new Set(outcomes.flatMap(({ errorTexts }) => errorTexts))].slice(0, 5),
    bytes: total('bytes'),
    latency: mergedHistogram(outcomes.map(({ latency }) => latency)),
    firstByte: mergedHistogram(outcomes.map(({ firstByte }) => firstByte)),
    startup: mergedHistogram(outcomes.map(({ startup }) => startup)),
    stalls: total('stalls'),
    stalledMs: total('stalledMs'),
    viewersStalled: total('viewersStalled'),
    playedMs: total('playedMs'),
    lost: total('lost'),
    generator: {
      processes: outcomes.length,
      cpuMs: sum(outcomes.map(({ cpuMs }) => cpuMs)),
      busiest: Math.max(0, ...outcomes.map(({ cpuMs, seconds }) => cpuMs / (seconds * 1_000))),
      loopDelayP99Ms: Math.max(0, ...outcomes.map(({ loopDelayP99Ms }) => loopDelayP99Ms))
    }
  }
}

/** Viewers in several processes, so that the generator is not the bottleneck before the server is. */
export class ViewerFleet {
  readonly #workers: readonly WorkerProcess<ViewerOrder, ViewerOutcome>[]

  private constructor (workers: readonly WorkerProcess<ViewerOrder, ViewerOutcome>[]) {
    this.#workers = workers
  }

  /** The processes end with the cleanup. */
  static start (cleanup: Cleanup, processes: number): ViewerFleet {
    return new ViewerFleet(Array.from({ length: processes }, () => new WorkerProcess<ViewerOrder, ViewerOutcome>(cleanup, 'viewers/viewer-process.ts')))
  }

  /** Opens sessions, divided among the processes; those that fail are counted. */
  async open (order: Omit<OpenOrder, 'type' | 'firstSlot'>): Promise<FleetOpened> {
    let firstSlot = 0
    const shares = this.#workers.map((_, index) => Math.floor((order.sessions + index) / this.#workers.length))
    const outcomes = await Promise.all(this.#workers.map(async (worker, index) => {
      const sessions = shares[index] ?? 0
      const share: OpenOrder = { ...order, type: 'open', sessions, firstSlot }
      firstSlot += sessions
      return await worker.run(share) as OpenOutcome
    }))
    return {
      opened: sum(outcomes.map(({ opened }) => opened)),
      failed: sum(outcomes.map(({ failed }) => failed)),
      handshake: mergedHistogram(outcomes.map(({ handshake }) => handshake)),
      errorTexts: [...new Set(outcomes.flatMap(({ errorTexts }) => errorTexts))]
    }
  }

  /** Loads the relay over every open session. */
  async load (order: Omit<LoadOrder, 'type'>): Promise<FleetOutcome> {
    return mergedOutcome(await Promise.all(this.#workers.map(async worker => await worker.run({ ...order, type: 'load' }) as LoadOutcome)))
  }

  async verify (order: Omit<VerifyOrder, 'type'>): Promise<VerifyOutcome> {
    const outcomes = await Promise.all(this.#workers.map(async worker => await worker.run({ ...order, type: 'verify' }) as VerifyOutcome))
    return { bodies: sum(outcomes.map(({ bodies }) => bodies)), wrong: sum(outcomes.map(({ wrong }) => wrong)) }
  }

  async close (): Promise<void> {
    await Promise.all(this.#workers.map(async worker => await worker.run({ type: 'close' })))
  }
}
