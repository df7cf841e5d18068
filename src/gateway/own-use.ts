import { LoopDelay } from '../base/loop-delay.ts'
import { residentBytes } from '../base/process-use.ts'

/** What the gateway process uses itself, for its heartbeats. */
export class OwnUse {
  readonly #loopDelay = new LoopDelay()
  #cpu = { user: 0, system: 0 }

  /** Resident memory, bytes; of the CPU, seconds, and 99th percentile of the event-loop delay, ms, both since it was asked last. */
  take (): { rssBytes: number, cpu: { user: number, system: number }, loopDelayMs: number } {
    // Microseconds since the process began.
    const { user, system } = process.cpuUsage()
    const cpu = { user: (user - this.#cpu.user) / 1e6, system: (system - this.#cpu.system) / 1e6 }
    this.#cpu = { user, system }
    return { rssBytes: residentBytes(), cpu, loopDelayMs: this.#loopDelay.take() }
  }

  stop (): void { this.#loopDelay.stop() }
}
