import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import type { DialMode, Dialled } from './dial.ts'
import type { ClientPlatform } from './platform.ts'
import type { TransportInfo, TransportName } from './transports.ts'

export interface LinkOptions {
  readonly dial: (relayUrl: string, onControl: (message: ControlMessage) => void, signal: AbortSignal, mode: DialMode) => Promise<Dialled>
  /** Which process of the relay has its sessions now. */
  readonly gatewayOf: (relayUrl: string, signal: AbortSignal) => Promise<string | undefined>
  readonly platform: ClientPlatform
  /** Relays to go to when the first cannot be reached, as {@link relayBase} gives them. */
  readonly alternates: readonly string[]
  /** An exchange is given up after so many milliseconds without a sign of life. */
  readonly stallMs: number
  /** Transports to try, best first. */
  readonly transports: readonly TransportName[]
  /** Attempts in a row before those who wait for a connection are told so. */
  readonly attempts: () => number
  /** The client is connected in another way than before. */
  readonly onTransport: ((info: TransportInfo) => void) | undefined
  readonly onControl: ((message: ControlMessage) => void) | undefined
  /** What the relay says of bandwidth has changed; undefined when nothing limits it, as far as is known. */
  readonly onBandwidth: (signal: BandwidthSignal | undefined) => void
}
