import { gatewayPid } from '../../tools/harness/gateway-process.ts'
import { residentBytes } from '../../tools/harness/proc.ts'
import { trendOf, type Sample, type Trend } from './slope.ts'

const SAMPLE_MS = 1_000
/** Share of a process's life in which caches fill and the compiler works. */
const WARM_UP_SHARE = 0.25

/** Resident memory of a relay and of each of its gateways, sampled every second. */
export class MemoryWatch {
  readonly #relayPid: number
  readonly #samples = new Map<string, Sample[]>()
  readonly #timer: NodeJS.Timeout

  constructor (relayPid: number) {
    this.#relayPid = relayPid
    this.#timer = setInterval(() => { void this.#sample().catch(() => {}) }, SAMPLE_MS)
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  /** Trends of the relay and of the last gateway, without their warm-up. */
  trends (): { readonly relay: Trend, readonly gateway: Trend } {
    const last = [...this.#samples.keys()].filter(name => name !== 'relay').at(-1)
    return { relay: this.#trend('relay'), gateway: this.#trend(last ?? '') }
  }

  #trend (name: string): Trend {
    const samples = this.#samples.get(name) ?? []
    return trendOf(samples.slice(Math.floor(samples.length * WARM_UP_SHARE)))
  }

  async #sample (): Promise<void> {
    await this.#record('relay', this.#relayPid)
    const pid = await gatewayPid(this.#relayPid)
    if (pid !== undefined) await this.#record(`gateway ${pid}`, pid)
  }

  async #record (name: string, pid: number): Promise<void> {
    const bytes = await residentBytes(pid)
    const samples = this.#samples.get(name) ?? []
    samples.push({ seconds: performance.now() / 1_000, bytes })
    this.#samples.set(name, samples)
  }
}
