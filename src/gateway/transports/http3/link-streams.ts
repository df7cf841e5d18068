/** The streams of one QUIC connection: who reads what, and whose turn it is to write. */
import type { H3Connection } from './h3-connection.ts'
import { streamErrorCode } from './quiche-binding.ts'
import type { QuicheConnection } from './quiche-binding.ts'
import { SeenStreams } from './seen-streams.ts'
import { StreamWriter } from './stream-writer.ts'
import type { WtStream } from './wt-stream.ts'

/** A stream's turn to write, bytes: 12 packets, so that a few small answers are not behind one large one. */
const WRITE_TURN = 16_384
/** A byte held back for FIN leaves without it after this, milliseconds: longer than any pause between a last write and its `end`. */
const HOLD_MS = 4
/**
 * FIN without a byte, and RESET_STREAM, wait until everything sent before is acknowledged, or on a connection that is never silent this
 * long, milliseconds, or six round trips: there the packets that follow make losses known within two.
 */
const QUIET_MS = 250
const QUIET_ROUND_TRIPS = 6
/** What is read of a stream before it says what it is; the head of a viewer's request fits. */
const FIRST_READ = Buffer.allocUnsafeSlow(4096)

export class LinkStreams {
  private readonly conn: QuicheConnection
  private readonly h3: H3Connection
  /** Streams of sessions. */
  private readonly live = new Map<number, WtStream>()
  /** Control, QPACK and request streams: those that the state machine writes. */
  private readonly own = new Map<number, StreamWriter>()
  /** Writers with something to write; the first is the next. */
  private readonly ring = new Map<number, StreamWriter>()
  /** Writers with a byte held back, longest first. */
  private readonly holding = new Map<number, StreamWriter>()
  /**
   * Resets that wait for acknowledgements. After a reset quiche 0.18 repeats lost data as an empty frame with FIN, and forgets the stream
   * with the next acknowledgement of data, a lost RESET_STREAM included: the reader would see a short body end well, or wait for ever.
   */
  private readonly resets = new Map<number, { readonly dataAt: number, readonly due: number, readonly code: number }>()
  /** When all that was ever sent had been acknowledged, milliseconds. */
  private settledAt = -Infinity
  private readonly seenBidi = new SeenStreams()
  private readonly seenUni = new SeenStreams()
  private readonly peerBit: number
  private readonly writeHalf: number

  /** @param peerBit lowest bit of the ids of streams the peer opens (RFC 9000 §2.1)  @param writeHalf quiche's name for the sending half */
  constructor (conn: QuicheConnection, h3: H3Connection, peerBit: number, writeHalf: number) {
    this.conn = conn
    this.h3 = h3
    this.peerBit = peerBit
    this.writeHalf = writeHalf
  }

  sizes (): Readonly<Record<string, number>> {
    return {
      streams: this.live.size,
      writers: this.ring.size,
      ownStreams: this.own.size,
      seenStreams: this.seenBidi.size + this.seenUni.size,
      heldBytes: this.holding.size,
      pendingResets: this.resets.size
    }
  }

  get hasWriters (): boolean { return this.ring.size > 0 }

  add (stream: WtStream): void { this.live.set(stream.streamId, stream) }

  remove (streamId: number): void {
    this.live.delete(streamId)
    this.ring.delete(streamId)
    this.holding.delete(streamId)
  }

  /** Sends RESET_STREAM, as soon as nothing sent before can take its place in quiche's memory. */
  reset (writer: StreamWriter, code: number, now: number, rtt: number): void {
    const { streamId, dataAt } = writer
    const due = dataAt + quiet(rtt)
    if (dataAt <= this.settledAt || due <= now) this.shutDown(streamId, code)
    else this.resets.set(streamId, { dataAt, due, code })
  }

  /** Whether something waits for acknowledgements. */
  get wantsSettled (): boolean {
    for (const { dataAt } of this.resets.values()) {
      if (dataAt > this.settledAt) return true
    }
    for (const writer of this.ring.values()) {
      if (writer.onlyFin && writer.dataAt > this.settledAt) return true
    }
    return false
  }

  /** Everything handed to quiche has been sent and acknowledged. */
  settled (now: number): void { this.settledAt = now }

  private isEarly (writer: StreamWriter, now: number, rtt: number): boolean {
    return writer.onlyFin && writer.dataAt > this.settledAt && writer.dataAt + quiet(rtt) > now
  }

