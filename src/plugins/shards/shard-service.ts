import { RelayError } from '../../base/errors.ts'
import type { ObjectFacts, Origin } from '../../protocol/answer.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import { formatVia } from '../../protocol/via.ts'
import type { ShardCache, CachedObject } from '../shard-cache/shard-cache.ts'
import { cameFromRelay, sameWay } from '../upstream/tiers.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { AskedNodes } from '../upstream/upstream-types.ts'
import { Fill } from './fill.ts'
import { FillPlaces } from './fill-places.ts'

/** The bytes of an open object as another process reads them. */
export interface SharedFile {
  /** Undefined while memory holds the bytes; of a fill, another one once it is stored. */
  readonly path: string | undefined
  /** SHA-256 of its blocks, by which whoever reads it verifies each; undefined where that is not asked for. */
  readonly blocks?: Uint8Array | undefined
  /** Bytes from the start of the object that may be read now. */
  readable (): number
  /** Resolves when more than `position` bytes may be read. @throws RelayError when that will never be */
  more (position: number): Promise<void>
}

export interface OpenOptions {
  /** The bytes are read by another process, from a file where there is one. */
  readonly asFile?: boolean
  /** `via` members of the request, without our own; what loops has been refused before. */
  readonly via?: readonly string[]
  /** Nothing is fetched for it, and it waits for nothing that is. */
  readonly onlyIfCached?: boolean
}

/** An object opened for one viewer; `release` once. */
export interface OpenShard extends ObjectFacts {
  readonly key: ShardKey
  /** The whole body, when it is in memory. */
  readonly buffer: Buffer | undefined
  /** Set for an object that was opened with `asFile`, or is being filled. */
  readonly file: SharedFile | undefined
  /**
   * Bytes at `position`, at least one and at most `length`; the caller stays within `size`.
   * @param end where the response ends, exclusive, when that is before `size`: its last byte is withheld until the whole object is verified
   * @param into memory that they may be read into, instead of new memory
   * @throws RelayError when neither cache nor super-nodes can deliver them
   */
  read (position: number, length: number, end?: number, into?: Buffer): Promise<Uint8Array>
  release (): void
}

/** What the service reports to metrics; implementations must not throw. */
export interface ShardObserver {
  opened (origin: Origin): void
  openFailed (error: RelayError): void
}

export interface ShardServiceOptions {
  readonly cache: ShardCache
  readonly upstream: Pick<Upstream, 'fetch'> & Partial<Pick<Upstream, 'forgetMissing' | 'waitsFor'>>
  readonly observer: ShardObserver
  /** Largest object taken from a super-node, bytes. */
  readonly maxObjectBytes: number
  readonly maxManifestBytes: number
  /** Fills under way at the same time; more are refused, unless one that nobody waits for can make room. */
  readonly maxFills: number
  /** Longest life of a fill, ms. */
  readonly fillTimeoutMs: number
  /** Asked before a miss starts a fill: why it must not; undefined when it may. */
  readonly refuseMiss?: () => RelayError | undefined
}

/** Times a request looks for an object in cache and fills before it starts a fill, or takes the failure of one for its own. */
const MAX_LOOKS = 4

/** One entry point for every surface: cache first, then the fill in flight, then the super-nodes. */
export class ShardService {
  readonly #options: ShardServiceOptions
  readonly #fills = new Map<string, Fill>()
  /** Fills for relays that must not wait for the one in {@link #fills}, by key and `via`; they pass through and are not stored. */
  readonly #direct = new Map<string, Fill>()
  readonly #running = new Set<Promise<void>>()
  readonly #places: FillPlaces
  #stopping: RelayError | undefined

  constructor (options: ShardServiceOptions) {
    this.#options = options
    this.#places = new FillPlaces(options.maxFills)
  }

