/** Profiles of the server processes during the measured part of a run. */
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Metered } from '../metered.ts'
import { hotSpots, type CpuProfile, type HotSpot } from './hot-spots.ts'

export interface ProcessProfile {
  /** `relay`, `gateway` */
  readonly name: string
  /** For DevTools and whatever else reads `.cpuprofile`. */
  readonly file: string
  readonly hotSpots: readonly HotSpot[]
}

const SPOTS = 12
const POLL_MS = 50
/** A profile of minutes is tens of megabytes of JSON. */
const WRITTEN_WITHIN_MS = 60_000

/** Environment of processes that can be profiled. @param directory for the profiles; it need not exist */
export async function profiledEnvironment (directory: string): Promise<Record<string, string>> {
  await mkdir(directory, { recursive: true })
  return { NODE_OPTIONS: `--import ${new URL('preload.mjs', import.meta.url).href}`, PROFILE_DIRECTORY: resolve(directory) }
}

/** Profiles processes that were started with {@link profiledEnvironment} from `start` to `stop`. */
export class Profiler {
  readonly #directory: string
  readonly #processes: readonly Metered[]

  private constructor (directory: string, processes: readonly Metered[]) {
    this.#directory = directory
    this.#processes = processes
  }

  static async start (directory: string, processes: readonly Metered[]): Promise<Profiler> {
    const profiler = new Profiler(directory, processes)
    for (const { pid } of processes) {
      await rm(profiler.#written(pid), { force: true })
      process.kill(pid, 'SIGURG')
    }
    return profiler
  }

  /** @param scenario names the files. @throws Error when a process writes no profile */
  async stop (scenario: string): Promise<ProcessProfile[]> {
    for (const { pid } of this.#processes) process.kill(pid, 'SIGURG')
    return await Promise.all(this.#processes.map(async ({ name, pid }) => {
      const file = join(this.#directory, `${scenario}-${name}.cpuprofile`)
      for (let waited = 0; !await rename(this.#written(pid), file).then(() => true, () => false); waited += POLL_MS) {
        if (waited >= WRITTEN_WITHIN_MS) throw new Error(`${name} (${pid}) wrote no profile within ${WRITTEN_WITHIN_MS / 1_000} s`)
        await sleep(POLL_MS)
      }
      const text = await readFile(file, 'utf8')
      if (text === '') throw new Error(`${name} (${pid}) could not end its profile`)
      return { name, file, hotSpots: hotSpots(JSON.parse(text) as CpuProfile, SPOTS) }
    }))
  }

  #written (pid: number): string {
    return join(this.#directory, `${pid}.cpuprofile`)
  }
}
