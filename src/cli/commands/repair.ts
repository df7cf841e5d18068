import { setTimeout as delay } from 'node:timers/promises'
import type { JobHead } from '../../plugins/jobs/jobs.ts'
import type { RepairProgress } from '../../plugins/jobs/repair-job.ts'
import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, CID_HINT, command, fail, isCid, JSON_OPTION, jsonText } from '../command.ts'

/** Time between two looks at the job, ms. */
const LOOK_MS = 300

/** What is looked at of the job. */
export type RepairAnswer = Pick<JobHead & RepairProgress, 'id' | 'state' | 'detail' | 'shards'>

/**
 * Has a running relay check and restore all shards of a video.
 * @param write takes each line of the progress
 * @returns the job at its end: `done` when it has all of them now
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function repairVideo (ask: AskAdmin<RepairAnswer>, cid: string, write: (line: string) => Promise<void> | void, pause = async (): Promise<void> => { await delay(LOOK_MS) }): Promise<RepairAnswer> {
  let job = await ask('/jobs', { type: 'repair', cid })
  const told = new Set<number>()
  for (;;) {
    for (const [part, fate] of job.shards.entries()) {
      if (fate === 'pending' || told.has(part)) continue
      told.add(part)
      await write(`shard ${part}: ${fate} (${told.size} of ${job.shards.length})`)
    }
    if (job.state !== 'waiting' && job.state !== 'running') break
    await pause()
    job = await ask(`/jobs/${job.id}`)
  }
  await write(job.detail === null ? `${cid}: ${job.state}` : `${cid}: ${job.state}: ${job.detail}`)
  return job
}

export const repair = command({
  name: 'repair',
  summary: 'have a running relay check and restore all shards of a video',
  operands: { shown: 'CID', says: CID_HINT },
  options: { ...ADMIN, ...JSON_OPTION },
  exits: { 1: 'shards are missing still' },
  take: ({ admin, json }, [cid = '', ...more]) => {
    if (!isCid(cid)) fail(`repair takes a CID: ${CID_HINT}`)
    if (more.length > 0) fail(`repair takes one CID, and not ${more.join(' ')} besides`)
    return { cid, json, admin }
  },
  run: async ({ cid, json, admin }, { settings, write }) => {
    const job = await repairVideo(await askRunning('repair', settings(), admin), cid, async line => { if (!json) await write(`${line}\n`) })
    if (json) await write(jsonText(job))
    return job.state === 'done' ? 0 : 1
  }
})
