/** CPU time and memory of server processes during a run (Linux). */
import { readFile, readdir } from 'node:fs/promises'
import { gatewayPid } from '../tools/harness/gateway-process.ts'
import { cpuMs, residentBytes } from '../tools/harness/proc.ts'
import type { SpawnedRelay } from '../tools/harness/processes.ts'
import type { Metered } from './metered.ts'
import type { ProcessUse } from './result.ts'

const SAMPLE_MS = 250

/**
 * CPU time of the living threads of a process, ms, in nanosecond steps where the kernel keeps schedstat; `/proc/<pid>/stat` counts in
 * steps of 10 ms, which is coarse for runs of a second.
 * @throws the file system's error when there is no such process
 */
export async function preciseCpuMs (pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`)
  const spent = await Promise.all(threads.map(async thread => {
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '')
    return text === '' ? undefined : Number(text.split(' ', 1)[0]) / 1e6
  }))
  const known = spent.filter(ms => ms !== undefined)
  return known.length === 0 ? await cpuMs(pid) : known.reduce((sum, ms) => sum + ms, 0)
}

/** The processes of a relay; the gateway is missing where `transport.engine` is off. */
export async function relayProcesses (relay: Pick<SpawnedRelay, 'pid'>): Promise<Metered[]> {
  const gateway = await gatewayPid(relay.pid)
  return [{ name: 'relay', pid: relay.pid }, ...(gateway === undefined ? [] : [{ name: 'gateway', pid: gateway }])]
}

interface Running {
  readonly metered: Metered
  readonly cpuStart: number
  readonly rssStart: number
  rssMax: number
}

/** Meters processes from `start` to `stop`; each has to live that long. */
export class ProcessMeter {
  readonly #running: Running[]
  readonly #timer: NodeJS.Timeout

  private constructor (running: Running[]) {
    this.#running = running
    this.#timer = setInterval(() => { void this.#sample().catch(() => {}) }, SAMPLE_MS)
  }

  static async start (processes: readonly Metered[]): Promise<ProcessMeter> {
    return new ProcessMeter(await Promise.all(processes.map(async metered => {
      const rss = await residentBytes(metered.pid)
      return { metered, cpuStart: await preciseCpuMs(metered.pid), rssStart: rss, rssMax: rss }
    })))
  }

  /** @throws the file system's error when a process has ended */
  async stop (): Promise<ProcessUse[]> {
    clearInterval(this.#timer)
    const cpu = await Promise.all(this.#running.map(async ({ metered }) => await preciseCpuMs(metered.pid)))
    const rss = await this.#sample()
    return this.#running.map(({ metered, cpuStart, rssStart, rssMax }, index) => ({
      name: metered.name,
      cpuMs: (cpu[index] ?? cpuStart) - cpuStart,
      rssStartBytes: rssStart,
      rssEndBytes: rss[index] ?? 0,
      rssMaxBytes: rssMax
    }))
  }

  async #sample (): Promise<number[]> {
    return await Promise.all(this.#running.map(async one => {
      const rss = await residentBytes(one.metered.pid)
      one.rssMax = Math.max(one.rssMax, rss)
      return rss
    }))
  }
}
