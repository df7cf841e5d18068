import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { request, type Dispatcher } from 'undici'

export interface Fetched {
  readonly status: number
  readonly headers: Dispatcher.ResponseData['headers']
  readonly sha256: string
  readonly bytes: number
}

/** GETs a URL, hashing the body as it comes: hundreds of bodies at the same time must not lie in the test's memory. */
export async function fetchHashed (url: string, headers: Record<string, string> = {}, dispatcher?: Dispatcher): Promise<Fetched> {
  const response = await request(url, { headers, ...(dispatcher === undefined ? {} : { dispatcher }), headersTimeout: 60_000, bodyTimeout: 60_000 })
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { status: response.statusCode, headers: response.headers, sha256: hash.digest('hex'), bytes }
}

/** GETs a URL and takes the time: until the first byte of its body, and the last, ms. */
export async function fetchClocked (url: string, headers: Record<string, string> = {}): Promise<Omit<Fetched, 'sha256'> & { readonly firstMs: number, readonly wholeMs: number }> {
  const began = performance.now()
  const response = await request(url, { headers })
  let firstMs = Infinity
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    if (bytes === 0) firstMs = performance.now() - began
    bytes += chunk.length
  }
  return { status: response.statusCode, headers: response.headers, bytes, firstMs, wholeMs: performance.now() - began }
}

export function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Runs `work` over `items`, at most `width` at the same time. */
export async function inParallel<T, R> (items: readonly T[], width: number, work: (item: T, position: number) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, async () => {
    for (const [position, item] of queue) results[position] = await work(item, position)
  }))
  return results
}

interface CacheStats {
  readonly disk: { readonly entries: number, readonly sizeBytes: number, readonly usedBytes: number, readonly reservedBytes: number, readonly condemnedBytes: number, readonly openFiles: number }
  readonly ram: { readonly entries: number, readonly usedBytes: number }
  readonly fills: number
  readonly reconciled: boolean
}

export async function cacheStats (adminUrl: string): Promise<CacheStats> {
  const response = await request(`${adminUrl}/admin/v1/cache`)
  return await response.body.json() as CacheStats
}

/** Longer than anything takes that comes at all, and shorter than the time-outs of most tests, which would not tell what was waited for, ms. */
const IN_VAIN_MS = 100_000

/** Asks until `done`. @throws Error with the last answer when that never comes */
export async function until<T> (ask: () => Promise<T>, done: (value: T) => boolean): Promise<T> {
  const start = performance.now()
  for (;;) {
    const value = await ask()
    if (done(value)) return value
    if (performance.now() - start > IN_VAIN_MS) throw new Error(`waited in vain, still ${JSON.stringify(value)?.slice(0, 500)}`)
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}

/** Value of a metric line, labels as text (`{tier="disk"}`) or ''. */
export async function metric (adminUrl: string, name: string, labels = ''): Promise<number> {
  const text = await (await request(`${adminUrl}/metrics`)).body.text()
  const line = text.split('\n').find(candidate => candidate.startsWith(`${name}${labels} `))
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1))
}

/** Whether something listens on a TCP port of 127.0.0.1. */
export async function accepts (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