  /** Fills under way. */
  get fills (): number { return this.#running.size }
  /** Those that nobody waits for. */
  get unwantedFills (): number { return this.#places.unwanted }

  /**
   * Opens an object for reading.
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND, RELAY_ERR_UPSTREAM_*, RELAY_ERR_LOOP, RELAY_ERR_NOT_CACHED, RELAY_ERR_FILLS_BUSY,
   * RELAY_ERR_OVERLOADED, RELAY_ERR_STOPPING
   */
  async open (key: ShardKey, options: OpenOptions = {}): Promise<OpenShard> {
    try {
      const source = await this.#openSource(key, options)
      this.#options.observer.opened(source.origin)
      return this.#resilient(key, options.via ?? [], source)
    } catch (error) {
      const known = error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'the object could not be opened', { cause: error })
      this.#options.observer.openFailed(known)
      throw known
    }
  }

  /** A fill in flight for a purged key serves those who wait and is not stored. */
  forbidStore (matches: (id: string) => boolean): void {
    this.#options.upstream.forgetMissing?.(matches)
    for (const [id, fill] of this.#fills) {
      if (!matches(id)) continue
      fill.forbidStore()
      // Whoever asks from now on gets bytes from after the purge.
      this.#fills.delete(id)
    }
  }

  /** Ends all fills and waits until they have let go of the cache. */
  async close (): Promise<void> {
    const reason = this.#stopping ??= new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    this.#places.abort(reason)
    await Promise.all(this.#running)
  }

  async #openSource (key: ShardKey, { asFile = false, via = [], onlyIfCached = false }: OpenOptions): Promise<OpenShard> {
    const id = keyId(key)
    // A fill that ends while the cache is being asked has stored the object; then asking again spares a second fetch.
    for (let look = 1; look <= MAX_LOOKS; look++) {
      const cached = await (asFile ? this.#options.cache.pin(key) : this.#options.cache.open(key))
      if (cached !== undefined) return fromCache(key, cached)
      if (onlyIfCached) throw await this.#refusal(key, via)
      const fill = this.#fills.get(id)
      const leave = fill?.join()
      if (fill !== undefined && leave !== undefined) {
        if (await this.#waitsFor(key, fill, via)) {
          leave()
          return await this.#openOwnWay(key, via)
        }
        try {
          return await fromFill(key, fill, leave, true)
        } catch (error) {
          // What goes in circles by the way of another request need not by ours: nobody can fail us with a `via` of his own.
          if (!(error instanceof RelayError) || error.code !== 'RELAY_ERR_LOOP' || sameWay(fill.via, via) || look === MAX_LOOKS) throw error
          continue
        }
      }
      if (!this.#options.cache.has(key)) break
    }
    this.#admitMiss()
    const { fill, leave } = this.#startFill(key, via, { fills: this.#fills, name: id })
    return await fromFill(key, fill, leave, false)
  }

  /** Hits, and those who join a fill, never get here; nor does a hit whose disk fails half-way. */
  #admitMiss (): void {
    const refusal = this.#options.refuseMiss?.()
    if (refusal !== undefined) throw refusal
  }

  /**
   * Whether a fill waits for the relay that asks now: each began for a viewer of its own, and each was asked for the other's. What has
   * its answer waits for nobody, and a fill that came the same way is no further than the request.
   */
  async #waitsFor (key: ShardKey, fill: Fill, via: readonly string[]): Promise<boolean> {
    const { upstream } = this.#options
    if (upstream.waitsFor === undefined || fill.answered || !cameFromRelay(via) || sameWay(fill.via, via)) return false
    const settled = fill.head.then(() => false, () => false)
    return await Promise.race([settled, upstream.waitsFor(key, fill.asked, via)])
  }

  /**
   * Why an object is not given to who wants it from the cache only. Relays ask that way whether something here waits for them: our own
   * fills may wait for relays in turn, so the question goes on along them, and is back where it came from if that is a circle.
   */
  async #refusal (key: ShardKey, via: readonly string[]): Promise<RelayError> {
    const { upstream } = this.#options
    const id = keyId(key)
    const fills = [this.#fills.get(id), ...[...this.#direct].filter(([name]) => name.startsWith(`${id} `)).map(([, fill]) => fill)]
    const asked: AskedNodes = new Set(fills.flatMap(fill => fill?.answered === false ? [...fill.asked] : []))
    if (cameFromRelay(via) && asked.size > 0 && await upstream.waitsFor?.(key, asked, via) === true) return new RelayError('RELAY_ERR_LOOP', 'the object is waited for in a circle')
    return new RelayError('RELAY_ERR_NOT_CACHED', 'the object is not in the cache')
  }

  /** A fill beside another one, for those who came the same way. It asks by that way, so that a circle shows in its `via`. */
  async #openOwnWay (key: ShardKey, via: readonly string[]): Promise<OpenShard> {
    const name = `${keyId(key)} ${formatVia(via)}`
    const fill = this.#direct.get(name)
    const leave = fill?.join()
    if (fill !== undefined && leave !== undefined) return await fromFill(key, fill, leave, true)
    this.#admitMiss()
    const own = this.#startFill(key, via, { fills: this.#direct, name })
    return await fromFill(key, own.fill, own.leave, false)
  }

