import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { TOTAL_SHARDS, isCid, shardPath } from '../../src/protocol/shard-key.ts'
import type { ObjectPart, ShardKey } from '../../src/protocol/shard-key.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import { dial, gatewayOf, relayBase } from './dial.ts'
import type { DialOptions } from './dial.ts'
import type { ErasureDecoder } from './erasure.ts'
import { fetchObject } from './fetch-object.ts'
import type { BlockRange, ClientRange, FetchRequest, ObjectResult } from './fetch-object.ts'
import type { Manifest } from './manifest.ts'
import { systemPlatform } from './platform.ts'
import type { ClientPlatform } from './platform.ts'
import { RelayLink } from './relay-link.ts'
import type { Connector } from './session.ts'
import { type TransportInfo, type TransportName, TRANSPORTS } from './transports.ts'
import type { VideoResult, VideoShard } from './video.ts'
import { newViewerId } from './viewer-id.ts'
import { PONYFILL_OPTIONS, w3cConnector } from './w3c-session.ts'
import type { W3cWebTransportConstructor } from './w3c-types.ts'
import { Slots, backoffMs, delay, linkedAbort } from './waiting.ts'

export interface ShardClientOptions {
  /** Bearer token, sent with every request; a function is asked before each, so that it can give a fresh one before the last expires. */
  readonly token?: TokenSource
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
   * Time without a byte after which a request is tried again, milliseconds; 5000 by default, several times what a miss takes. A browser that
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

function checkCid (manifest: Manifest, cid: string): void {
  if (manifest.cid !== cid) throw new ShardClientError('manifest', 'the manifest is of another CID')
}

/** Fetches shards and videos from a relay, over the best transport there is, and stays connected. */
export class ShardClient {
  readonly #options: ShardClientOptions
  readonly #platform: ClientPlatform
  readonly #link: RelayLink
  readonly #slots: Slots
  readonly #life = new AbortController()
  #transport: TransportInfo
  #connected = false
  #bandwidth: BandwidthSignal | undefined
  #erasure: Promise<ErasureDecoder> | undefined

  private constructor (options: ShardClientOptions, platform: ClientPlatform, relayUrl: string) {
    this.#options = options
    this.#platform = platform
    this.#slots = new Slots(options.concurrency ?? 16)
    this.#transport = { transport: 'http', relayUrl, region: undefined, failures: [] }
    const transports = options.transports ?? TRANSPORTS
    const { websocket } = options
    const dialOptions: DialOptions = {
      webTransport: options.webTransport ?? w3cConnector(() => platform.webTransport),
      websocket: websocket === undefined ? undefined : w3cConnector(websocket, PONYFILL_OPTIONS),
      platform,
      viewerId: newViewerId(platform.randomBytes),
      timeoutMs: options.connectTimeoutMs ?? 3000
    }
    this.#link = new RelayLink(relayUrl, {
      dial: (url, onControl, signal, mode) => dial(url, dialOptions, onControl, signal, mode),
      gatewayOf: (url, signal) => gatewayOf(url, dialOptions, signal),
      platform,
      attempts: () => (this.#connected ? undefined : options.connectAttempts) ?? options.attempts ?? 8,
      transports,
      onControl: options.onControl,
      onBandwidth: signal => {
        if (signal?.bitsPerSecond === this.#bandwidth?.bitsPerSecond && signal?.suggestedRendition === this.#bandwidth?.suggestedRendition) return
        this.#bandwidth = signal
        options.onBandwidth?.(signal)
      },
      onTransport: info => {
        this.#transport = info
        options.onTransport?.(info)
      }
    })
  }

  /**
   * Connects to a relay.
   * @param relayUrl of its viewer HTTP surface, http or https
   * @throws ShardClientError connect; or the reason of the signal
   */
  static async connect (relayUrl: string, options: ShardClientOptions = {}): Promise<ShardClient> {
    const base = relayBase(relayUrl)
    if (base === undefined) throw new ShardClientError('connect', 'the URL of a relay starts with http:// or https://')
    const client = new ShardClient(options, options.platform ?? systemPlatform(), base)
    try {
      client.#link.release(await client.#link.acquire(options.signal ?? client.#life.signal))
      client.#connected = true
    } catch (error) {
      client.close()
      throw error
    }
    return client
  }

