import { TOTAL_SHARDS, isCid, shardPath } from '../../src/protocol/shard-key.ts'
import type { ObjectPart } from '../../src/protocol/shard-key.ts'
import type { BandwidthSignal } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import type { FetchOptions, FetchShardOptions, FetchVideoOptions, ShardClientOptions, ShardResult } from './client-options.ts'
import { dial, gatewayOf, relayBase } from './dial.ts'
import type { DialOptions } from './dial.ts'
import type { ErasureDecoder } from './erasure.ts'
import { fetchObject } from './fetch-object.ts'
import type { BlockRange, FetchRequest } from './fetch-object.ts'
import type { Manifest } from './manifest.ts'
import { systemPlatform } from './platform.ts'
import type { ClientPlatform } from './platform.ts'
import { PrioritySlots, Urgency } from './priority-slots.ts'
import { RelayLink } from './relay-link.ts'
import { type TransportInfo, TRANSPORTS } from './transports.ts'
import type { VideoResult } from './video.ts'
import { newViewerId } from './viewer-id.ts'
import { PONYFILL_OPTIONS, w3cConnector } from './w3c-session.ts'
import { backoffMs, delay, linkedAbort } from './waiting.ts'

/** Why a background request stops for a while. */
const YIELDS = new Error('something more urgent goes first')

function checkCid (manifest: Manifest, cid: string): void {
  if (manifest.cid !== cid) throw new ShardClientError('manifest', 'the manifest is of another CID')
}

function checkedBase (relayUrl: string): string {
  const base = relayBase(relayUrl)
  if (base === undefined) throw new ShardClientError('connect', 'the URL of a relay starts with http:// or https://')
  return base
}

/** Fetches shards and videos from a relay, over the best transport there is, and stays connected. */
export class ShardClient {
  readonly #options: ShardClientOptions
  readonly #platform: ClientPlatform
  readonly #link: RelayLink
  readonly #slots: PrioritySlots
  readonly #life = new AbortController()
  #transport: TransportInfo
  #connected = false
  #bandwidth: BandwidthSignal | undefined
  #erasure: Promise<ErasureDecoder> | undefined

  private constructor (options: ShardClientOptions, platform: ClientPlatform, relayUrl: string) {
    this.#options = options
    this.#platform = platform
    this.#slots = new PrioritySlots(options.concurrency ?? 16)
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
      alternates: (options.alternates ?? []).map(checkedBase),
      dial: (url, onControl, signal, mode) => dial(url, dialOptions, onControl, signal, mode),
      gatewayOf: (url, signal) => gatewayOf(url, dialOptions, signal),
      platform,
      stallMs: this.#stallMs,
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
    const client = new ShardClient(options, options.platform ?? systemPlatform(), checkedBase(relayUrl))
    try {
      client.#link.release(await client.#link.acquire(options.signal ?? client.#life.signal))
      client.#connected = true
    } catch (error) {
      client.close()
      throw error
    }
    return client
  }

