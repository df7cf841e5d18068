/**
 * connect: no transport reached the relay; session-lost, no-credit, reset, stalled, truncated: the exchange broke off; status: the
 * relay answered with an error; protocol: the answer makes no sense; digest: bytes do not match their hash; manifest: not
 * usable; missing: too few shards to repair a video; uri: no address of a file; range: not within the file; closed: the client was closed.
 */
export type ClientFault =
  | 'connect' | 'session-lost' | 'no-credit' | 'reset' | 'stalled' | 'truncated' | 'status' | 'protocol' | 'digest' | 'manifest' | 'missing' | 'uri' | 'range' | 'closed'

/** Faults after which the same request may succeed. A wrong digest is not one: the next answer comes from the same cache. */
const RETRYABLE: ReadonlySet<ClientFault> = new Set(['session-lost', 'no-credit', 'reset', 'stalled', 'truncated'])

export interface ClientErrorDetails {
  readonly cause?: unknown
  /** HTTP status of the relay's answer. */
  readonly status?: number
  /** RELAY_ERR_* of the relay's answer. */
  readonly code?: string
  /** The relay asked to wait this long, milliseconds. */
  readonly retryAfterMs?: number
}

/** Every error of the client but an abort, which rejects with the reason of its signal. */
export class ShardClientError extends Error {
  override readonly name = 'ShardClientError'
  readonly fault: ClientFault
  readonly status: number | undefined
  readonly code: string | undefined
  readonly retryAfterMs: number | undefined

  constructor (fault: ClientFault, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.fault = fault
    this.status = details.status
    this.code = details.code
    this.retryAfterMs = details.retryAfterMs
  }

  /** The relay refuses the token, or wants one: asking again is of use with another one only. */
  get unauthorized (): boolean {
    return this.fault === 'status' && (this.status === 401 || this.status === 403)
  }

  /**
   * 429 and 503 say that the relay is busy. A corrupt body is noticed at its end, and the next attempt goes to another super-node. For any other
   * status the relay has already tried again.
   */
  get retryable (): boolean {
    if (this.fault !== 'status') return RETRYABLE.has(this.fault)
    return this.status === 429 || this.status === 503 || this.code === 'RELAY_ERR_UPSTREAM_CORRUPT'
  }
}

/** What `retry-after` asks for, milliseconds; undefined when it says nothing of use. */
export function retryAfterOf (header: (name: 'retry-after') => string | undefined): number | undefined {
  const seconds = /^\d{1,5}$/.exec(header('retry-after') ?? '')?.[0]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}

/** Text of anything thrown. What `fetch` of Node throws says only in its cause why it failed. */
export function reasonText (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const text = error.message === '' ? error.name : error.message
  return error.message === 'fetch failed' && error.cause instanceof Error ? `${text}: ${reasonText(error.cause)}` : text
}
