import type { Readable } from 'node:stream'
import type { Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { EventStream } from '../../base/event-stream.ts'
import type { AccessRecord } from '../../channel/access-record.ts'
import { jsonOf } from './json-line.ts'
import { recordFilter, type StreamFilter } from './record-filter.ts'

/** Listeners at the same time. */
export const MAX_LISTENERS = 16
/** What a listener may be behind before it loses records, bytes: some five hundred of them. */
export const BEHIND_BYTES = 256 * 1024

interface RecordListener {
  readonly events: EventStream
  readonly wants: ReturnType<typeof recordFilter>
  /** Records since the last that it got. */
  lost: number
}

export interface RecordStreamOptions {
  readonly timers: Timers
  /** Told when somebody begins to listen, and when nobody does any more. */
  readonly watched: (watched: boolean) => void
}

/** Records as server-sent events, while they are made. A slow listener loses some, and is told how many; nobody else notices. */
export class RecordStream {
  readonly #options: RecordStreamOptions
  readonly #listeners = new Set<RecordListener>()
  #closed = false
  #lost = 0

  constructor (options: RecordStreamOptions) {
    this.#options = options
  }

  get listeners (): number { return this.#listeners.size }
  /** Records that a listener has lost, in all. */
  get lost (): number { return this.#lost }

  /** @throws RelayError RELAY_ERR_EVENTS_BUSY, RELAY_ERR_STOPPING */
  listen (filter: StreamFilter): Readable {
    if (this.#closed) throw new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    if (this.#listeners.size >= MAX_LISTENERS) throw new RelayError('RELAY_ERR_EVENTS_BUSY', `${this.#listeners.size} listen to the access log already`)
    const events = new EventStream({
      behindBytes: BEHIND_BYTES,
      timers: this.#options.timers,
      closed: () => {
        this.#listeners.delete(listener)
        if (this.#listeners.size === 0) this.#options.watched(false)
      }
    })
    const listener: RecordListener = { events, wants: recordFilter(filter), lost: 0 }
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.#options.watched(true)
    // Otherwise the head of the answer waits for the first record.
    events.comment()
    return events.stream
  }

  take (record: AccessRecord, remote: string): void {
    let json: string | undefined
    for (const listener of this.#listeners) {
      if (!listener.wants(record, remote)) continue
      if (listener.lost > 0) this.#tell(listener)
      if (listener.lost === 0 && listener.events.send('request', json ??= jsonOf(record, remote))) continue
      listener.lost++
      this.#lost++
    }
  }

  /** Records that were lost before they came here, such as those of a gateway with too many of them. */
  missed (records: number): void {
    for (const listener of this.#listeners) {
      listener.lost += records
      this.#tell(listener)
    }
  }

  /** Ends every stream. */
  close (): void {
    this.#closed = true
    for (const { events } of this.#listeners) events.cut()
  }

  #tell (listener: RecordListener): void {
    // Told before the next record, so that the gap is where it was.
    if (listener.events.send('lost', `{"records":${listener.lost}}`)) listener.lost = 0
  }
}
