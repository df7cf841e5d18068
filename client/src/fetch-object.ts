import type { FieldLine, Fields } from '../../src/protocol/message-head.ts'
import { PREFETCH_FIELD, formatPrefetchHint } from '../../src/protocol/prefetch-hint.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import { statedSha256 } from './digest.ts'
import type { PooledSession } from './pooled-session.ts'
import type { ClientPlatform } from './platform.ts'
import type { RelayResponse } from './relay-connection.ts'
import { loadAnswers } from './late-parts.ts'
import type * as Answers from './answers.ts'
import type { Sessions } from './shared-body.ts'
import { isRange, stallTimer } from './stall.ts'
import { linkedAbort } from './waiting.ts'

/** Bytes of an object: `start` inclusive, `end` exclusive, no end for the rest. */
export interface ClientRange {
  readonly start: number
  readonly end?: number
}

/** The blocks that a range of a shard touches. */
export interface BlockRange {
  /** What is asked for. */
  readonly fetched: Required<ClientRange>
  /** Where the range lies in that: `from` inclusive, `to` exclusive. */
  readonly from: number
  readonly to: number
  /** @throws ShardClientError digest, naming the first block that is wrong */
  readonly verify: (fetched: Uint8Array) => Promise<void>
}

export interface FetchRequest {
  readonly path: string
  readonly range: ClientRange | undefined
  /** Of the range; undefined when it is to be fetched as it is, and not verified. */
  readonly blocks: BlockRange | undefined
  /** What will be asked for next. */
  readonly next?: readonly ShardKey[] | undefined
  /** Bearer token, sent with the request and nowhere else. */
  readonly token: string | undefined
  readonly signal: AbortSignal
  readonly onProgress: ((progress: { readonly receivedBytes: number, readonly totalBytes: number }) => void) | undefined
  readonly verify: boolean
  /** What the whole object must hash to, lower-case hex; stronger than what the response states of itself. */
  readonly sha256: string | undefined
  /** Largest body accepted, bytes. */
  readonly maxBytes: number
  /** The exchange is given up after so many milliseconds without a byte. */
  readonly stallMs: number
  /** The first bytes of {@link blocks}, where earlier attempts broke off: only the rest is asked for, and an attempt that breaks off leaves here what came. */
  readonly kept?: { bytes: Uint8Array }
}

export interface ObjectResult {
  readonly bytes: Uint8Array
  /** 200 or 206. */
  readonly status: number
  readonly etag: string | undefined
  /** RFC 9211 field value. */
  readonly cacheStatus: string | undefined
  readonly cache: 'hit' | 'miss' | 'unknown'
  /** SHA-256 of the whole object was right, or of a range that of every block that it touches; false where there was no hash or no way to compute one. */
  readonly verified: boolean
  /** Milliseconds from the start of the request to the first byte of the body. */
  readonly firstByteMs: number
  /** Milliseconds from the start of the request to its verified end. */
  readonly totalMs: number
}

function rangeFields (range: ClientRange | undefined): FieldLine[] {
  return range === undefined ? [] : [['range', `bytes=${range.start}-${range.end === undefined ? '' : range.end - 1}`]]
}

function hintFields (next: readonly ShardKey[] | undefined): FieldLine[] {
  const hint = next && formatPrefetchHint(next)
  return hint === undefined ? [] : [[PREFETCH_FIELD, hint]]
}

function cacheOf (cacheStatus: string | undefined): ObjectResult['cache'] {
  if (cacheStatus === undefined) return 'unknown'
  // RFC 9211 §2: `hit` stands alone, a miss has `fwd`.
  return /;\s*hit\s*(?:;|,|$)/.test(cacheStatus) ? 'hit' : 'miss'
}

function contentLength (fields: Fields, maxBytes: number): number {
  const text = fields.get('content-length')
  if (text === undefined || !/^\d{1,15}$/.test(text)) throw new ShardClientError('protocol', 'the response has no content-length')
  const length = Number(text)
  if (length > maxBytes) throw new ShardClientError('protocol', `the object has ${length} bytes, at most ${maxBytes} are accepted`)
  return length
}

