import { RelayError } from '../../base/errors.ts'
import { getIfChanged } from '../upstream/get-if-changed.ts'
import type { FeedAnswer } from './feed.ts'
import { MAX_RECENT_BYTES, parseRecent } from './recent.ts'

/** Time for the whole answer, ms. */
const ANSWER_MS = 30_000

/**
 * Reads a feed, unless it is what it was.
 * @param etag of the answer before; null for none
 * @throws RelayError RELAY_ERR_UPSTREAM_*; the reason of the signal
 */
export async function askFeed (url: string, etag: string | null, signal: AbortSignal): Promise<FeedAnswer> {
  const timeout = AbortSignal.timeout(ANSWER_MS)
  try {
    const { status, unchanged, bytes, etag: next } = await getIfChanged(url, { accept: 'application/json', etag, maxBytes: MAX_RECENT_BYTES, signal: AbortSignal.any([signal, timeout]) })
    if (unchanged) return undefined
    if (status !== 200) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `the feed answers ${status}`)
    if (bytes.length > MAX_RECENT_BYTES) throw new RelayError('RELAY_ERR_UPSTREAM_TOO_LARGE', `the feed has more than ${MAX_RECENT_BYTES} bytes`)
    return { items: parseRecent(bytes.toString()), etag: next }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof RelayError) throw error
    if (timeout.aborted) throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the feed did not answer in time', { cause: error })
    throw new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', `the feed could not be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
