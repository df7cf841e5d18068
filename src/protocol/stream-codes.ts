/**
 * Application error codes of stream resets and session closes between relay and viewer; both sides share this list.
 * A reset says that the response is not complete, whatever has arrived of it.
 */
export const STREAM_CODE = {
  /** The sender no longer wants the exchange. */
  cancelled: 0,
  /** The body could not be read to its end. */
  unfinished: 1,
  /** The body does not match its digest. */
  corrupt: 2,
  /** The viewer accepted no byte for too long. */
  stalled: 3,
  /** The session has as many streams open as it may. */
  busy: 4,
  /** The relay is stopping. */
  stopping: 5,
  /** Bytes followed the request; the response is still sent. */
  unwanted: 6
} as const

/** Application close codes of a session. */
export const CLOSE_CODE = {
  none: 0,
  idle: 1,
  drained: 2
} as const
