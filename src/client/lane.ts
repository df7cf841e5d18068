import type { ControlMessage } from '../wire/control-messages.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import type { TransportInfo } from './dial.ts'
import type { Road } from './road.ts'

/** One connection and the exchanges that use it. */
export class Lane {
  readonly road: Road
  readonly info: TransportInfo
  /** Monotonic milliseconds. */
  readonly since: number
  inFlight = 0
  /** No longer handed out; closed when its last exchange is over. */
  retired = false
  /** The relay's process that has the session, where it tells. */
  readonly gateway: string | undefined
  /** When something last came over it, or was asked for while nothing was, monotonic milliseconds. */
  heardAt: number
  /** Bytes of bodies that came over it. */
  received = 0
  /** What the relay said over it last. */
  bandwidth: BandwidthSignal | undefined
  /** What it said before it was in use. */
  readonly early: ControlMessage[] = []

  constructor (road: Road, info: TransportInfo, now: number, gateway?: string) {
    this.road = road
    this.info = info
    this.since = now
    this.heardAt = now
    this.gateway = gateway
  }

  /** Takes it out of use; what is under way on it goes on. */
  leave (): void {
    this.retired = true
    if (this.inFlight === 0) this.road.close()
  }
}
