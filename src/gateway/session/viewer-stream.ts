import { RelayError } from '../../base/errors.ts'
import { planAnswer, unsatisfiedField, type AnswerContext, type Field, type ObjectFacts } from '../../protocol/answer.ts'
import type { FillingObject } from '../../protocol/control-messages.ts'
import { parsePrefetchHint, PREFETCH_FIELD } from '../../protocol/prefetch-hint.ts'
import { parseRangeHeader } from '../../protocol/range.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import type { RequestField } from '../../protocol/request-fields.ts'
import { parseShardPath } from '../../protocol/shard-key.ts'
import { parseTraceparent, takenRequestId } from '../../protocol/trace-context.ts'
import { STREAM_CODE } from '../../protocol/stream-codes.ts'
import { BodyReader, type ReadHost } from './body-reader.ts'
import { RequestReader } from './request-codec.ts'
import type { ViewerRequest } from './request-codec.ts'
import { encodeAnswer, encodeProblem, type EncodedAnswer } from './response.ts'
import type { StreamOutcome } from '../../channel/gateway-counters.ts'
import type { SessionLimits, StreamEvent } from './session-types.ts'
import { StreamRecord } from './stream-record.ts'

/** What a stream needs of its session. */
export interface StreamHost extends ReadHost {
  readonly limits: SessionLimits
  /** For a request that brings none. */
  newRequestId (): string
  /** Counts a complete request; false when there were too many lately. */
  takeRequest (now: number): boolean
  /** The request is complete: `now` resolves immediately, `later` calls {@link ViewerStream.resolve}, `never` has no room. */
  takeTurn (stream: ViewerStream): 'now' | 'later' | 'never'
  /** The stream no longer wants the turn it waits for. */
  leaveQueue (stream: ViewerStream): void
}

/**
 * head: request incomplete; queued, resolving: object not there yet; sending: response under way; ending: FIN not yet
 * accepted; over: reported, perhaps with something outstanding.
 */
type Phase = 'head' | 'queued' | 'resolving' | 'sending' | 'ending' | 'over'

/** One request and its response as a state machine: events in, actions out through the host, `now` as an argument. */
export class ViewerStream {
  readonly id: string
  readonly #host: StreamHost
  readonly #reader = new RequestReader()
  #phase: Phase = 'head'
  /** When the current wait began: for the head, a turn, the source, or the viewer. */
  #since: number
  #spec: RangeSpec | undefined
  /** Head of the response while unsent; it leaves with the first bytes of the body, so that a late error still gets a status. */
  #head: Uint8Array | undefined
  readonly #body: BodyReader
  #resolving = false
  #writing = false
  #leased = false
  #unsent = 0
  #unsentOfObject = 0
  /** How much larger than the least the next read may be. */
  #growth = 1
  /** The viewer's half is over or was refused. */
  #quiet = false
  /** When the stream was reported; from then on it only waits for the viewer's half to end. */
  #overAt: number | undefined
  readonly #record = new StreamRecord()

  constructor (id: string, host: StreamHost, now: number) {
    this.id = id
    this.#host = host
    this.#since = now
    this.#body = new BodyReader(id, host)
  }

