import { request } from 'undici'
import { RelayError } from '../../base/errors.ts'
import { readUpTo } from '../upstream/each-node.ts'
import type { FeedAnswer } from './feed.ts'
import { MAX_RECENT_BYTES, parseRecent } from './recent.ts'

/** Time for the whole answer, ms. */
const ANSWER_MS = 30_000
/** An `etag` that is sent back (RFC 9110 §8.8.3); without one the next answer is whole. */
const ETAG = /^(?:W\/)?"[!#-~]{0,1000}"$/

/**
 * Reads a feed, unless it is what it was. Redirects are not followed: who is asked is what the configuration says.
 * @param etag of the answer before; null for none
 * @throws RelayError RELAY_ERR_UPSTREAM_*; the reason of the signal
 */
export async function askFeed (url: string, etag: string | null, signal: AbortSignal): Promise<FeedAnswer> {
  const known = etag !== null && ETAG.test(etag) ? { 'if-none-match': etag } : undefined
  const timeout = AbortSignal.timeout(ANSWER_MS)
  try {
    const { statusCode, headers, body } = await request(url, {
      headers: { accept: 'application/json', ...known },
      signal: AbortSignal.any([signal, timeout])
    })
    try {
      if (statusCode === 304 && known !== undefined) return undefined
      if (statusCode !== 200) throw new RelayError('RELAY_ERR_UPSTREAM_STATUS', `the feed answers ${statusCode}`)
      const text = await readUpTo(body, MAX_RECENT_BYTES)
      if (text.length > MAX_RECENT_BYTES) throw new RelayError('RELAY_ERR_UPSTREAM_TOO_LARGE', `the feed has more than ${MAX_RECENT_BYTES} bytes`)
      const next = typeof headers.etag === 'string' && ETAG.test(headers.etag) ? headers.etag : null
      return { items: parseRecent(text.toString()), etag: next }
    } finally {
      body.on('error', () => {}).destroy()
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof RelayError) throw error
    if (timeout.aborted) throw new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the feed did not answer in time', { cause: error })
    throw new RelayError('RELAY_ERR_UPSTREAM_UNREACHABLE', `the feed could not be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
