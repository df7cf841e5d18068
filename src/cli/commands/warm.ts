import { setTimeout as delay } from 'node:timers/promises'
import type { JobHead } from '../../plugins/jobs/jobs.ts'
import type { WarmProgress } from '../../plugins/warm/warm-job.ts'
import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, CID_HINT, command, fail, isCid, isUrl, JSON_OPTION, jsonText } from '../command.ts'
import { sizeText, timeText } from '../units.ts'

/** Time between two looks at the job, ms. */
const LOOK_MS = 500
/** Looks in a row that may be in vain: the job goes on over a restart of the relay, which takes less than this minute. */
export const PATIENCE = 120
/** Characters of the bar. */
const BAR = 24
/** Where nobody watches a bar, a line is written each time so many percent more are through. */
const STEP_PERCENT = 10

/** What is looked at of the job. */
export type WarmAnswer = Pick<JobHead & WarmProgress, 'id' | 'state' | 'detail' | 'counts' | 'bytes' | 'bytesPerSecond' | 'etaSeconds' | 'waitsFor' | 'failures'>

/** What `warm` is asked for: videos by their CIDs, or one by the URL of its manifest. */
export interface WarmWanted {
  readonly cids: readonly string[]
  readonly manifest: string | undefined
  readonly parity: boolean
  /** Objects at the same time; as configured at the relay without it. */
  readonly concurrency: number | undefined
}

/** Where the progress goes. */
export interface Display {
  readonly write: (text: string) => Promise<void> | void
  /** Whether it is a terminal, on which a line can be written over. */
  readonly terminal: boolean
  /** Whether only the job at its end is written, as JSON. */
  readonly json?: boolean
}

function shareOf ({ counts: { total, pending } }: WarmAnswer): number {
  return total === 0 ? 1 : (total - pending) / total
}

/** One line on how far the job is. */
export function progressText (job: WarmAnswer): string {
  const { counts: { total, pending, fetched, present, failed }, bytes, bytesPerSecond, etaSeconds, waitsFor, state } = job
  const parts = [`${total - pending} of ${total}: ${fetched} fetched`, `${present} present`, ...failed > 0 ? [`${failed} failed`] : [], sizeText(bytes)]
  if (bytesPerSecond > 0 && state === 'running') parts.push(`${sizeText(bytesPerSecond)}/s`)
  if (state === 'waiting') parts.push('waits for its turn')
  else if (waitsFor !== null) parts.push(`waits: ${waitsFor}`)
  else if (etaSeconds !== null && pending > 0) parts.push(`${timeText(etaSeconds)} left`)
  return parts.join(', ')
}

/** The same with a bar before it. */
export function barText (job: WarmAnswer): string {
  const full = Math.floor(shareOf(job) * BAR)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR - full)}] ${String(Math.floor(shareOf(job) * 100)).padStart(3)} % ${progressText(job)}`
}

/** @throws RelayError RELAY_ERR_CONFIG when the relay has not answered for a minute */
async function look (ask: AskAdmin<WarmAnswer>, id: string, pause: () => Promise<void>): Promise<WarmAnswer> {
  for (let inVain = 1; ; inVain++) {
    await pause()
    try {
      return await ask(`/jobs/${id}`)
    } catch (error) {
      if (inVain === PATIENCE) throw error
    }
  }
}

/**
 * Has a running relay bring videos into its cache.
 * @returns whether all of it is there now
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function warmVideos (ask: AskAdmin<WarmAnswer>, { cids, manifest, parity, concurrency }: WarmWanted, { write, terminal, json = false }: Display, pause = async (): Promise<void> => { await delay(LOOK_MS) }): Promise<boolean> {
  let job = await ask('/jobs', {
    type: 'warm',
    ...manifest === undefined ? { cids } : { manifest },
    ...parity ? { parity } : {},
    ...concurrency === undefined ? {} : { concurrency }
  })
  if (json) {
    while (job.state === 'waiting' || job.state === 'running') job = await look(ask, job.id, pause)
    await write(jsonText(job))
    return job.state === 'done'
  }
  if (!terminal) await write(`job ${job.id}\n`)
  let told = ''
  for (;;) {
    // Of what is written to a file or a pipe each line has to say something new.
    const step = terminal ? barText(job) : `${Math.floor(shareOf(job) * 100 / STEP_PERCENT)} ${job.waitsFor ?? ''} ${job.state}`
    if (step !== told) await write(terminal ? `\r\u001B[K${step}` : `${progressText(job)}\n`)
    told = step
    if (job.state !== 'waiting' && job.state !== 'running') break
    job = await look(ask, job.id, pause)
  }
  if (terminal) await write('\n')
  for (const { cid, part, code } of job.failures) await write(`${cid}/${part}: ${code}\n`)
  await write(job.detail === null ? `${job.state}\n` : `${job.state}: ${job.detail}\n`)
  return job.state === 'done'
}

export const warm = command({
  name: 'warm',
  summary: 'have a running relay bring videos into its cache before viewers ask',
  says: 'Prints how far it is; the job goes on when this program is ended.',
  operands: { shown: 'CID… | MANIFEST-URL', says: `CIDs, each ${CID_HINT}, or the URL of one manifest` },
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    parity: { says: 'parity shards too' },
    concurrency: { value: 'N', says: 'objects at the same time', mustBe: [/^(?:[1-9]|1[0-6])$/, '1 to 16'] }
  },
  exits: { 1: 'not all of it is there' },
  take: ({ parity, concurrency, admin, json }, named): WarmWanted & { readonly admin: string | undefined, readonly json: boolean } => {
    const [first = ''] = named
    const manifest = named.length === 1 && isUrl(first) ? first : undefined
    if (named.length === 0 || (manifest === undefined && !named.every(isCid))) return fail(`warm takes CIDs, each ${CID_HINT}, or the URL of one manifest`)
    return { cids: manifest === undefined ? named : [], manifest, parity, concurrency: concurrency === undefined ? undefined : Number(concurrency), admin, json }
  },
  run: async ({ admin, json, ...asked }, { settings, write, terminal }) => await warmVideos(await askRunning('warm', settings(), admin), asked, { write, terminal, json }) ? 0 : 1
})
