import { pacedReadBytes } from '../../pacing/paced-read.ts'
import { RateBucket } from '../../admission/rate.ts'
import { MAX_FILLING, type FillingObject } from '../../protocol/control-messages.ts'
import { CLOSE_CODE, STREAM_CODE } from '../../protocol/stream-codes.ts'
import type { SessionAction, SessionEvent, SessionLimits, SessionPace, ViewerSessionStats, StreamEvent } from './session-types.ts'
import { ViewerStream } from './viewer-stream.ts'
import type { StreamHost } from './viewer-stream.ts'

const UNPACED: SessionPace = { limited: false, shareBps: () => undefined }

/**
 * One viewer session as a state machine: events in, actions out, time as an argument. It owns every limit, timeout and
 * counter; whoever runs the actions only moves bytes. Every resolved object is released exactly once, never while a read or
 * write of its bytes is outstanding, and every opened stream is reported exactly once.
 */
export class SessionMachine {
  readonly #limits: SessionLimits
  readonly #host: StreamHost
  readonly #requests: RateBucket
  readonly #streams = new Map<string, ViewerStream>()
  readonly #queue = new Set<ViewerStream>()
  /** Streams that wait for nothing but the viewer's FIN, longest first. */
  readonly #lingering = new Set<ViewerStream>()
  #actions: SessionAction[] = []
  #resolving = 0
  #leases = 0
  #opened = 0
  #bytes = 0
  #lastActivity: number
  /** When something was last sent. */
  #lastSent: number
  /** When the viewer was last told of what it waits for, and how many objects of all it was told of since. */
  #toldAt: number
  #told = 0
  #drainAt: number | undefined
  #closed = false

