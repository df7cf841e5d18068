import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks'
import type { StoredObject } from './catalog.ts'
import type { Faults } from './faults.ts'

/** Bytes handed to the socket in one go; waits for `drain` between them, so a slow reader costs one of these. */
const WRITE_BYTES = 262_144
/** A paced body is sent in about this many pieces a second. */
const PACE_HZ = 50

interface Span { readonly start: number, readonly end: number }

/** The one range asked for; undefined when the header is absent, malformed or has several (then the whole is sent, RFC 9110 14.2). */
function parseRange (header: string | undefined, size: number): Span | 'unsatisfiable' | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size }
  }
  const start = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  if (last !== '' && Number(last) < start) return undefined
  return start >= size ? 'unsatisfiable' : { start, end }
}

function digestHeader (sha256: Buffer, wrong: boolean): string {
  const value = Buffer.from(sha256)
  if (wrong) value.writeUInt8(value.readUInt8(0) ^ 0xff, 0)
  return `sha-256=:${value.toString('base64')}:`
}

/** Sends a small JSON answer. */
export function sendJson (response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

/** Sends JSON that is asked for again and again: whoever has it already, by its etag, is told so. */
export function sendList (request: IncomingMessage, response: ServerResponse, value: unknown): void {
  const etag = `"${createHash('sha256').update(JSON.stringify(value)).digest('hex')}"`
  response.setHeader('etag', etag)
  if (request.headers['if-none-match'] === etag) response.writeHead(304).end()
  else sendJson(response, 200, value)
}

/**
 * Answers GET or HEAD for an object, faults included. Resolves when the body is handed to the kernel, the peer has left, or a
 * fault ended it.
 * @param onBytes called with the number of body bytes just written
 */
export async function sendObject (request: IncomingMessage, response: ServerResponse, object: StoredObject, faults: Faults, onBytes: (count: number) => void): Promise<void> {
  const size = object.bytes.length
  const etag = `"sha256-${object.sha256.toString('hex')}"`
  const ifRange = request.headers['if-range']
  const wanted = request.method === 'GET' && (ifRange === undefined || ifRange === etag) ? parseRange(request.headers.range, size) : undefined
  if (wanted === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${size}`, 'content-length': 0 }).end()
    return
  }
  const { start, end } = wanted ?? { start: 0, end: size }
  response.statusCode = wanted === undefined ? 200 : 206
  response.setHeader('content-type', object.contentType)
  response.setHeader('accept-ranges', 'bytes')
  response.setHeader('etag', etag)
  if (faults.noDigest !== true) response.setHeader('repr-digest', digestHeader(object.sha256, faults.wrongDigest === true))
  if (wanted !== undefined) response.setHeader('content-range', `bytes ${start}-${end - 1}/${size}`)
  if (faults.noContentLength !== true) response.setHeader('content-length', end - start)
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  await sendBody(response, faults.corrupt === true ? corrupted(object.bytes.subarray(start, end)) : object.bytes.subarray(start, end), faults, onBytes)
}

function corrupted (bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  const middle = copy.length >> 1
  copy.writeUInt8(copy.readUInt8(middle) ^ 1, middle)
  return copy
}

async function sendBody (response: ServerResponse, bytes: Buffer, faults: Faults, onBytes: (count: number) => void): Promise<void> {
  const { truncateAtBytes = Infinity, stallAtBytes = Infinity, bytesPerSecond } = faults
  const limit = Math.min(bytes.length, truncateAtBytes, stallAtBytes)
  const step = bytesPerSecond === undefined ? WRITE_BYTES : Math.min(WRITE_BYTES, Math.max(1, Math.round(bytesPerSecond / PACE_HZ)))
  const startedAt = performance.now()
  response.flushHeaders()
  for (let at = 0; at < limit; at += step) {
    if (bytesPerSecond !== undefined) await pause(response, startedAt + (at / bytesPerSecond) * 1000 - performance.now())
    if (response.destroyed) return
    const piece = bytes.subarray(at, Math.min(at + step, limit))
    await write(response, piece)
    onBytes(piece.length)
  }
  if (limit === bytes.length) response.end()
  // destroySoon() lets the bytes already written leave first: the peer sees exactly this many, then the end.
  else if (truncateAtBytes <= stallAtBytes) response.socket?.destroySoon()
}

async function write (response: ServerResponse, piece: Buffer): Promise<void> {
  await untilClosed(response, done => { response.write(piece, done) })
}

/** Waits `ms`, or less when the peer leaves: no timer outlives its request. */
export async function pause (response: ServerResponse, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await untilClosed(response, done => { timer = setTimeout(done, ms) })
  clearTimeout(timer)
}

async function untilClosed (response: ServerResponse, start: (done: () => void) => void): Promise<void> {
  if (response.destroyed) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      response.off('close', done)
      resolve()
    }
    response.once('close', done)
    start(done)
  })
}
