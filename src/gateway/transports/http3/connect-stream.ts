/** One request stream as its receiver sees it: HEADERS, then, for a CONNECT, capsules in DATA (RFC 9114 §4.1, §4.4). Sans-IO. */
import { CapsuleParser } from './capsules.ts'
import type { CapsuleEvent } from './capsules.ts'
import type { Role } from './h3-control.ts'
import { H3, H3Error } from './h3-errors.ts'
import { FRAME, FrameParser, collectBounded, rejectHttp2Frame } from './h3-frames.ts'
import type { FrameMode } from './h3-frames.ts'
import { decodeFieldSection } from './qpack.ts'
import type { Field } from './qpack.ts'

export type ConnectStreamEvent = { readonly kind: 'fields', readonly fields: readonly Field[] } | CapsuleEvent

/** Parses the peer's half of a CONNECT stream. A client may meet interim responses (1xx), so there HEADERS may repeat. */
export class ConnectStream {
  private readonly frames = new FrameParser((type, length) => this.admit(type, length))
  private readonly capsules = new CapsuleParser()
  private readonly role: Role
  private headed = false

  /** @param role ours */
  constructor (role: Role) {
    this.role = role
  }

  /** Hands each event to `handle` as it is met; stops early when `handle` returns false. @throws H3Error */
  push (bytes: Uint8Array, handle: (event: ConnectStreamEvent) => boolean): void {
    for (const event of this.frames.push(bytes)) {
      if (event.kind === 'frame') {
        if (!handle({ kind: 'fields', fields: decodeFieldSection(event.payload) })) return
        continue
      }
      for (const capsule of this.capsules.push(event.bytes)) {
        if (!handle(capsule)) return
      }
    }
  }

  /** FIN. @throws H3Error FRAME_ERROR inside a frame, REQUEST_INCOMPLETE before the headers (RFC 9114 §4.1.1), MESSAGE_ERROR inside a capsule */
  end (): void {
    this.frames.end()
    if (!this.headed) throw new H3Error(H3.REQUEST_INCOMPLETE, 'stream ends before its headers', 'stream')
    this.capsules.end()
  }

  private admit (type: number, length: number): FrameMode {
    rejectHttp2Frame(type)
    switch (type) {
      case FRAME.HEADERS:
        // RFC 9114 §4.4: after the headers of a CONNECT only DATA may follow.
        if (this.headed && this.role === 'server') throw new H3Error(H3.FRAME_UNEXPECTED, 'HEADERS after a CONNECT')
        this.headed = true
        return collectBounded(length)
      case FRAME.DATA:
        if (!this.headed) throw new H3Error(H3.FRAME_UNEXPECTED, 'DATA before HEADERS')
        return 'stream'
      case FRAME.SETTINGS:
      case FRAME.GOAWAY:
      case FRAME.MAX_PUSH_ID:
      case FRAME.CANCEL_PUSH:
      case FRAME.PUSH_PROMISE:
        throw new H3Error(H3.FRAME_UNEXPECTED, `frame type ${type} on a request stream`)
      case FRAME.WT_STREAM:
        throw new H3Error(H3.FRAME_ERROR, 'WT_STREAM inside a stream') // draft-ietf-webtrans-http3 §4.3
      default:
        return 'skip'
    }
  }
}
