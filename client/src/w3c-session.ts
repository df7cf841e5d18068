import { loadSessions } from './late-parts.ts'
import type { Connector } from './session.ts'
import type { W3cLoader } from './w3c-transport.ts'
import type { W3cWebTransportOptions } from './w3c-types.ts'

/** Options of `@fails-components/webtransport` beyond the standard. */
export const PONYFILL_OPTIONS = {
  // In Node, keeps it off its own HTTP/3.
  forceReliable: true,
  // Its windows are 16 KiB unless set, 64 round trips for 1 MB; 4 MiB a stream fill 500 Mbit/s at 60 ms, and what is not read yet is bounded by the session's.
  initialStreamFlowControlWindow: 4_194_304,
  initialSessionFlowControlWindow: 8_388_608,
  // What it assumes it may open before the relay has said so, 100 unless set; a relay closes a session that goes beyond its limit.
  initialBidirectionalSendStreams: 1,
  initialUnidirectionalSendStreams: 16
} as const

/**
 * Connects with a W3C constructor: the browser's own, or a ponyfill's.
 * @param load gives the constructor, undefined when there is none here
 * @param extra options beyond the standard
 */
export function w3cConnector (load: W3cLoader, extra: W3cWebTransportOptions = {}): Connector {
  return async endpoint => {
    const { openW3c } = await loadSessions()
    return await openW3c(load, extra, endpoint)
  }
}
