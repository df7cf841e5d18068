/** The peer's control stream (RFC 9114 §6.2.1, §7.2). Sans-IO. */
import { H3, H3Error } from './h3-errors.ts'
import { FRAME, FrameParser, collectBounded, readIdPayload, rejectHttp2Frame } from './h3-frames.ts'
import type { FrameMode } from './h3-frames.ts'
import { parseSettings } from './h3-settings.ts'
import type { Settings } from './h3-settings.ts'

export type Role = 'client' | 'server'

export type ControlEvent =
  | { readonly kind: 'settings', readonly settings: Settings }
  | { readonly kind: 'goaway', readonly id: number }

/** Reads the peer's control stream. `role` is ours. */
export class ControlReader {
  private readonly role: Role
  private readonly frames = new FrameParser((type, length) => this.admit(type, length))
  private settled = false
  private goaway = Infinity
  private maxPushId = -1

  constructor (role: Role) {
    this.role = role
  }

  /** @throws H3Error (connection) */
  push (bytes: Uint8Array): ControlEvent[] {
    const events: ControlEvent[] = []
    for (const event of this.frames.push(bytes)) {
      const read = event.kind === 'frame' ? this.read(event.type, event.payload) : undefined
      if (read !== undefined) events.push(read)
    }
    return events
  }

  private admit (type: number, length: number): FrameMode {
    if (!this.settled) {
      if (type !== FRAME.SETTINGS) throw new H3Error(H3.MISSING_SETTINGS, 'control stream does not begin with SETTINGS')
      this.settled = true
      return collectBounded(length)
    }
    rejectHttp2Frame(type)
    switch (type) {
      case FRAME.GOAWAY:
      case FRAME.CANCEL_PUSH:
        return collectBounded(length)
      case FRAME.MAX_PUSH_ID:
        if (this.role === 'client') throw new H3Error(H3.FRAME_UNEXPECTED, 'MAX_PUSH_ID from a server') // §7.2.7
        return collectBounded(length)
      case FRAME.SETTINGS:
      case FRAME.DATA:
      case FRAME.HEADERS:
      case FRAME.PUSH_PROMISE:
      case FRAME.WT_STREAM:
        throw new H3Error(H3.FRAME_UNEXPECTED, `frame type ${type} on the control stream`)
      default:
        return 'skip' // §9: unknown types, grease among them
    }
  }

  private read (type: number, payload: Uint8Array): ControlEvent | undefined {
    if (type === FRAME.SETTINGS) return { kind: 'settings', settings: parseSettings(payload) }
    const id = readIdPayload(payload)
    if (type === FRAME.GOAWAY) {
      // §5.2: never grows, and from a server it names a client's bidirectional stream.
      if (id > this.goaway || (this.role === 'client' && id % 4 !== 0)) throw new H3Error(H3.ID_ERROR, `GOAWAY ${id}`)
      this.goaway = id
      return { kind: 'goaway', id }
    }
    if (type === FRAME.MAX_PUSH_ID) {
      if (id < this.maxPushId) throw new H3Error(H3.ID_ERROR, 'MAX_PUSH_ID shrinks') // §7.2.7
      this.maxPushId = id
      return undefined
    }
    // §7.2.3: nothing was ever promised, so there is nothing to cancel.
    throw new H3Error(H3.ID_ERROR, 'CANCEL_PUSH without a push')
  }
}
