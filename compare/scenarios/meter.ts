import type { Percentiles } from '../clients/load.ts'
import type { ManagedProcess } from '../../tools/harness/managed-process.ts'
import type { Sample } from '../result.ts'

/** What a client saw. */
export interface Seen {
  readonly bytes: number
  readonly seconds: number
  readonly firstByteMs?: Percentiles
  readonly wholeMs?: Percentiles
  /** CPU of the client, ms. */
  readonly clientCpuMs: number
  readonly errors?: readonly string[]
}

const MB = 1_000_000

/** Runs `work` and puts together what the client saw and what it cost the server. */
export async function metered (server: ManagedProcess, work: () => Promise<Seen>): Promise<Sample> {
  const before = await server.usage()
  const { bytes, seconds, firstByteMs, wholeMs, clientCpuMs, errors = [] } = await work()
  const after = await server.usage()
  const cpuMs = after.cpuMs - before.cpuMs
  return {
    errors,
    metrics: {
      mbPerSecond: bytes / MB / seconds,
      serverCpuMsPerMb: cpuMs / (bytes / MB),
      serverBusyPercent: cpuMs / seconds / 10,
      clientBusyPercent: clientCpuMs / seconds / 10,
      ...firstByteMs === undefined ? {} : { firstByteP50Ms: firstByteMs.p50, firstByteP99Ms: firstByteMs.p99 },
      ...wholeMs === undefined ? {} : { wholeP50Ms: wholeMs.p50, wholeP99Ms: wholeMs.p99 },
      residentMb: after.residentBytes / MB
    }
  }
}