  get #stallMs (): number { return this.#options.stallMs ?? 5_000 }

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
   * Fetches the manifest of a video and checks that it is consistent, and signed by one of `publishers` where there are any.
   * @throws ShardClientError; or the reason of the signal
   */
  async fetchManifest (cid: string, options: FetchOptions = {}): Promise<Manifest> {
    const [{ parseManifest }, { bytes }] = await Promise.all([import('./video-parts.ts'), this.#fetch(cid, 'manifest', options)])
    const { publishers } = this.#options
    if (publishers !== undefined) await (await import('./publisher-check.ts')).checkPublisher(bytes, publishers, this.#platform)
    return parseManifest(bytes, cid)
  }

  /**
   * Fetches a whole video, repairing it from parity when up to four shards are missing, and verifies it.
   * @throws ShardClientError missing, digest, manifest and those of {@link fetchManifest}; or the reason of the signal
   */
  async fetchVideo (cid: string, options: FetchVideoOptions = {}): Promise<VideoResult> {
    const signal = options.signal ?? this.#life.signal
    const manifest = options.manifest ?? await this.fetchManifest(cid, { ...options, signal })
    checkCid(manifest, cid)
    const limit = this.#options.maxVideoBytes ?? 2 ** 30
    if (manifest.size > limit) throw new ShardClientError('manifest', `the video has ${manifest.size} bytes, at most ${limit} are accepted`)
    const { assembleVideo } = await import('./video-parts.ts')
    return await assembleVideo({
      manifest,
      signal,
      onShard: options.onShard,
      onFailure: options.onFailure,
      whenToFetch: options.whenToFetch,
      fetch: async (shard, limited) => {
        const { timings, ...result } = await this.#fetch(cid, shard.index, { sha256: shard.sha256, signal: limited, ...options.priority !== undefined && { priority: options.priority } })
        return { ...result, firstByteMs: timings.firstByteMs, totalMs: timings.totalMs }
      },
      erasure: this.#options.erasure === undefined ? undefined : () => this.decoder(),
      platform: this.#platform
    })
  }

  /**
   * What brings back missing shards, loaded once; a load that failed is tried again.
   * @throws ShardClientError missing, where none was given; and what loading it throws
   */
  async decoder (): Promise<ErasureDecoder> {
    const { erasure } = this.#options
    if (erasure === undefined) throw new ShardClientError('missing', 'no erasure decoder was given')
    this.#erasure ??= erasure().catch((error: unknown) => {
      this.#erasure = undefined
      throw error
    })
    return await this.#erasure
  }

  /** Ends the connection and every request under way; idempotent. */
  close (): void {
    this.#life.abort(new ShardClientError('closed', 'the client was closed'))
    this.#link.close()
  }

  /** @throws RangeError, which does not repeat the token; and what the function of the caller throws */
  async #token (): Promise<string | undefined> {
    const { token } = this.#options
    const value = typeof token === 'function' ? await token() : token
    if (value !== undefined && !/^[!-~]+$/.test(value)) throw new RangeError('a token has visible ASCII characters only')
    return value
  }

  async #fetch (cid: string, part: ObjectPart, options: FetchShardOptions, blocks?: BlockRange): Promise<ShardResult> {
    if (!isCid(cid)) throw new RangeError('a CID has 1 to 128 of A-Z a-z 0-9 _ -')
    const abort = linkedAbort(options.signal, this.#life.signal)
    const urgency = options.priority instanceof Urgency ? options.priority : new Urgency(options.priority)
    const request = {
      path: shardPath({ cid, part }),
      range: options.range,
      blocks,
      next: options.next,
      onProgress: options.onProgress,
      verify: options.verify ?? true,
      sha256: options.sha256,
      maxBytes: this.#options.maxObjectBytes ?? 64 * 1024 * 1024,
      stallMs: this.#stallMs,
      kept: { bytes: new Uint8Array(0) }
    }
    const count = { attempt: 1, stalls: 0, called: this.#platform.now() }
    try {
      for (;;) {
        const slot = await this.#slots.take(urgency, abort.signal)
        const turn = linkedAbort(abort.signal)
        slot.onYield(() => turn.abort(YIELDS))
        try {
          return await this.#attempts({ ...request, signal: turn.signal }, options, count)
        } catch (error) {
          if (turn.signal.reason !== YIELDS) throw error
        } finally {
          turn.stop()
          slot.give()
        }
      }
    } finally {
      abort.stop()
    }
  }

  /** The one layer that repeats requests: those that broke off and those the relay was too busy for. */
  async #attempts (request: Omit<FetchRequest, 'token'>, { maxStalls = Infinity }: FetchShardOptions, count: { attempt: number, stalls: number, readonly called: number }): Promise<ShardResult> {
    const { signal } = request
    for (;; count.attempt++) {
      try {
        return await this.#attempt({ ...request, token: await this.#token() }, count.attempt, count.called)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ShardClientError) || !error.retryable || count.attempt >= (this.#options.attempts ?? 8)) throw error
        if (error.fault === 'stalled' && ++count.stalls >= maxStalls) throw error
        const pause = Math.max(backoffMs(count.attempt, this.#platform.random()), Math.min(error.retryAfterMs ?? 0, 10_000))
        await delay(pause, signal, this.#platform.after)
      }
    }
  }

  async #attempt (request: FetchRequest, attempts: number, called: number): Promise<ShardResult> {
    const session = await this.#link.acquire(request.signal)
    const queuedMs = this.#platform.now() - called
    const { firstByteMs, totalMs, ...result } = await fetchObject(session, request, this.#link, this.#platform)
    return { ...result, transport: session.info.transport, attempts, timings: { queuedMs, firstByteMs, totalMs } }
  }
}
