import { setTimeout as delay } from 'node:timers/promises'
import type { JobHead } from '../plugins/jobs/jobs.ts'
import type { RepairProgress } from '../plugins/jobs/repair-job.ts'
import type { RepairCommand } from './arguments.ts'
import type { AskAdmin } from './ask-admin.ts'

/** Time between two looks at the job, ms. */
const LOOK_MS = 300

/** What is looked at of the job. */
export type RepairAnswer = Pick<JobHead & RepairProgress, 'id' | 'state' | 'detail' | 'shards'>

/**
 * Has a running relay check and restore all shards of a video.
 * @param write takes each line of the progress
 * @returns whether it has all of them now
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function repairVideo (ask: AskAdmin<RepairAnswer>, { cid }: RepairCommand, write: (line: string) => void, pause = async (): Promise<void> => { await delay(LOOK_MS) }): Promise<boolean> {
  let job = await ask('/jobs', { type: 'repair', cid })
  const told = new Set<number>()
  for (;;) {
    for (const [part, fate] of job.shards.entries()) {
      if (fate === 'pending' || told.has(part)) continue
      told.add(part)
      write(`shard ${part}: ${fate} (${told.size} of ${job.shards.length})`)
    }
    if (job.state !== 'waiting' && job.state !== 'running') break
    await pause()
    job = await ask(`/jobs/${job.id}`)
  }
  write(job.detail === null ? `${cid}: ${job.state}` : `${cid}: ${job.state}: ${job.detail}`)
  return job.state === 'done'
}
