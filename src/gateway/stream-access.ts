import { randomUUID } from 'node:crypto'
import { shortened } from '../base/logged-text.ts'
import { AccessGate, type AccessSettings } from '../channel/access-gate.ts'
import type { AccessKind, AccessRecord } from '../channel/access-record.ts'
import type { SendToRelay } from '../channel/from-gateway.ts'
import { cacheWords } from '../protocol/answer.ts'
import { keyId } from '../protocol/shard-key.ts'
import { parseTraceparent } from '../protocol/trace-context.ts'
import type { TransportSession } from '../protocol/transport-session.ts'
import { AccessReports } from './access-reports.ts'
import type { StreamReport } from './session/session-types.ts'

function accessKind ({ origin }: StreamReport): AccessKind {
  return origin === undefined ? 'other' : origin.hit ? 'hit' : 'miss'
}

/** Whether the response was sent whole, an error or not. */
function isWhole ({ outcome }: StreamReport): boolean {
  return outcome === 'ok' || outcome === 'not-modified' || outcome === 'client-error' || outcome === 'server-error'
}

/** Whether the request was refused, or its response broken off. */
function hasFailed (report: StreamReport): boolean {
  return report.status >= 400 || !isWhole(report)
}

const shown = (field: string | undefined): string | undefined => field === undefined ? undefined : shortened(field)

/**
 * The record of a stream.
 * @param subject of the token
 * @param now wall clock, ms since the epoch
 */
function accessRecord (report: StreamReport, { transport, request: session }: Pick<TransportSession, 'transport' | 'request'>, remote: string, subject: string | undefined, now: number): AccessRecord {
  const { asked, requestId = randomUUID(), key, origin, status, code, bytes, firstByteMs, elapsedMs } = report
  return {
    time: now,
    kind: accessKind(report),
    reqId: requestId,
    remote,
    subject,
    transport,
    version: transport === 'webtransport' ? '3.0' : '1.1',
    method: asked?.method ?? '',
    url: shortened(asked?.path ?? ''),
    object: key === undefined ? undefined : keyId(key),
    range: shown(asked?.range),
    status,
    code,
    complete: isWhole(report),
    bytes,
    cache: origin === undefined ? undefined : cacheWords(origin),
    superNode: origin === undefined || origin.hit ? undefined : origin.node,
    firstByteMs,
    ms: elapsedMs,
    userAgent: shown(asked?.userAgent ?? session.headers['user-agent']),
    traceId: parseTraceparent(asked?.traceparent)?.traceId
  }
}

export interface StreamAccessOptions {
  readonly settings: AccessSettings
  readonly send: SendToRelay
  /** Calls back once after so many ms. */
  readonly after: (ms: number, callback: () => void) => unknown
  /** In [0, 1). */
  readonly random: () => number
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

/** What the gateway tells the access log. Nothing is made of a stream that nobody wants to know of, and nothing of it crosses the channel. */
export class StreamAccess {
  readonly #gate: AccessGate
  readonly #reports: AccessReports
  readonly #now: () => number

  constructor ({ settings, send, after, random, now }: StreamAccessOptions) {
    this.#now = now
    this.#reports = new AccessReports({ send, after })
    this.#gate = new AccessGate({ settings, random, after, leftOut: lines => { this.#reports.leftOut(lines) } })
  }

  /** Records on their way to the relay. */
  get waiting (): number { return this.#reports.waiting }

  /** From now on. */
  use (settings: AccessSettings): void {
    this.#gate.settings = settings
  }

  /** @param remote address of the viewer @param subject of its token */
  ended (report: StreamReport, session: Pick<TransportSession, 'transport' | 'request'>, remote: string, subject: string | undefined): void {
    if (this.#gate.closed) return
    const written = this.#gate.writes(accessKind(report), hasFailed(report))
    if (written || this.#gate.settings.watched) this.#reports.take(accessRecord(report, session, remote, subject, this.#now()), written)
  }
}
