import type { FieldLine, Fields } from '../wire/message-head.ts'
import { hexOf } from '../wire/repr-digest.ts'
import { ShardClientError } from './client-error.ts'
import { statedSha256 } from './digest.ts'
import type { ClientPlatform } from './platform.ts'
import type { Road, RoadResponse } from './road.ts'
import { linkedAbort } from './waiting.ts'

/** Bytes of an object: `start` inclusive, `end` exclusive, no end for the rest. */
export interface ClientRange {
  readonly start: number
  readonly end?: number
}

export interface ObjectRequest {
  readonly path: string
  readonly range: ClientRange | undefined
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
}

export interface ObjectResult {
  readonly bytes: Uint8Array
  /** 200 or 206. */
  readonly status: number
  readonly etag: string | undefined
  /** RFC 9211 field value. */
  readonly cacheStatus: string | undefined
  readonly cache: 'hit' | 'miss' | 'unknown'
  /** SHA-256 of the whole object was right; false for ranges, and where there was no hash or no way to compute one. */
  readonly verified: boolean
  /** Milliseconds from the start of the request to the first byte of the body. */
  readonly firstByteMs: number
  /** Milliseconds from the start of the request to its verified end. */
  readonly totalMs: number
}

/** Longest problem document read; the relay's are under 1 KiB. */
const MAX_PROBLEM_BYTES = 16_384

function requestFields (request: ObjectRequest): FieldLine[] {
  const fields: FieldLine[] = []
  if (request.range !== undefined) fields.push(['range', `bytes=${request.range.start}-${request.range.end === undefined ? '' : request.range.end - 1}`])
  if (request.token !== undefined) fields.push(['authorization', `Bearer ${request.token}`])
  return fields
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

/** Content-Range must say what was asked for: bytes of another place would pass for the right ones. */
function checkContentRange (fields: Fields, range: ClientRange | undefined, length: number): void {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(fields.get('content-range') ?? '')
  const [first, last] = [Number(match?.[1]), Number(match?.[2])]
  const fits = match !== null && range !== undefined && first === range.start && last - first + 1 === length && (range.end === undefined || last < range.end)
  if (!fits) throw new ShardClientError('protocol', 'the response has another range than the request')
}

async function readBody (response: RoadResponse, length: number, moved: (received: number) => void): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let received = 0
  for (let chunk = await response.read(); chunk !== null; chunk = await response.read()) {
    if (received + chunk.length > length) throw new ShardClientError('protocol', 'the body is longer than its content-length')
    bytes.set(chunk, received)
    received += chunk.length
    moved(received)
  }
  if (received < length) throw new ShardClientError('truncated', `the body ended after ${received} of ${length} bytes`)
  return bytes
}

async function problemOf (response: RoadResponse): Promise<ShardClientError> {
  const parts: Uint8Array[] = []
  let size = 0
  for (let chunk = await response.read(); chunk !== null && size <= MAX_PROBLEM_BYTES; chunk = await response.read()) {
    parts.push(chunk)
    size += chunk.length
  }
  let problem: { readonly code?: unknown, readonly detail?: unknown } = {}
  try {
    const decoder = new TextDecoder()
    const value: unknown = JSON.parse(parts.map((part) => decoder.decode(part, { stream: true })).join(''))
    if (typeof value === 'object' && value !== null) problem = value
  } catch {
    // A proxy on the way may answer with something else; the status says enough.
  }
  const { status, fields } = response
  const retryAfter = /^\d{1,5}$/.exec(fields.get('retry-after') ?? '')?.[0]
  return new ShardClientError('status', typeof problem.detail === 'string' ? problem.detail : `the relay answered with status ${status}`, {
    status,
    ...(typeof problem.code === 'string' && { code: problem.code }),
    ...(retryAfter !== undefined && { retryAfterMs: Number(retryAfter) * 1000 })
  })
}

async function verified (bytes: Uint8Array, expected: string | undefined, platform: ClientPlatform): Promise<boolean> {
  if (expected === undefined || platform.sha256 === undefined) return false
  const actual = hexOf(await platform.sha256(bytes))
  if (actual !== expected) throw new ShardClientError('digest', `the object hashes to ${actual}, not to ${expected}`)
  return true
}

/**
 * One attempt to fetch an object; retries are the caller's.
 * @throws ShardClientError, or the reason of the signal
 */
export async function fetchObject (road: Road, request: ObjectRequest, platform: ClientPlatform): Promise<ObjectResult> {
  const started = platform.now()
  const abort = linkedAbort(request.signal)
  let cancelStall = (): void => {}
  const progress = (): void => {
    cancelStall()
    cancelStall = platform.after(request.stallMs, () => abort.abort(new ShardClientError('stalled', `nothing came for ${request.stallMs} ms`)))
  }
  progress()
  let response: RoadResponse | undefined
  try {
    response = await road.request({ path: request.path, fields: requestFields(request), signal: abort.signal })
    progress()
    const { status, fields } = response
    if (status !== 200 && status !== 206) throw await problemOf(response)
    const length = contentLength(fields, request.maxBytes)
    if (status === 206) checkContentRange(fields, request.range, length)
    let firstByteMs: number | undefined
    const whole = await readBody(response, length, (receivedBytes) => {
      firstByteMs ??= platform.now() - started
      progress()
      request.onProgress?.({ receivedBytes, totalBytes: length })
    })
    response = undefined
    const expected = request.sha256 ?? statedSha256(fields)
    const isVerified = status === 200 && request.verify && await verified(whole, expected, platform)
    const totalMs = platform.now() - started
    const cacheStatus = fields.get('cache-status')
    return {
      // RFC 9110 §14.2: a server may ignore Range, then the part is cut out here.
      bytes: status === 200 && request.range !== undefined ? whole.subarray(request.range.start, request.range.end) : whole,
      status,
      etag: fields.get('etag'),
      cacheStatus,
      cache: cacheOf(cacheStatus),
      verified: isVerified,
      firstByteMs: firstByteMs ?? totalMs,
      totalMs
    }
  } catch (error) {
    response?.cancel()
    // Whatever broke after an abort broke because of it.
    abort.signal.throwIfAborted()
    throw error
  } finally {
    cancelStall()
    abort.stop()
  }
}
