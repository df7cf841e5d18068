import { request } from 'undici'
import { readUpTo } from './each-node.ts'

export interface ConditionalGet {
  readonly accept: string
  /** Of the answer before; null for none. One that is no `etag` (RFC 9110 §8.8.3) is not sent back, and the next answer is whole. */
  readonly etag: string | null
  /** Bytes of the body; of a longer one come so many and one more. */
  readonly maxBytes: number
  readonly signal: AbortSignal
}

export interface ConditionalAnswer {
  readonly status: number
  /** Whether it is what it was at the time of the etag. */
  readonly unchanged: boolean
  /** Of a 200; empty otherwise. */
  readonly bytes: Buffer
  readonly etag: string | null
}

const ETAG = /^(?:W\/)?"[!#-~]{0,1000}"$/
/** Silence of the server, ms. */
const SILENCE_MS = 30_000

/** Asks for a document that may be what it was. Redirects are not followed: who is asked is what the configuration says. @throws what undici throws */
export async function getIfChanged (url: string, { accept, etag, maxBytes, signal }: ConditionalGet): Promise<ConditionalAnswer> {
  const known = etag !== null && ETAG.test(etag) ? { 'if-none-match': etag } : undefined
  const { statusCode, headers, body } = await request(url, { signal, headersTimeout: SILENCE_MS, bodyTimeout: SILENCE_MS, headers: { accept, ...known } })
  try {
    const bytes = statusCode === 200 ? await readUpTo(body, maxBytes) : Buffer.alloc(0)
    const next = typeof headers.etag === 'string' && ETAG.test(headers.etag) ? headers.etag : null
    return { status: statusCode, unchanged: statusCode === 304 && known !== undefined, bytes, etag: next }
  } finally {
    body.on('error', () => {}).destroy()
  }
}