  /** A disk that fails in the middle of a body costs the viewer nothing: the rest comes from a super-node, same key, same bytes. */
  #resilient (key: ShardKey, via: readonly string[], first: OpenShard): OpenShard {
    let source = first
    let released = false
    const read: OpenShard['read'] = async (position, length, end, into) => {
      try {
        return await source.read(position, length, end, into)
      } catch (error) {
        if (error instanceof RelayError || source !== first || released) throw error
        const replacement = await this.#replace(key, via, error)
        if (released || !sameObject(first, replacement)) {
          replacement.release()
          throw new RelayError('RELAY_ERR_CACHE_READ', 'the cached object could not be read', { cause: error })
        }
        source.release()
        source = replacement
        // Not into memory that a read which was given up may still fill.
        return await source.read(position, length, end)
      }
    }
    return {
      ...first,
      read,
      release: () => {
        released = true
        source.release()
      }
    }
  }

  async #replace (key: ShardKey, via: readonly string[], cause: unknown): Promise<OpenShard> {
    try {
      const { fill, leave } = this.#startFill(key, via)
      return await fromFill(key, fill, leave, false)
    } catch (error) {
      if (error instanceof RelayError) throw error
      throw new RelayError('RELAY_ERR_CACHE_READ', 'the cached object could not be read', { cause })
    }
  }

  /** @param place where others find it; only an object that comes through {@link #fills} is stored */
  #startFill (key: ShardKey, via: readonly string[], place?: { readonly fills: Map<string, Fill>, readonly name: string }): { fill: Fill, leave: () => void } {
    const { cache, upstream, maxManifestBytes, maxObjectBytes, fillTimeoutMs } = this.#options
    if (this.#stopping !== undefined) throw this.#stopping
    this.#places.makeRoom()
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `the object did not arrive within ${fillTimeoutMs} ms`))
    }, fillTimeoutMs)
    const fill = new Fill({
      via,
      maxObjectBytes: key.part === 'manifest' ? maxManifestBytes : maxObjectBytes,
      fetch: async (signal, state) => await upstream.fetch(key, signal, { via, ...state }),
      createSpool: async (capacity, grows) => await cache.createSpool(key, capacity, place?.fills === this.#fills, grows),
      signal: abort.signal
    })
    this.#places.add(fill, abort)
    place?.fills.set(place.name, fill)
    const running = fill.finished.then(() => {
      clearTimeout(timer)
      this.#places.remove(fill)
      this.#running.delete(running)
      if (place?.fills.get(place.name) === fill) place.fills.delete(place.name)
    })
    this.#running.add(running)
    const leave = fill.join()
    if (leave === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'a fill cannot end before it starts')
    return { fill, leave }
  }
}

/** As far as the heads tell. */
function sameObject (a: OpenShard, b: OpenShard): boolean {
  return a.size === b.size && (a.sha256 === undefined || b.sha256 === undefined || a.sha256 === b.sha256)
}

function fromCache (key: ShardKey, cached: CachedObject): OpenShard {
  return {
    key,
    size: cached.size,
    sha256: cached.sha256,
    origin: { hit: true, tier: cached.tier, storedAt: cached.storedAt },
    lasting: true,
    buffer: cached.buffer,
    file: cached.path === undefined ? undefined : { path: cached.path, blocks: cached.blocks, readable: () => cached.size, more: async () => {} },
    read: async (position, length, _end, into) => await cached.read(position, length, into),
    release: () => { cached.release() }
  }
}

async function fromFill (key: ShardKey, fill: Fill, leave: () => void, collapsed: boolean): Promise<OpenShard> {
  const head = await fill.head.catch((error: unknown) => {
    leave()
    throw error
  })
  return {
    key,
    size: head.size,
    sha256: head.sha256 ?? fill.sha256,
    origin: { hit: false, collapsed, region: head.region, headMs: head.headMs },
    lasting: head.lasting,
    buffer: undefined,
    file: {
      get path () { return fill.path },
      readable: () => fill.readableInFile,
      more: async position => { await fill.moreInFile(position) }
    },
    read: async (position, length, end, into) => await fill.read(position, length, end, into),
    release: leave
  }
}