  /**
   * @param now monotonic, milliseconds
   * @param mayRequest whether the address of the viewer may send another request, which is charged when it may
   * @param newRequestId for requests that bring none
   */
  constructor (limits: SessionLimits, now: number, pace: SessionPace = UNPACED, mayRequest: (now: number) => boolean = () => true, newRequestId: () => string = () => 'none') {
    this.#limits = limits
    this.#requests = new RateBucket(limits.requestsPerSecond)
    this.#lastActivity = now
    this.#lastSent = now
    this.#toldAt = now
    this.#host = {
      limits,
      emit: action => {
        if (action.type === 'resolve') this.#resolving++
        if (action.type === 'release') this.#leases--
        this.#actions.push(action)
      },
      newRequestId,
      takeRequest: now => this.#requests.take(now) && mayRequest(now),
      takeTurn: stream => {
        if (this.#resolving < limits.maxResolving) return 'now'
        if (this.#queue.size >= limits.maxQueued) return 'never'
        this.#queue.add(stream)
        return 'later'
      },
      leaveQueue: stream => { this.#queue.delete(stream) },
      paced: () => pace.limited,
      chunkBytes: growth => {
        const leases = Math.max(1, this.#leases)
        const chunk = Math.max(limits.minChunkBytes, Math.min(limits.maxChunkBytes * growth, Math.floor(limits.bufferBytes / leases)))
        const bps = pace.limited ? pace.shareBps() : undefined
        if (bps === undefined) return chunk
        return Math.min(chunk, pacedReadBytes(bps, leases))
      }
    }
  }

  /** Takes one event; the actions must be run in order. An event of a stream that is gone does nothing. */
  handle (event: SessionEvent | StreamEvent, now: number): readonly SessionAction[] {
    this.#actions = []
    if (event.type === 'opened') this.#open(event.id, now)
    else if (event.type === 'tick') this.#tick(now)
    else if (event.type === 'request-rate') this.#requests.perSecond = event.perSecond
    else if (event.type === 'drain') this.#drain(event.deadlineMs, event.alternates, now)
    else if (event.type === 'closed') this.#close(now)
    else this.#onStream(event, now)
    return this.#actions
  }

  stats (): ViewerSessionStats {
    return {
      streams: this.#streams.size - this.#lingering.size,
      resolving: this.#resolving,
      queued: this.#queue.size,
      leases: this.#leases,
      opened: this.#opened,
      bytes: this.#bytes,
      draining: this.#drainAt !== undefined
    }
  }

  #onStream (event: StreamEvent, now: number): void {
    const stream = this.#streams.get(event.id)
    if (stream === undefined) return
    if (event.type === 'written') this.#lastSent = now
    if (event.type === 'resolved' || event.type === 'rejected') this.#resolving--
    if (event.type === 'resolved') this.#leases++
    const { bytes } = stream
    this.#step(stream, () => stream.handle(event, now), now)
    this.#bytes += stream.bytes - bytes
  }

  /** Runs one step of a stream, forgets it when it is done, and gives free turns to those that wait. */
  #step (stream: ViewerStream, step: () => void, now: number): void {
    step()
    if (stream.lingering) this.#lingering.add(stream)
    else this.#lingering.delete(stream)
    if (stream.done) {
      this.#streams.delete(stream.id)
      this.#lastActivity = now
      this.#actions.push({ type: 'forget', id: stream.id })
    }
    while (!this.#closed && this.#resolving < this.#limits.maxResolving) {
      const [next] = this.#queue
      if (next === undefined) break
      this.#queue.delete(next)
      next.resolve(now)
    }
  }

  #open (id: string, now: number): void {
    if (this.#streams.has(id)) return
    this.#opened++
    this.#lastActivity = now
    const stream = new ViewerStream(id, this.#host, now)
    const [oldest] = this.#lingering
    // They must not take the place of requests.
    if (oldest !== undefined && this.#streams.size >= this.#limits.maxStreams) this.#step(oldest, () => { oldest.dismiss() }, now)
    const full = this.#streams.size >= this.#limits.maxStreams
    this.#streams.set(id, stream)
    if (this.#closed || full) {
      return this.#step(stream, () => stream.finish('refused', this.#closed ? STREAM_CODE.stopping : STREAM_CODE.busy, now), now)
    }
    const { retireAfterStreams, retireDeadlineMs } = this.#limits
    if (retireAfterStreams > 0 && this.#opened >= retireAfterStreams) this.#drain(retireDeadlineMs, [], now)
  }

  #tick (now: number): void {
    for (const stream of this.#streams.values()) this.#step(stream, () => stream.tick(now), now)
    if (this.#closed) return
    this.#tellFilling(now)
    if (this.#drainAt !== undefined && now >= this.#drainAt) this.#end(CLOSE_CODE.drained, 'drained', now)
    else if (this.#streams.size === 0 && now - this.#lastActivity >= this.#limits.idleTimeoutMs) this.#end(CLOSE_CODE.idle, 'idle', now)
    else if (now - this.#lastSent >= this.#limits.pingMs) {
      this.#lastSent = now
      this.#actions.push({ type: 'control', message: { type: 'ping' } })
    }
  }

  /** Of more objects than fit, the others the next time. */
  #tellFilling (now: number): void {
    const { fillingMs } = this.#limits
    if (now - this.#toldAt < fillingMs) return
    const waiting = new Map<string, { readonly id: string } & FillingObject>()
    for (const stream of this.#streams.values()) {
      const object = stream.filling(now, fillingMs)
      if (object !== undefined && object.bytes >= (waiting.get(object.path)?.bytes ?? 0)) waiting.set(object.path, { id: stream.id, ...object })
    }
    if (waiting.size === 0) return
    const from = this.#told % waiting.size
    const all = [...waiting.values()]
    const streams = [...all.slice(from), ...all.slice(0, from)].slice(0, MAX_FILLING)
    this.#told = from + streams.length
    this.#toldAt = now
    this.#actions.push({ type: 'filling', streams })
  }

  #drain (deadlineMs: number, alternates: readonly string[], now: number): void {
    // A later drain may only bring the end nearer: the process may not outlive the first promise.
    const at = now + deadlineMs
    if (this.#closed || (this.#drainAt !== undefined && at >= this.#drainAt)) return
    this.#drainAt = at
    this.#actions.push({ type: 'control', message: { type: 'drain', deadlineMs, alternates } })
  }

  #end (code: number, reason: string, now: number): void {
    this.#close(now)
    this.#actions.push({ type: 'close', code, reason })
  }

  #close (now: number): void {
    this.#closed = true
    for (const stream of this.#streams.values()) {
      this.#step(stream, () => {
        stream.finish('session-closed', STREAM_CODE.stopping, now)
        stream.dismiss()
      }, now)
    }
  }
}