function joined (first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

/** The head of the answer, checked, and what reads the rest. */
interface Begun {
  readonly late: typeof Answers
  readonly response: RelayResponse
  readonly length: number
}

async function begin (session: PooledSession, fields: readonly FieldLine[], request: FetchRequest, signal: AbortSignal, now: () => number): Promise<Begun> {
  const { path, maxBytes, blocks, kept } = request
  const range = blocks === undefined ? request.range : { ...blocks.fetched, start: blocks.fetched.start + (kept?.bytes.length ?? 0) }
  const askedAt = now()
  const asked = session.connection.request({ path, fields: [...rangeFields(range), ...hintFields(request.next), ...fields], signal })
  // The first time they come beside the answer.
  const loading = loadAnswers()
  loading.catch(() => {})
  const response = await asked
  session.answered(now() - askedAt, cacheOf(response.fields.get('cache-status')) === 'hit')
  try {
    const { status, fields: answer } = response
    const late = await loading
    if (status !== 200 && status !== 206) throw await late.problemOf(response)
    const length = contentLength(answer, maxBytes)
    const isWanted = status === 200 || (range !== undefined && isRange(answer, range.start, length) && (range.end === undefined || range.start + length <= range.end))
    if (!isWanted) throw new ShardClientError('protocol', 'the response has another range than the request')
    // A part says of which object it is.
    if (status === 206 && request.verify) late.compare(statedSha256(answer), request.sha256)
    return { response, length, late }
  } catch (error) {
    response.cancel()
    throw error
  }
}

/**
 * One attempt to fetch an object over a session, which is given back; retries are the caller's.
 * @throws ShardClientError, or the reason of the signal
 */
export async function fetchObject (session: PooledSession, request: FetchRequest, sessions: Sessions, platform: ClientPlatform): Promise<ObjectResult> {
  const started = platform.now()
  const { path, range, blocks, signal, token } = request
  const fields: readonly FieldLine[] = token === undefined ? [] : [['authorization', `Bearer ${token}`]]
  const abort = linkedAbort(signal)
  const stall = stallTimer(abort, request, session, platform)
  let begun: Begun
  try {
    begun = await begin(session, fields, request, abort.signal, platform.now)
  } catch (error) {
    abort.stop()
    // Whatever broke after an abort broke because of it.
    const reason = abort.signal.aborted ? abort.signal.reason as unknown : error
    sessions.failed(session, reason)
    sessions.release(session)
    throw reason
  } finally {
    stall.stop()
  }
  const { response, length, late } = begun
  const { status, fields: answer } = response
  const etag = answer.get('etag')
  const kept = status === 206 && blocks !== undefined ? request.kept : undefined
  const before = kept?.bytes.length ?? 0
  const whole = { from: 0, to: length }
  // RFC 9110 §14.2: a server may ignore Range, then the part is cut out here.
  const wanted = status === 206 ? blocks ?? whole : { from: range?.start ?? 0, to: range?.end ?? length }
  const counted = status === 206 ? wanted : whole
  const totalBytes = counted.to - counted.from
  let firstByteMs: number | undefined
  const body = new late.SharedBody({
    path,
    fields,
    signal,
    stallMs: request.stallMs,
    length,
    etag: status === 200 && range === undefined ? etag : undefined,
    onReceived: receivedBytes => {
      firstByteMs ??= platform.now() - started
      request.onProgress?.({ receivedBytes: Math.min(Math.max(0, before + receivedBytes - counted.from), totalBytes), totalBytes })
    }
  }, sessions, platform)
  try {
    await body.read(session, response, abort)
    signal.throwIfAborted()
  } catch (error) {
    // Not all of it: there must be something left to ask for.
    if (kept !== undefined) kept.bytes = joined(kept.bytes, body.bytes.subarray(0, Math.min(length - body.outstanding, length - 1)))
    throw error
  }
  const bytes = kept === undefined ? body.bytes : joined(kept.bytes, body.bytes)
  const verified = await late.isRight(bytes, response, request, platform).catch((error: unknown) => {
    if (kept === undefined || before === 0) throw error
    // It may be what came before: all of it is asked for once more.
    kept.bytes = new Uint8Array(0)
    throw new ShardClientError('truncated', reasonText(error), { cause: error })
  })
  const totalMs = platform.now() - started
  const cacheStatus = answer.get('cache-status')
  return {
    bytes: bytes.subarray(wanted.from, wanted.to),
    status,
    etag,
    cacheStatus,
    cache: cacheOf(cacheStatus),
    verified,
    firstByteMs: firstByteMs ?? totalMs,
    totalMs
  }
}
