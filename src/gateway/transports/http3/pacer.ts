/** Packet pacing by token bucket (RFC 9002 §7.7), in bytes and milliseconds. No clock: `now` comes in. */

/** quiche leaves the first 1200 bytes of every path safe; 1350 fits IPv6 in PPPoE and common tunnels. */
export const MAX_PACKET_SIZE = 1350
/** More packets back to back overrun shallow buffers; 64 was as fast as any larger burst on an emulated 100 Mbit/s path. */
export const MAX_BURST_PACKETS = 64
/** RFC 9002 §7.7 suggests bursts no larger than the initial window of 10 packets. */
const MIN_BURST = 10 * MAX_PACKET_SIZE
const MAX_BURST = MAX_BURST_PACKETS * MAX_PACKET_SIZE
/**
 * RFC 9002 §7.7: N = 1.25 keeps the window usable although round trips vary. quiche takes its send times from a schedule of the same gain:
 * with 2 during slow start its round trips came out too short, and 8 MiB over 100 Mbit/s and 40 ms took 2.3 s instead of 0.95.
 */
const GAIN = 1.25
/**
 * quiche 0.18 takes a connection that its pacer holds back for one that its application limits, and does not let the window grow, although RFC 9002
 * §7.8 says it should; and its smoothed round trip no longer falls when packets leave sooner than by its own schedule. After a burst of losses on a
 * short path a window of a few packets stayed that small for seconds: 5 MB/s of 35. So the gain doubles for as long as the window is not used up,
 * and falls back after a while, for paths that have become longer.
 */
const MAX_GAIN = 16
const RAISED_MS = 1_000
/** Longer than this and two round trips held back means that the window is not used, milliseconds. */
const HELD_BACK_MS = 20
/** Node timers have a millisecond; a bucket holds what two of them may bring late. */
const TIMER_SLACK_MS = 2

export interface PathState {
  /** Bytes. */
  readonly cwnd: number
  /** Smoothed, milliseconds; 0 for less than one. */
  readonly rtt: number
  /** Packets, so far. */
  readonly lost: number
}

/** Says how much may be sent now and when more may be. */
export class Pacer {
  /** Bytes a millisecond; Infinity while the path is too short to pace. */
  private rate = Infinity
  private depth = MIN_BURST
  private tokens = MIN_BURST
  private filledAt = 0
  private gain = GAIN
  private raisedAt = 0
  /** When the window was last used up, or nothing waited. */
  private usedAt = 0
  private heldBack = false

  /** Takes the path's present state. A round trip below a millisecond cannot be paced with timers of one. */
  update (path: PathState, now: number): void {
    // Before the first loss a larger gain makes quiche's round trips too short, see above.
    if (path.lost > 0 && this.heldBack && now - this.usedAt > Math.max(HELD_BACK_MS, 2 * path.rtt)) {
      this.gain = Math.min(2 * this.gain, MAX_GAIN)
      this.raisedAt = this.usedAt = now
    } else if (now - this.raisedAt > RAISED_MS) {
      this.gain = GAIN
    }
    this.rate = path.rtt === 0 ? Infinity : this.gain * path.cwnd / path.rtt
    this.depth = Math.min(MAX_BURST, Math.max(MIN_BURST, this.rate * TIMER_SLACK_MS))
  }

  /** Bytes that may leave now, at most one burst. */
  available (now: number): number {
    if (this.rate === Infinity) return MAX_BURST
    this.tokens = Math.min(this.depth, this.tokens + this.rate * Math.max(0, now - this.filledAt))
    this.filledAt = now
    return this.tokens
  }

  /** Sending ended for now. @param heldBack for lack of tokens; else the window was used up, or nothing was left to send */
  ended (now: number, heldBack: boolean): void {
    this.heldBack = heldBack
    if (!heldBack) this.usedAt = now
  }

  /** Counts bytes that left. What went on credit is forgiven beyond two packets: acknowledgements must not starve what they are waited for. */
  spend (bytes: number): void {
    this.tokens = Math.max(this.tokens - bytes, -2 * MAX_PACKET_SIZE)
  }

  /** Milliseconds until half a burst may leave: fewer, larger wake-ups cost less. 0 when it may now. */
  wait (now: number): number {
    const lacking = this.depth / 2 - this.available(now)
    return lacking <= 0 ? 0 : lacking / this.rate
  }
}
