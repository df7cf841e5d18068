import { ShardClientError } from './client-error.ts'
import type { IcnFile, ReadOptions } from './icn-file.ts'
import type { ReadPriority } from './priority-slots.ts'

/** What `fetch` takes of a request; more of it is left alone. */
export interface FileRequestInit {
  /** GET or HEAD. */
  readonly method?: string
  readonly headers?: ConstructorParameters<typeof Headers>[0]
  readonly signal?: AbortSignal | null
  /** As of a read, or as of `fetch` in browsers: `high` is urgent, `low` is background. */
  readonly priority?: ReadPriority | 'high' | 'low' | 'auto'
  readonly onStatistics?: NonNullable<ReadOptions['onStatistics']>
}

const PRIORITIES: Readonly<Partial<Record<NonNullable<FileRequestInit['priority']>, ReadPriority>>> = { high: 'urgent', urgent: 'urgent', low: 'background', background: 'background' }

type Bytes = Required<NonNullable<ReadOptions['range']>>

/** The bytes that a Range field means (RFC 9110 §14.1.2): undefined for all, null when there are none of them. Several ranges, other units and what is malformed are ignored. */
function rangeOf (field: string | null, size: number): Bytes | null | undefined {
  const [, first = '', last = ''] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(field ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  return start < end ? { start, end } : null
}

/** Answers a request for a file as a server would: 200, 206 or 416, streaming. */
export function fileResponse (file: IcnFile, { method = 'GET', headers: sent, signal, priority = 'normal', onStatistics }: FileRequestInit): Response {
  const asked = new Headers(sent)
  const etag = `"sha256-${file.manifest.sha256}"`
  const condition = asked.get('if-range')
  const range = method === 'GET' && (condition === null || condition === etag) ? rangeOf(asked.get('range'), file.size) : undefined
  const { start, end } = range ?? { start: 0, end: file.size }
  const headers = new Headers({ 'accept-ranges': 'bytes', 'content-length': String(end - start), 'content-type': file.type, etag })
  if (range === null) {
    headers.set('content-length', '0')
    headers.set('content-range', `bytes */${file.size}`)
    return new Response(null, { status: 416, statusText: 'Range Not Satisfiable', headers })
  }
  if (range !== undefined) headers.set('content-range', `bytes ${start}-${end - 1}/${file.size}`)
  const body = method === 'HEAD' ? null : file.stream({ range: { start, end }, priority: PRIORITIES[priority] ?? 'normal', ...signal != null && { signal }, ...onStatistics !== undefined && { onStatistics } })
  return new Response(body, range === undefined ? { status: 200, statusText: 'OK', headers } : { status: 206, statusText: 'Partial Content', headers })
}

/** The answer for a file that the relay refuses, as the relay gave it; undefined for what no server answers. */
export function problemResponse (error: unknown): Response | undefined {
  if (!(error instanceof ShardClientError) || error.fault !== 'status' || error.status === undefined) return undefined
  const { status, code, message, retryAfterMs } = error
  const headers = new Headers({ 'content-type': 'application/problem+json' })
  if (retryAfterMs !== undefined) headers.set('retry-after', String(Math.ceil(retryAfterMs / 1000)))
  return new Response(JSON.stringify({ status, code, detail: message }), { status, headers })
}