  /** How the client is, or was last, connected, and why not in a better way. */
  get transport (): TransportInfo { return this.#transport }

  /** What the relay said last of the viewer's bandwidth; undefined when nothing limits it, as far as is known. */
  get bandwidth (): BandwidthSignal | undefined { return this.#bandwidth }

  /**
   * Fetches one shard, or a range of it.
   * @throws ShardClientError, digest when a hash is not right; or the reason of the signal
   */
  async fetchShard (cid: string, index: number, options: FetchShardOptions = {}): Promise<ShardResult> {
    if (!Number.isInteger(index) || index < 0 || index >= TOTAL_SHARDS) throw new RangeError(`a shard index is 0 to ${TOTAL_SHARDS - 1}`)
    const { manifest, range, verify = true } = options
    if (manifest === undefined) return await this.#fetch(cid, index, options)
    checkCid(manifest, cid)
    const blocks = range !== undefined && verify ? (await import('./video-parts.ts')).blockRange(manifest, index, range, this.#platform) : undefined
    const sha256 = options.sha256 ?? manifest.shards[index]?.sha256
    return await this.#fetch(cid, index, { ...options, ...sha256 !== undefined && { sha256 } }, blocks)
  }

  /**
   * Fetches the manifest of a video and checks that it is consistent.
   * @throws ShardClientError; or the reason of the signal
   */
  async fetchManifest (cid: string, options: FetchOptions = {}): Promise<Manifest> {
    const [{ parseManifest }, { bytes }] = await Promise.all([import('./video-parts.ts'), this.#fetch(cid, 'manifest', options)])
    return parseManifest(bytes, cid)
  }

  /**
   * Fetches a whole video, repairing it from parity when up to four shards are missing, and verifies it.
   * @throws ShardClientError missing, digest, manifest and those of {@link fetchManifest}; or the reason of the signal
   */
  async fetchVideo (cid: string, options: FetchVideoOptions = {}): Promise<VideoResult> {
    const signal = options.signal ?? this.#life.signal
    const manifest = options.manifest ?? await this.fetchManifest(cid, { signal })
    checkCid(manifest, cid)
    const limit = this.#options.maxVideoBytes ?? 2 ** 30
    if (manifest.size > limit) throw new ShardClientError('manifest', `the video has ${manifest.size} bytes, at most ${limit} are accepted`)
    const { erasure } = this.#options
    const { assembleVideo } = await import('./video-parts.ts')
    return await assembleVideo({
      manifest,
      signal,
      onShard: options.onShard,
      onFailure: options.onFailure,
      whenToFetch: options.whenToFetch,
      fetch: async (shard, limited) => {
        const { timings, ...result } = await this.#fetch(cid, shard.index, { sha256: shard.sha256, signal: limited })
        return { ...result, firstByteMs: timings.firstByteMs, totalMs: timings.totalMs }
      },
      erasure: erasure === undefined ? undefined : () => this.#decoder(erasure),
      platform: this.#platform
    })
  }

  /** Ends the connection and every request under way; idempotent. */
  close (): void {
    this.#life.abort(new ShardClientError('closed', 'the client was closed'))
    this.#link.close()
  }

  /** Loaded once; a load that failed is tried again. */
  #decoder (load: () => Promise<ErasureDecoder>): Promise<ErasureDecoder> {
    this.#erasure ??= load().catch((error: unknown) => {
      this.#erasure = undefined
      throw error
    })
    return this.#erasure
  }

  /** @throws RangeError, which does not repeat the token; and what the function of the caller throws */
  async #token (): Promise<string | undefined> {
    const { token } = this.#options
    const value = typeof token === 'function' ? await token() : token
    if (value !== undefined && !/^[!-~]+$/.test(value)) throw new RangeError('a token has visible ASCII characters only')
    return value
  }

  /** The one layer that repeats requests: those that broke off and those the relay was too busy for. */
  async #fetch (cid: string, part: ObjectPart, options: FetchShardOptions, blocks?: BlockRange): Promise<ShardResult> {
    if (!isCid(cid)) throw new RangeError('a CID has 1 to 128 of A-Z a-z 0-9 _ -')
    const abort = linkedAbort(options.signal, this.#life.signal)
    const called = this.#platform.now()
    let giveBack: (() => void) | undefined
    try {
      giveBack = await this.#slots.take(abort.signal)
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#attempt({
            path: shardPath({ cid, part }),
            range: options.range,
            blocks,
            next: options.next,
            token: await this.#token(),
            signal: abort.signal,
            onProgress: options.onProgress,
            verify: options.verify ?? true,
            sha256: options.sha256,
            maxBytes: this.#options.maxObjectBytes ?? 64 * 1024 * 1024,
            stallMs: this.#options.stallMs ?? 5_000
          }, attempt, called)
        } catch (error) {
          abort.signal.throwIfAborted()
          if (!(error instanceof ShardClientError) || !error.retryable || attempt >= (this.#options.attempts ?? 8)) throw error
          const pause = Math.max(backoffMs(attempt, this.#platform.random()), Math.min(error.retryAfterMs ?? 0, 10_000))
          await delay(pause, abort.signal, this.#platform.after)
        }
      }
    } finally {
      giveBack?.()
      abort.stop()
    }
  }

  async #attempt (request: FetchRequest, attempts: number, called: number): Promise<ShardResult> {
    const session = await this.#link.acquire(request.signal)
    const queuedMs = this.#platform.now() - called
    const { firstByteMs, totalMs, ...result } = await fetchObject(session, request, this.#link, this.#platform)
    return { ...result, transport: session.info.transport, attempts, timings: { queuedMs, firstByteMs, totalMs } }
  }
}
