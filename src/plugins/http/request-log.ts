import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { loggedUrl, shortened } from '../../base/logged-text.ts'
import type { AccessGate } from '../../channel/access-gate.ts'
import type { AccessKind, AccessRecord } from '../../channel/access-record.ts'
import { cacheWords, type ObjectFacts } from '../../protocol/answer.ts'
import { keyId, keyOfPath, type ShardKey } from '../../protocol/shard-key.ts'
import { unknownMethodOf } from './secure-server.ts'

/** What a listener needs of the access log. */
export interface RequestLogTarget {
  readonly gate: AccessGate
  take (record: AccessRecord, written: boolean): void
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The object that is the answer; null while there is none. */
    opened: Pick<ObjectFacts, 'origin'> & { readonly key: ShardKey } | null
    /** RELAY_ERR_* of the answer; empty when it is none. */
    problemCode: string
    /** Of the body, where the answer counts what goes out; otherwise -1. */
    sentBytes: number
    /** From the request to the first byte of the body, ms; -1 when there was none. */
    firstByteMs: number
  }
}

const SCRAPES: ReadonlySet<string | undefined> = new Set(['/health', '/ready', '/metrics', '/admin/v1/summary'])

/** A field as a line may hold it. */
const shown = (field: string | string[] | undefined): string | undefined => typeof field === 'string' ? shortened(field) : undefined

const NOTHING_KNOWN = { opened: null, problemCode: '', sentBytes: -1, firstByteMs: -1 } as const

/** Gives the requests of an instance their place for what the access log wants to know. */
export function rememberForLog (app: FastifyInstance): void {
  app.decorateRequest('opened', null)
  app.decorateRequest('problemCode', NOTHING_KNOWN.problemCode)
  app.decorateRequest('sentBytes', NOTHING_KNOWN.sentBytes)
  app.decorateRequest('firstByteMs', NOTHING_KNOWN.firstByteMs)
}

/** The same for a request that Fastify refuses before it is one of an instance. */
export function rememberRefused (request: FastifyRequest): void {
  Object.assign(request, NOTHING_KNOWN)
}

/** What both listeners tell the access log; nothing is made for a response that nobody wants to know of. */
export class RequestLog {
  readonly #target: RequestLogTarget
  readonly #listener: 'viewer' | 'admin'

  constructor (target: RequestLogTarget, listener: 'viewer' | 'admin') {
    this.#target = target
    this.#listener = listener
  }

  /**
   * The response has ended, or was broken off.
   * @param remote address of whoever asked: a socket that is closed does not know its peer any more
   */
  ended (request: FastifyRequest, reply: FastifyReply, remote: string): void {
    const { gate } = this.#target
    if (gate.closed) return
    const kind = this.#kindOf(request)
    const written = gate.writes(kind, reply.statusCode >= 400 || !reply.raw.writableFinished)
    if (written || gate.settings.watched) this.#target.take(this.#record(request, reply, kind, remote), written)
  }

  #kindOf ({ opened, routeOptions }: FastifyRequest): AccessKind {
    if (this.#listener === 'admin') return SCRAPES.has(routeOptions.url) ? 'scrape' : 'admin'
    return opened === null ? 'other' : opened.origin.hit ? 'hit' : 'miss'
  }

  #record (request: FastifyRequest, reply: FastifyReply, kind: AccessKind, remote: string): AccessRecord {
    const { opened, problemCode, firstByteMs, admitted, raw, url, trace } = request
    const { range, referer, 'user-agent': userAgent } = raw.headers
    const complete = reply.raw.writableFinished
    const key = opened?.key ?? (this.#listener === 'viewer' ? keyOfPath(url.split('?', 1)[0] ?? '') : undefined)
    return {
      time: this.#target.now(),
      kind,
      reqId: request.id,
      remote,
      subject: admitted?.identity,
      transport: 'http',
      version: raw.httpVersion,
      method: shortened(unknownMethodOf(raw) ?? request.method),
      url: loggedUrl(url),
      object: key === undefined ? undefined : keyId(key),
      range: shown(range),
      status: reply.statusCode,
      code: problemCode === '' ? undefined : problemCode,
      complete,
      bytes: bytesOf(request, reply, complete),
      cache: opened === null ? undefined : cacheWords(opened.origin),
      superNode: opened === null || opened.origin.hit ? undefined : opened.origin.node,
      firstByteMs: firstByteMs < 0 ? undefined : firstByteMs,
      ms: reply.elapsedTime,
      userAgent: shown(userAgent),
      referer: referer === undefined ? undefined : loggedUrl(referer),
      traceId: trace?.traceId
    }
  }
}

/** What went out of the body; of one that nobody counts, all of it or nothing. */
function bytesOf ({ sentBytes, method }: FastifyRequest, reply: FastifyReply, complete: boolean): number {
  if (sentBytes >= 0) return sentBytes
  if (!complete || method === 'HEAD' || reply.statusCode === 304) return 0
  return Number(reply.getHeader('content-length') ?? 0)
}