  /** Does what waited for time to pass; returns when there is more, milliseconds, Infinity for never. */
  runDue (now: number, rtt: number): number {
    let next = Infinity
    for (const [streamId, writer] of this.holding) {
      const { heldAt } = writer
      // What waits behind the byte takes it along, when its turn comes.
      if (heldAt !== undefined && writer.waiting > 0) continue
      if (heldAt !== undefined && heldAt + HOLD_MS > now) {
        next = heldAt + HOLD_MS
        break
      }
      writer.releaseHeld(this.conn, now)
      // It stays while quiche has no room, and is tried again with the next packet.
      if (writer.heldAt === undefined) this.holding.delete(streamId)
    }
    for (const [streamId, { dataAt, due, code }] of this.resets) {
      if (dataAt > this.settledAt && due > now) {
        next = Math.min(next, due)
        continue
      }
      this.resets.delete(streamId)
      this.shutDown(streamId, code)
    }
    for (const writer of this.ring.values()) {
      if (this.isEarly(writer, now, rtt)) next = Math.min(next, Math.max(now + 1, writer.dataAt + quiet(rtt)))
    }
    return next
  }

  private shutDown (streamId: number, code: number): void {
    try {
      this.conn.streamShutdown(streamId, this.writeHalf, code)
    } catch {
      // quiche has already let go of that half.
    }
  }

  /** The writer has something to write. */
  queue (writer: StreamWriter): void { this.ring.set(writer.streamId, writer) }

  /** The state machine writes on a stream of its own. */
  writeOwn (streamId: number, bytes: Uint8Array, fin: boolean): void {
    let writer = this.own.get(streamId)
    if (writer === undefined) {
      writer = new StreamWriter(streamId, false)
      writer.onEnd = (error) => {
        this.own.delete(streamId)
        this.ring.delete(streamId)
        if (error?.kind === 'stopped') this.h3.streamStopped(streamId)
      }
      this.own.set(streamId, writer)
    }
    writer.enqueue(bytes, fin)
    this.queue(writer)
  }

  /** Forgets a stream of the state machine whose sending half was reset. */
  dropOwn (streamId: number): void {
    this.own.delete(streamId)
    this.ring.delete(streamId)
  }

  /** Hands what quiche has received to whoever it is for. */
  read (now: number): void {
    for (const streamId of this.conn.readable()) {
      const stream = this.live.get(streamId)
      if (stream !== undefined) stream.onReadable()
      else if (!this.h3.isParked(streamId)) this.readUnassigned(streamId, now)
    }
  }

  private readUnassigned (streamId: number, now: number): void {
    const peers = (streamId & 1) === this.peerBit
    const fresh = peers && (streamId % 4 < 2 ? this.seenBidi : this.seenUni).add(streamId)
    const known = fresh || this.h3.owns(streamId)
    try {
      for (;;) {
        const got = this.conn.streamRecv(streamId, FIRST_READ)
        if (got === null) return
        const [length, fin] = got
        // A stream that has ended here can still deliver what was on its way.
        if (known) this.h3.streamReceived(streamId, Buffer.from(FIRST_READ.subarray(0, length)), fin, now)
        if (fin || (known && !this.h3.owns(streamId))) return
      }
    } catch (error) {
      if (known && streamErrorCode(error, 'StreamReset') !== undefined) this.h3.streamReset(streamId)
    }
  }

  /** Gives quiche up to `limit` bytes, in turns; returns how many it took. */
  write (limit: number, now: number, rtt: number): number {
    let moved = 0
    let idle = 0
    while (moved < limit && idle < this.ring.size) {
      const [next] = this.ring
      if (next === undefined) break
      const [streamId, writer] = next
      const early = this.isEarly(writer, now, rtt)
      const taken = early ? 0 : writer.advance(this.conn, Math.min(WRITE_TURN, limit - moved), now)
      moved += taken
      this.ring.delete(streamId)
      if (writer.heldAt !== undefined && !this.holding.has(streamId)) this.holding.set(streamId, writer)
      if (writer.waiting > 0 && !writer.ended) this.ring.set(streamId, writer)
      else if (taken === 0) continue
      if (early) {
        idle++
        continue
      }
      if (taken > 0) {
        idle = 0
      } else if (this.connectionBlocked()) {
        break
      } else {
        // The stream's own window is closed; another one may have room.
        idle++
      }
    }
    return moved
  }

  /** Our QPACK encoder stream carries one byte ever, so what it could take is what the connection can. */
  private connectionBlocked (): boolean {
    try {
      return this.conn.streamCapacity(this.probeStream) === 0
    } catch {
      return false
    }
  }

  private get probeStream (): number { return this.peerBit === 0 ? 7 : 6 }

  /** Looks for STOP_SENDING on every sending half that has nothing to write. */
  checkStopped (): void {
    for (const stream of [...this.live.values()]) stream.checkStopped()
    for (const [streamId, writer] of [...this.own]) {
      if (!writer.begun) continue
      try {
        this.conn.streamCapacity(streamId)
      } catch (error) {
        if (streamErrorCode(error, 'StreamStopped') !== undefined) this.h3.streamStopped(streamId)
      }
    }
  }
}

function quiet (rtt: number): number {
  return Math.max(QUIET_MS, QUIET_ROUND_TRIPS * rtt)
}
