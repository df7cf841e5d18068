import type { BandwidthSignal } from './bandwidth-signal.ts'
import { ShardClientError } from './client-error.ts'
import type { FetchOptions, ShardClientOptions } from './client-options.ts'
import type * as FileParts from './file-parts.ts'
import type { FileRequestInit } from './file-response.ts'
import type { FileContext, IcnFile } from './icn-file.ts'
import { cidOfUri } from './icn-uri.ts'
import { systemPlatform } from './platform.ts'
import { PrioritySlots } from './priority-slots.ts'
import type { ReadStatistics } from './read-statistics.ts'
import type { ShardClient } from './shard-client.ts'
import type { TransportInfo } from './transports.ts'
import { abortable } from './waiting.ts'

export interface FileClientOptions extends Omit<ShardClientOptions, 'alternates'> {
  /** Bytes that one read fetches ahead of who reads, 8 MiB by default; one piece always is, which is a whole shard where the manifest has no block hashes. */
  readonly windowBytes?: number
  /** Bytes that are kept of what was fetched ahead, over all files, 16 MiB by default. */
  readonly cacheBytes?: number
  /** Compare everything with the hashes of the manifest; true by default. */
  readonly verify?: boolean
}

/** Files whose manifests are kept. */
const MAX_FILES = 16
/** Repairs at the same time, and as many in the background: one holds the same part, 1 MiB, of ten shards and twice that in WebAssembly. */
const MAX_REPAIRS = 2

export interface FileClientEvents {
  /** The client is connected in another way than before. */
  readonly transport: TransportInfo
  /** What the relay says of this viewer's bandwidth; undefined when nothing limits it any more. */
  readonly bandwidth: BandwidthSignal | undefined
  /** A read is over. */
  readonly request: ReadStatistics
  /** A read failed; whoever reads has the same error. */
  readonly error: unknown
}

/** An event of a {@link FileClient}; `detail` is what it tells. */
export class FileClientEvent<T = unknown> extends Event {
  readonly detail: T

  constructor (type: string, detail: T) {
    super(type)
    this.detail = detail
  }
}

/** Opens files of a relay, and reads them whichever shards their bytes are in. */
export class FileClient extends EventTarget {
  readonly #options: FileClientOptions
  readonly #life = new AbortController()
  /** The one used last at the end. */
  readonly #files = new Map<string, Promise<IcnFile>>()
  #context: Promise<FileContext> | undefined
  #shards: ShardClient | undefined

  /** @param connect opens the client below */
  static async connect (relays: string | readonly string[], options: FileClientOptions, connect: (relayUrl: string, options: ShardClientOptions) => Promise<ShardClient>): Promise<FileClient> {
    const [first = '', ...alternates] = typeof relays === 'string' ? [relays] : relays
    const { onTransport, onBandwidth } = options
    const client = new FileClient(options)
    client.#shards = await connect(first, {
      ...options,
      alternates,
      onTransport: info => {
        onTransport?.(info)
        client.dispatchEvent(new FileClientEvent('transport', info))
      },
      onBandwidth: signal => {
        onBandwidth?.(signal)
        client.dispatchEvent(new FileClientEvent('bandwidth', signal))
      }
    })
    return client
  }

  private constructor (options: FileClientOptions) {
    super()
    this.#options = options
  }

  /** The client below, for shards by their number. */
  get shards (): ShardClient {
    if (this.#shards === undefined) throw new ShardClientError('connect', 'the client is not connected yet')
    return this.#shards
  }

  /** How the client is, or was last, connected, and why not in a better way. */
  get transport (): TransportInfo { return this.shards.transport }
  /** What the relay said last of this viewer's bandwidth. */
  get bandwidth (): BandwidthSignal | undefined { return this.shards.bandwidth }

  on<K extends keyof FileClientEvents> (type: K, listener: (detail: FileClientEvents[K]) => void, options?: { readonly once?: boolean, readonly signal?: AbortSignal }): () => void {
    const heard = (event: Event): void => { listener((event as FileClientEvent<FileClientEvents[K]>).detail) }
    this.addEventListener(type, heard, options)
    return () => { this.removeEventListener(type, heard) }
  }

  /**
   * Opens a file: fetches its manifest, unless that is known.
   * @param uri `icn://CID`
   * @throws ShardClientError uri, manifest, status and others; or the reason of the signal
   */
  async open (uri: string | URL, { signal = this.#life.signal }: Pick<FetchOptions, 'signal'> = {}): Promise<IcnFile> {
    const cid = cidOfUri(String(uri))
    this.#life.signal.throwIfAborted()
    signal.throwIfAborted()
    const known = this.#files.get(cid)
    const file = known ?? this.#open(cid)
    // The last one in the order of use.
    this.#files.delete(cid)
    this.#files.set(cid, file)
    for (const [oldest] of this.#files) {
      if (this.#files.size <= MAX_FILES) break
      this.#files.delete(oldest)
    }
    file.catch(() => { if (this.#files.get(cid) === file) this.#files.delete(cid) })
    return await abortable(file, signal)
  }

  /**
   * As `fetch`, for `icn://CID`: 200, 206 or 416, or the status with which the relay refuses the file, with a body that streams. `Range` takes one range, or the last
   * bytes. `url` of the response is empty.
   * @throws ShardClientError where `fetch` would throw a TypeError; or the reason of the signal
   */
  async fetch (uri: string | URL, init: FileRequestInit = {}): Promise<Response> {
    const { method = 'GET', signal } = init
    if (method !== 'GET' && method !== 'HEAD') throw new TypeError(`a file cannot be asked for with ${method}`)
    const { fileResponse, problemResponse } = await import('./file-parts.ts')
    let file: IcnFile
    try {
      file = await this.open(uri, signal == null ? {} : { signal })
    } catch (error) {
      const problem = problemResponse(error)
      if (problem === undefined) throw error
      return problem
    }
    return fileResponse(file, init)
  }

  /** Ends the connection and every read under way; idempotent. */
  close (): void {
    this.#life.abort(new ShardClientError('closed', 'the client was closed'))
    this.#files.clear()
    this.#context?.then(({ store }) => { store.clear() }, () => {})
    this.#shards?.close()
  }

  async #open (cid: string): Promise<IcnFile> {
    const [parts, manifest] = await Promise.all([import('./file-parts.ts'), this.shards.fetchManifest(cid, { signal: this.#life.signal, priority: 'urgent' })])
    this.#context ??= Promise.resolve(this.#newContext(parts))
    return new parts.IcnFile(manifest, await this.#context)
  }

  #newContext ({ PieceStore }: typeof FileParts): FileContext {
    const { windowBytes = 8_388_608, cacheBytes = 16_777_216, maxVideoBytes = 2 ** 30, verify = true, platform = systemPlatform() } = this.#options
    return {
      source: this.shards,
      platform,
      verify,
      repairs: new PrioritySlots(MAX_REPAIRS, 0),
      store: new PieceStore(cacheBytes),
      windowBytes,
      cacheBytes,
      maxBytes: maxVideoBytes,
      life: this.#life.signal,
      bandwidth: () => this.bandwidth,
      ended: (statistics, error) => {
        this.dispatchEvent(new FileClientEvent('request', statistics))
        if (statistics.outcome === 'failed') this.dispatchEvent(new FileClientEvent('error', error))
      }
    }
  }
}
