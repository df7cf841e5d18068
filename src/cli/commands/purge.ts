import type { PurgeReport } from '../../plugins/purge/purger.ts'
import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, CID_HINT, command, fail, isCid, JSON_OPTION, jsonText } from '../command.ts'

/** Time the relay has for its answer, ms: it may have millions of objects, and other purges before this one. */
const PURGE_MS = 600_000
/** CIDs of one command. */
const MAX_CIDS = 1_000

/** What `purge` is asked for: exactly one of the first four. */
export interface PurgeRequest {
  readonly cids: readonly string[]
  readonly prefix: string | undefined
  readonly tag: string | undefined
  readonly all: boolean
  readonly soft: boolean
  readonly json: boolean
  readonly admin: string | undefined
}

/**
 * Has a running relay purge its cache.
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function purgeCache (ask: AskAdmin<PurgeReport>, { cids, prefix, tag, all, soft }: Omit<PurgeRequest, 'admin' | 'json'>): Promise<PurgeReport> {
  return await ask('/cache/purge', {
    ...cids.length === 0 ? {} : { cids },
    ...prefix === undefined ? {} : { prefix },
    ...tag === undefined ? {} : { tag },
    ...all ? { all } : {},
    ...soft ? { mode: 'soft' } : {}
  })
}

/** What came of it, in a line. */
export function purgeText ({ purged, ms }: PurgeReport, soft: boolean): string {
  return soft ? `${purged} objects are fetched again when somebody asks for them; ${ms} ms` : `${purged} objects purged in ${ms} ms`
}

export const purge = command({
  name: 'purge',
  summary: 'have a running relay evict all objects of videos',
  operands: { shown: 'CID…', says: `1 to 1,000 of them, each ${CID_HINT}` },
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    prefix: { value: 'PREFIX', says: 'of all videos whose CIDs begin so', mustBe: [/^[A-Za-z0-9_-]{1,128}\*?$/, CID_HINT] },
    tag: { value: 'TAG', says: 'of all videos with a tag, from their manifests or from warm jobs', mustBe: [/^[A-Za-z0-9._:-]{1,64}$/, '1 to 64 of A-Z a-z 0-9 . _ : -'] },
    all: { says: 'of all videos' },
    soft: { says: 'have it serve them until it has fetched them again' }
  },
  take: ({ prefix, tag, all, soft, json, admin }, cids): PurgeRequest => {
    const named = [cids.length > 0, prefix !== undefined, tag !== undefined, all].filter(Boolean).length
    if (named !== 1 || cids.length > MAX_CIDS || !cids.every(isCid)) return fail(`purge takes 1 to 1,000 CIDs, each ${CID_HINT}, or one of --prefix, --tag and --all`)
    return { cids, prefix, tag, all, soft, json, admin }
  },
  run: async (asked, { settings, write }) => {
    const report = await purgeCache(await askRunning('purge', settings(), asked.admin, { answerMs: PURGE_MS, scope: 'purge' }), asked)
    await write(asked.json ? jsonText(report) : `${purgeText(report, asked.soft)}\n`)
    return 0
  }
})
