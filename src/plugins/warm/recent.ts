import Type, { type Static } from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { CID } from '../../protocol/shard-key.ts'

/** Videos of one list. */
export const MAX_RECENT = 1_000
/** Bytes of one list. */
export const MAX_RECENT_BYTES = 1024 * 1024

/** What `GET /recent` of a super-node answers; it may say more. */
const Recent = Type.Object({
  /** The newest first. */
  items: Type.Array(Type.Object({
    cid: Type.String({ pattern: CID.source }),
    /** ISO 8601. */
    publishedAt: Type.String({ maxLength: 64 })
  }), { maxItems: MAX_RECENT })
})

const recentCheck = schemaCheck<Static<typeof Recent>>(Recent)

/** A newly published video. */
export interface RecentItem {
  readonly cid: string
  /** Wall clock, ms since the epoch. */
  readonly publishedAt: number
}

/** @throws RelayError RELAY_ERR_UPSTREAM_PROTOCOL when the text is no such list */
export function parseRecent (text: string): RecentItem[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new RelayError('RELAY_ERR_UPSTREAM_PROTOCOL', 'the feed is not JSON', { cause: error })
  }
  const isRecent = recentCheck()
  if (!isRecent(value)) {
    const [error] = isRecent.errors ?? []
    throw new RelayError('RELAY_ERR_UPSTREAM_PROTOCOL', `the feed: ${error?.instancePath ?? ''} ${error?.message ?? 'is wrong'}`)
  }
  return value.items.map(({ cid, publishedAt }, position) => {
    const at = Date.parse(publishedAt)
    if (Number.isNaN(at)) throw new RelayError('RELAY_ERR_UPSTREAM_PROTOCOL', `the feed: /items/${position}/publishedAt is not a time`)
    return { cid, publishedAt: at }
  })
}
