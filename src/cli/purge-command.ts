import type { PurgeReport } from '../plugins/purge/purger.ts'
import type { PurgeCommand } from './arguments.ts'
import type { AskAdmin } from './ask-admin.ts'

/** Time the relay has for its answer, ms: it may have millions of objects, and other purges before this one. */
export const PURGE_MS = 600_000

/**
 * Has a running relay purge its cache.
 * @returns the line to print
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function purgeCache (ask: AskAdmin<PurgeReport>, { cids, prefix, tag, all, soft }: PurgeCommand): Promise<string> {
  const { purged, ms } = await ask('/cache/purge', {
    ...cids.length === 0 ? {} : { cids },
    ...prefix === undefined ? {} : { prefix },
    ...tag === undefined ? {} : { tag },
    ...all ? { all } : {},
    ...soft ? { mode: 'soft' } : {}
  })
  return soft ? `${purged} objects are fetched again when somebody asks for them; ${ms} ms` : `${purged} objects purged in ${ms} ms`
}
