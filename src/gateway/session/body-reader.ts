import type { ByteRange } from '../../protocol/range.ts'
import type { SessionAction } from './session-types.ts'

/** What reading a body needs of its session. */
export interface ReadHost {
  emit (action: SessionAction): void
  /** Bytes one read may ask for; a viewer that takes them quickly gets several times as many. */
  chunkBytes (growth: number): number
  /** Whether bytes have to be admitted before they are read. */
  paced (): boolean
}

/**
 * The bytes of the held object that a response sends, piece by piece: each is admitted, where bandwidth is limited, and then read.
 * While a piece waits to be admitted neither the source nor the viewer is late.
 */
export class BodyReader {
  readonly #id: string
  readonly #host: ReadHost
  /** Whether the response still wants bytes of the object. */
  #active = false
  #position = 0
  #end = 0
  #requested = 0
  /** Bytes admitted and not read yet. */
  #admitted = 0
  #admitting = false
  /** When the outstanding read began. */
  #readingSince: number | undefined

  constructor (id: string, host: ReadHost) {
    this.#id = id
    this.#host = host
  }

  /** Byte of the object that is read next. */
  get position (): number { return this.#position }
  get active (): boolean { return this.#active }
  get reading (): boolean { return this.#readingSince !== undefined }
  /** Something is outstanding. */
  get busy (): boolean { return this.#admitting || this.reading }
  /** Every byte has been read. */
  get complete (): boolean { return this.#position >= this.#end }

  start (range: ByteRange): void {
    this.#active = true
    this.#position = range.start
    this.#end = range.end
  }

  /** Wants nothing more; what is outstanding settles as unused. */
  stop (): void {
    this.#active = false
  }

  /** @param growth 1 or more, for viewers that take what they get quickly */
  next (now: number, growth = 1): void {
    this.#requested = Math.min(this.#host.chunkBytes(growth), this.#end - this.#position)
    if (!this.#host.paced()) return this.#read(now)
    this.#admitting = true
    this.#host.emit({ type: 'admit', id: this.#id, maxBytes: this.#requested })
  }

  admitted (bytes: number, now: number): void {
    this.#admitting = false
    this.#admitted = bytes
    if (!this.#active) return this.#spend(0)
    this.#requested = Math.min(this.#requested, bytes)
    this.#read(now)
  }

  /** The piece that was read, for sending; undefined when it is not wanted any more, `broken` when the source broke its contract. */
  take (chunk: Uint8Array): Uint8Array | 'broken' | undefined {
    this.#readingSince = undefined
    this.#spend(this.#active ? chunk.length : 0)
    if (!this.#active) return undefined
    if (chunk.length === 0 || chunk.length > this.#requested) return 'broken'
    this.#position += chunk.length
    return chunk
  }

  /** What was outstanding came to nothing. */
  failed (): void {
    this.#admitting = false
    this.#readingSince = undefined
    this.#spend(0)
  }

  /** Whether wanted bytes have been awaited from the source for so long. */
  stalled (now: number, limitMs: number): boolean {
    return this.#active && this.#readingSince !== undefined && now - this.#readingSince >= limitMs
  }

  #read (now: number): void {
    this.#readingSince = now
    this.#host.emit({ type: 'read', id: this.#id, position: this.#position, maxBytes: this.#requested })
  }

  /** What was admitted and is not used goes back to the viewer. */
  #spend (bytes: number): void {
    const rest = this.#admitted - bytes
    this.#admitted = 0
    if (rest > 0) this.#host.emit({ type: 'give-back', id: this.#id, bytes: rest })
  }
}