  get bytes (): number { return this.#record.bytes }
  /** Reported, and the viewer's half has not ended yet. */
  get lingering (): boolean { return this.#phase === 'over' && !this.#quiet }
  /** Reported, released, nothing outstanding, and the viewer's half is over. */
  get done (): boolean { return this.#phase === 'over' && this.#quiet && !this.#resolving && !this.#body.busy && !this.#writing }

  handle (event: StreamEvent, now: number): void {
    switch (event.type) {
      case 'bytes': this.#receive(() => this.#reader.push(event.chunk), now); break
      case 'fin':
        this.#quiet = true
        if (this.#phase === 'head') this.#receive(() => this.#reader.end(), now)
        break
      case 'peer-reset':
        this.#quiet = true
        this.finish('cancelled', STREAM_CODE.cancelled, now)
        break
      case 'peer-stopped': this.finish('cancelled', STREAM_CODE.cancelled, now); break
      case 'resolved': this.#resolved(event.facts, event.context, now); break
      case 'rejected':
        this.#resolving = false
        if (this.#phase === 'resolving') this.#problem(event.error, now)
        break
      case 'admitted': this.#body.admitted(event.bytes, now); break
      case 'read': this.#read(event.chunk, now); break
      case 'admit-failed': case 'read-failed':
        this.#body.failed()
        if (this.#body.active) this.#broken(event.error, now)
        break
      case 'written': this.#written(now); break
      case 'write-failed':
        this.#writing = false
        this.finish('cancelled', STREAM_CODE.cancelled, now)
        break
    }
    this.#release()
  }

  /** Ends what has waited too long. */
  tick (now: number): void {
    const { requestTimeoutMs, writeStallMs, sourceStallMs, finWaitMs } = this.#host.limits
    if (this.#overAt !== undefined && now - this.#overAt >= finWaitMs) this.dismiss()
    const waited = now - this.#since
    if (this.#phase === 'head' && waited >= requestTimeoutMs) {
      this.#problem(new RelayError('RELAY_ERR_REQUEST_TIMEOUT', `the request was not complete after ${requestTimeoutMs} ms`), now)
    } else if ((this.#phase === 'queued' || this.#phase === 'resolving') && waited >= sourceStallMs) {
      this.#abort()
      this.#problem(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `the object was not there after ${sourceStallMs} ms`), now)
    } else if (this.#body.stalled(now, sourceStallMs)) {
      this.#abort()
      this.#broken(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `no bytes of the object came for ${sourceStallMs} ms`), now)
    } else if (this.#writing && this.#phase !== 'over' && waited >= writeStallMs) {
      this.finish('stalled', STREAM_CODE.stalled, now)
    }
    this.#release()
  }

  /** What the viewer has been waiting for so long, and the source is not done with; undefined when it waits for nothing. */
  filling (now: number, ms: number): FillingObject | undefined {
    const { request, key } = this.#record
    if (request === undefined || key === undefined) return undefined
    if (this.#body.stalled(now, ms)) return { path: request.path, bytes: this.#body.position }
    return (this.#phase === 'queued' || this.#phase === 'resolving') && now - this.#since >= ms ? { path: request.path, bytes: 0 } : undefined
  }

  /** The turn has come. */
  resolve (now: number): void {
    const { key } = this.#record
    if (key === undefined || this.#phase === 'over') return
    this.#phase = 'resolving'
    this.#since = now
    this.#resolving = true
    const next = parsePrefetchHint(this.#record.request?.fields.get(PREFETCH_FIELD))
    this.#host.emit({ type: 'resolve', id: this.id, request: { key, range: this.#spec, trace: { id: this.#requestId(), trace: parseTraceparent(this.#record.request?.fields.get('traceparent')) }, token: this.#record.request?.token, ...next.length === 0 ? {} : { next } } })
  }

  /** Waits no longer for the viewer's half of a stream that is over otherwise. */
  dismiss (): void {
    if (this.#phase === 'over') this.#refuseInput(STREAM_CODE.unwanted)
  }

  /**
   * Ends the stream, by reset when a code is given, and reports it; later calls do nothing. After a whole response the viewer's FIN is
   * awaited: it is often on its way, and STOP_SENDING would make the viewer's own close of the stream an error.
   */
  finish (outcome: StreamOutcome, resetCode: number | undefined, now: number): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#overAt = now
    this.#body.stop()
    this.#host.leaveQueue(this)
    this.#abort()
    if (resetCode !== undefined) {
      this.#host.emit({ type: 'reset', id: this.id, code: resetCode })
      this.#refuseInput(resetCode)
    }
    this.#host.emit({ type: 'report', id: this.id, report: this.#record.report(outcome, resetCode === undefined, now) })
    this.#release()
  }

  #receive (read: () => ViewerRequest | undefined, now: number): void {
    // The viewer has nothing more to say once its head is complete; more bytes would be held for nobody.
    if (this.#phase !== 'head') return this.#refuseInput(STREAM_CODE.unwanted)
    try {
      this.#record.request = read()
      if (this.#record.request === undefined) return
      this.#record.headEnded(now)
      this.#record.requestId = takenRequestId(this.#record.request.fields.get('x-request-id'))
      if (!this.#host.takeRequest(now)) throw new RelayError('RELAY_ERR_RATE_LIMITED', 'too many requests in a second')
      this.#record.key = parseShardPath(this.#record.request.path)
      // RFC 9110 §14.2: Range is defined for GET only.
      if (this.#record.request.method === 'GET') this.#spec = parseRangeHeader(this.#record.request.fields.get('range'))
    } catch (error) {
      return this.#problem(error, now)
    }
    this.#phase = 'queued'
    this.#since = now
    const turn = this.#host.takeTurn(this)
    if (turn === 'now') this.resolve(now)
    if (turn === 'never') this.#problem(new RelayError('RELAY_ERR_RATE_LIMITED', 'too many requests wait in this session'), now)
  }

  #resolved (facts: ObjectFacts, context: Omit<AnswerContext, 'openMs'>, now: number): void {
    this.#resolving = false
    this.#leased = true
    const { key } = this.#record
    if (this.#phase !== 'resolving' || this.#record.request === undefined || key === undefined) return
    this.#record.origin = facts.origin
    const { method, fields } = this.#record.request
    const request = { method, part: key.part, range: this.#spec, field: (name: RequestField) => fields.get(name) }
    let answer: EncodedAnswer
    try {
      answer = encodeAnswer(planAnswer(request, facts, { ...context, openMs: now - this.#since }), facts.size, ['x-request-id', this.#requestId()])
    } catch (error) {
      return this.#problem(error, now, [unsatisfiedField(facts.size)])
    }
    this.#respond(answer, now)
  }

  /** @param fields that go with the answer besides those of every problem */
  #problem (error: unknown, now: number, fields: readonly Field[] = []): void {
    this.#host.leaveQueue(this)
    this.#record.failed(error)
    this.#record.headEnded(now)
    if (this.#record.request === undefined) this.#refuseInput(STREAM_CODE.unwanted)
    this.#respond(encodeProblem(error, this.#record.request?.method, [...fields, ['x-request-id', this.#requestId()]]), now)
  }

  #respond (answer: EncodedAnswer, now: number): void {
    this.#phase = 'sending'
    this.#record.status = answer.status
    this.#head = answer.head
    if (answer.range !== undefined) {
      this.#body.start(answer.range)
      return this.#body.next(now)
    }
    this.#release()
    this.#write(answer.inline ?? new Uint8Array(0), now)
  }

  #read (chunk: Uint8Array, now: number): void {
    const taken = this.#body.take(chunk)
    if (taken === 'broken') this.#broken(new RelayError('RELAY_ERR_INTERNAL', 'the object source broke its contract'), now)
    else if (taken !== undefined) this.#write(taken, now)
  }

  /** The object cannot be read to its end: a status while nothing has been sent, a reset after that. */
  #broken (error: unknown, now: number): void {
    this.#body.stop()
    if (this.#head !== undefined) return this.#problem(error, now)
    this.#record.failed(error)
    this.finish('broken', this.#record.code === 'RELAY_ERR_UPSTREAM_CORRUPT' ? STREAM_CODE.corrupt : STREAM_CODE.unfinished, now)
  }

  #write (body: Uint8Array, now: number): void {
    const chunk = this.#head === undefined ? body : joined(this.#head, body)
    this.#head = undefined
    this.#writing = true
    this.#since = now
    this.#unsent = chunk.length
    this.#unsentOfObject = this.#leased && this.#body.active ? body.length : 0
    this.#host.emit({ type: 'write', id: this.id, chunk })
  }

  #written (now: number): void {
    this.#writing = false
    this.#record.wrote(this.#unsent, this.#unsentOfObject, now)
    this.#unsent = 0
    this.#unsentOfObject = 0
    if (this.#phase === 'ending') return this.finish(this.#record.ending(), undefined, now)
    if (this.#phase !== 'sending') return
    const { quickWriteMs, maxGrowth } = this.#host.limits
    this.#growth = now - this.#since <= quickWriteMs ? Math.min(maxGrowth, this.#growth * 2) : 1
    if (this.#body.active && !this.#body.complete) return this.#body.next(now, this.#growth)
    this.#body.stop()
    this.#release()
    this.#phase = 'ending'
    this.#writing = true
    this.#since = now
    this.#host.emit({ type: 'end', id: this.id })
  }

  #requestId (): string {
    this.#record.requestId ??= this.#host.newRequestId()
    return this.#record.requestId
  }

  #abort (): void {
    if (this.#resolving || this.#body.busy) this.#host.emit({ type: 'abort', id: this.id })
  }

  /** Gives the object back as soon as none of its bytes are in use. */
  #release (): void {
    if (!this.#leased || this.#body.active || this.#body.reading || this.#writing) return
    this.#leased = false
    this.#host.emit({ type: 'release', id: this.id })
  }

  #refuseInput (code: number): void {
    if (this.#quiet) return
    this.#quiet = true
    this.#host.emit({ type: 'cancel', id: this.id, code })
  }
}

function joined (first: Uint8Array, second: Uint8Array): Uint8Array {
  if (second.length === 0) return first
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}
