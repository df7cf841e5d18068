import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import type { ErasureDecoder } from './erasure.ts'
import type { ClientRange, FetchRequest, ObjectResult } from './fetch-object.ts'
import type { Manifest } from './manifest.ts'
import type { ClientPlatform } from './platform.ts'
import type { ReadPriority, Urgency } from './priority-slots.ts'
import type { Connector } from './session.ts'
import type { TransportInfo, TransportName } from './transports.ts'
import type { VideoShard } from './video.ts'
import type { W3cWebTransportConstructor } from './w3c-types.ts'

export interface ShardClientOptions {
  /** Bearer token, sent with every request; a function is asked before each, so that it can give a fresh one before the last expires. */
  readonly token?: TokenSource
  /** Raw Ed25519 keys in base64, one of which must have signed a manifest; without them the relay's manifests are taken as they are. */
  readonly publishers?: readonly string[]
  /** Other relays, by the URL of their viewer HTTP surface, to go to when this one cannot be reached. */
  readonly alternates?: readonly string[]
  /** Transports to try, best first; all by default. */
  readonly transports?: readonly TransportName[]
  /** Opens WebTransport sessions where the platform has no WebTransport of its own. */
  readonly webTransport?: Connector
  /**
   * Gives the constructor of a WebTransport ponyfill over WebSocket, loaded when it is first needed. In browsers that of fails-components 1.6.8
   * connects to example.com as it loads; a bundler that defines `globalThis.WebTransport` as `undefined` for it keeps it from that.
   */
  readonly websocket?: () => Promise<W3cWebTransportConstructor>
  /** Gives the erasure decoder, loaded when it is first needed; without it no video is repaired. */
  readonly erasure?: () => Promise<ErasureDecoder>
  /** Requests at the same time; 16 by default, which fills 100 Mbit/s at 40 ms with shards of 1 MB. */
  readonly concurrency?: number
  /** Attempts for one request, and for one connection in a row; 8 by default, some 5 s with the pauses between them. */
  readonly attempts?: number
  /** Attempts for the first connection, where a viewer waits to hear that none is possible; as `attempts` by default. */
  readonly connectAttempts?: number
  /** Time for one transport to connect, milliseconds; 3000 by default, three round trips over a bad mobile network. */
  readonly connectTimeoutMs?: number
  /**
   * Time without a sign of life after which a request is tried again, milliseconds; 5000 by default. Bytes are one, and over a session the word of the relay, which
   * it gives every second, that it is still fetching the object. A browser that
   * only waits asks a silent relay after 15 s whether it is there, so this is how long a page waits when a relay was killed.
   */
  readonly stallMs?: number
  /** Largest object accepted, bytes; 64 MiB by default, above the 10 MB of the largest shards. */
  readonly maxObjectBytes?: number
  /** Largest video put together in memory, bytes; 1 GiB by default. */
  readonly maxVideoBytes?: number
  /** Called with every new way of being connected, not with further sessions of the same one; must not throw. */
  readonly onTransport?: (info: TransportInfo) => void
  /** Called with every control message of the session that speaks for all, pings left out; must not throw. */
  readonly onControl?: (message: ControlMessage) => void
  /**
   * Called whenever the relay says something new of the viewer's bandwidth, over any transport; undefined when nothing limits it any more. A player
   * keeps to it: it plays the suggested rendition and fetches no further ahead than it has to. Must not throw.
   */
  readonly onBandwidth?: (signal: BandwidthSignal | undefined) => void
  readonly signal?: AbortSignal
  readonly platform?: ClientPlatform
}

export type TokenSource = string | (() => string | undefined | Promise<string | undefined>)

export interface FetchOptions {
  readonly signal?: AbortSignal
  /** `normal` by default. */
  readonly priority?: ReadPriority | Urgency
}

export interface FetchShardOptions extends FetchOptions {
  readonly range?: ClientRange
  /**
   * Of this video, fetched before: the shard is compared with its hash there, and a range with the hashes of its blocks, where the manifest has them. The range
   * is fetched from the start of its first block to the end of its last for that.
   */
  readonly manifest?: Manifest
  /** Counts the bytes of the range; of the whole shard when the relay sends that instead. */
  readonly onProgress?: NonNullable<FetchRequest['onProgress']>
  /** Compare digests; true by default. */
  readonly verify?: boolean
  /** What will be asked for next, eight objects at most, which the relay may bring in meanwhile. Over HTTP a page of another origin costs that a preflight. */
  readonly next?: readonly ShardKey[]
  /** What the object must hash to, lower-case hex, for who has no {@link manifest}. */
  readonly sha256?: string
  /** Attempts over which nothing comes any more after which it is given up; as many as attempts by default. */
  readonly maxStalls?: number
}

export interface ShardResult extends Omit<ObjectResult, 'firstByteMs' | 'totalMs'> {
  readonly transport: TransportName
  readonly attempts: number
  /** Milliseconds: until the attempt that succeeded began, from there to the first byte, from there to the verified end. */
  readonly timings: { readonly queuedMs: number, readonly firstByteMs: number, readonly totalMs: number }
}

export interface FetchVideoOptions extends FetchOptions {
  /** Of this video, fetched before; spares fetching it again. */
  readonly manifest?: Manifest
  /** Called with each shard as it becomes available, in any order. */
  readonly onShard?: (shard: VideoShard) => void
  /** Called with each shard that could not be fetched; another takes its place while there is one. */
  readonly onFailure?: (index: number, error: unknown) => void
  /** Awaited before each data shard is asked for, so that a player fetches no further ahead than it wants to; all are offered immediately, in order. */
  readonly whenToFetch?: (index: number) => Promise<void>
}
