import { RelayError } from '../../base/errors.ts'
import type { Origin } from '../../protocol/answer.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import { cidOfId, keyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import { formatVia } from '../../protocol/via.ts'
import { deniedError, refuseDenied } from '../denylist/denied.ts'
import type { Denies } from '../denylist/denylist.ts'
import type { Integrity } from '../integrity/integrity.ts'
import type { Repair } from '../repair/repair.ts'
import { cameFromRelay, sameWay } from '../upstream/tiers.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { AskedNodes } from '../upstream/upstream-types.ts'
import { ExpiredObject, NO_KEEPER, type StaleKeeper } from './expired-object.ts'
import { FillStarter, type FillRequest, type FillSettings } from './fill-starter.ts'
import { fromCache, fromFill, fromPlainFill, isPart, type OpenedListener, type OpenOptions, type OpenShard, type OpenSource } from './open-shard.ts'
import { openWhole, type WholeOptions } from './open-whole.ts'
import { OpenObjects } from './open-objects.ts'
import { resilient } from './resilient-shard.ts'
import type { QuietFill, RunningFill } from './running-fill.ts'

/** What the service reports to metrics; implementations must not throw. */
export interface ShardObserver {
  opened (origin: Origin): void
  openFailed (error: RelayError): void
}

export interface ShardServiceOptions extends FillSettings {
  readonly upstream: Pick<Upstream, 'fetch'> & Partial<Pick<Upstream, 'forgetMissing' | 'waitsFor'>>
  readonly observer: ShardObserver
  /** CIDs of which nothing may be served; none by default. */
  readonly denies?: Denies | undefined
  readonly integrity?: FillSettings['integrity'] & Pick<Integrity, 'used' | 'forget' | 'expects'> | undefined
  readonly repair?: FillSettings['repair'] & Pick<Repair, 'forget'> | undefined
}

/** Times a request looks for an object in cache and fills before it starts a fill, or takes the failure of one for its own. */
const MAX_LOOKS = 4

/** One entry point for every surface: cache first, then the fill in flight, then the super-nodes. */
export class ShardService {
  readonly #options: ShardServiceOptions
  readonly #fills = new Map<string, RunningFill>()
  /** Fills for relays that must not wait for the one in {@link #fills}, by key and `via`; they pass through and are not stored. */
  readonly #direct = new Map<string, RunningFill>()
  /** Fills that end when no super-node delivers. */
  readonly #plain = new WeakSet<RunningFill>()
  readonly #starter: FillStarter
  /** What viewers have open. */
  readonly #held = new OpenObjects()
  #opened: OpenedListener = () => {}
  #keeper = NO_KEEPER

  constructor (options: ShardServiceOptions) {
    this.#options = options
    this.#starter = new FillStarter(options)
  }

  /** Fills under way. */
  get fills (): number { return this.#starter.running }
  /** Those that nobody waits for. */
  get unwantedFills (): number { return this.#starter.unwanted }

  /** Puts the one listener there is in its place. */
  onOpened (listener: OpenedListener): void {
    this.#opened = listener
  }

  /** Puts who looks after objects that are not fresh any more in its place. */
  keepStaleBy (keeper: StaleKeeper): void {
    this.#keeper = keeper
  }

  /**
   * Opens an object for reading.
   * @throws RelayError RELAY_ERR_SHARD_NOT_FOUND, RELAY_ERR_DENIED, RELAY_ERR_UPSTREAM_*, RELAY_ERR_LOOP, RELAY_ERR_NOT_CACHED, RELAY_ERR_FILLS_BUSY,
   * RELAY_ERR_OVERLOADED, RELAY_ERR_STOPPING
   */
  async open (key: ShardKey, options: OpenOptions = {}): Promise<OpenShard> {
    try {
      const source = await this.#openSource(key, options)
      if (this.#options.denies?.(key.cid) === true) source.release()
      refuseDenied(this.#options.denies, key.cid)
      this.#options.observer.opened(source.origin)
      if (!cameFromRelay(options.via ?? [])) this.#opened(key, source, options.next ?? [])
      return this.#resilient(key, options, source)
    } catch (error) {
      const known = error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'the object could not be opened', { cause: error })
      this.#options.observer.openFailed(known)
      throw known
    }
  }

  /**
   * Brings an object in whole, or a part of it, for the relay itself: nothing of it counts as a request.
   * @returns the object, whose bytes are all there, or come and are verified one by one; to be released
   * @throws RelayError as {@link open}; the reason of the signal
   */
  async openWhole (key: ShardKey, { via = [], trace, repairs, signal, part }: WholeOptions): Promise<OpenSource> {
    const range: RangeSpec | undefined = part === undefined ? undefined : { kind: 'from', first: part.from, last: part.to - 1 }
    return await openWhole(async () => await this.#openSource(key, { via, trace, range }, repairs), { signal, part }, MAX_LOOKS)
  }

  /**
   * Brings in an object that nobody waits for, unless the cache has it or it is on its way. Whoever asks for it joins its fill; until then that makes room
   * for any other.
   * @throws RelayError RELAY_ERR_FILLS_BUSY, RELAY_ERR_STOPPING, or why a miss is refused
   */
  bringIn (key: ShardKey): QuietFill | undefined {
    return this.#options.cache.has(key) ? undefined : this.refetch(key)
  }

  /**
   * As {@link bringIn} for an object that the cache may have, which is then replaced, or, if it is the same, not stale any more.
   * @throws as that does
   */
  refetch (key: ShardKey): QuietFill | undefined {
    const id = keyId(key)
    if (this.#fills.has(id)) return undefined
    this.#starter.admitMiss()
    const { fill, leave } = this.#startFill({ key, via: [], repairs: true }, this.#fills, id)
    leave()
    // Nobody joins what was given up.
    const giveUp = (): void => { if (this.#starter.giveUp(fill)) this.#forget(id, fill) }
    return { head: fill.head, finished: fill.finished, complete: async () => { await fill.complete() }, giveUp }
  }

  /** A fill in flight for a purged key serves those who wait and is not stored. */
  forbidStore (matches: (id: string) => boolean): void {
    this.#options.upstream.forgetMissing?.(matches)
    this.#options.integrity?.forget(matches)
    this.#options.repair?.forget(matches)
    for (const [id, fill] of this.#fills) {
      if (!matches(id)) continue
      fill.forbidStore()
      // Whoever asks from now on gets bytes from after the purge.
      this.#fills.delete(id)
    }
  }

  /** Of the CIDs that `denies` tells nothing more is brought in or given to anybody, whoever reads it now. */
  revoke (denies: Denies): void {
    const error = deniedError()
    this.forbidStore(id => denies(cidOfId(id)))
    this.#starter.end(denies, error)
    this.#held.revoke(denies, error)
  }

  /** Ends all fills and waits until they have let go of the cache. */
  async close (): Promise<void> {
    await this.#starter.close()
  }

  async #openSource (key: ShardKey, options: OpenOptions, repairs = true): Promise<OpenSource> {
    const { denies, integrity, cache } = this.#options
    refuseDenied(denies, key.cid)
    const expired = new ExpiredObject(key, options, this.#keeper, integrity)
    try {
      const source = expired.found(await this.#search(key, options, repairs, expired))
      return source.origin.hit ? source : { ...source, lifetime: cache.freshness.lifetimeOf(key) }
    } catch (error) {
      return expired.insteadOf(error)
    } finally {
      expired.release()
    }
  }

  async #search (key: ShardKey, { asFile = false, via = [], trace, onlyIfCached = false, range }: OpenOptions, repairs: boolean, expired: ExpiredObject): Promise<OpenSource> {
    const id = keyId(key)
    let asked = false
    // A fill that ends while the cache is being asked has stored the object; then asking again spares a second fetch.
    for (let look = 1; look <= MAX_LOOKS; look++) {
      const cached = await (asFile ? this.#options.cache.pin(key) : this.#options.cache.open(key))
      if (cached !== undefined && cached.standing !== 'expired') {
        if (cached.standing === 'stale') this.#keeper.used(key)
        return fromCache(key, cached, this.#options.integrity, cameFromRelay(via))
      }
      const good = cached === undefined ? undefined : await expired.hold(cached)
      if (good !== undefined) return good
      if (onlyIfCached) throw await this.#refusal(key, via)
      let fill = this.#fills.get(id)
      if (fill !== undefined && !fill.byBlocks && isPart(range)) {
        if (await this.#takesOver(key, via, fill)) continue
        fill = this.#fills.get(id)
      }
      const leave = fill?.join()
      if (fill !== undefined && leave !== undefined) {
        if (await this.#waitsFor(key, fill, via)) {
          leave()
          return await this.#openOwnWay(key, via, trace)
        }
        try {
          return await (repairs ? fromFill(key, fill, leave, true, range) : fromPlainFill(key, fill, leave))
        } catch (error) {
          const givenUpEarly = repairs && this.#plain.has(fill)
          if ((fill.wrong || givenUpEarly) && look < MAX_LOOKS) {
            this.#forget(id, fill)
            continue
          }
          // What goes in circles by the way of another request need not by ours: nobody can fail us with a `via` of his own.
          if (!(error instanceof RelayError) || error.code !== 'RELAY_ERR_LOOP' || sameWay(fill.via, via) || look === MAX_LOOKS) throw error
          continue
        }
      }
      if (fill?.givenUp === true && look < MAX_LOOKS) {
        await fill.finished
        continue
      }
      if (this.#options.cache.has(key)) continue
      this.#starter.admitMiss()
      // Only its manifest tells how a part can be verified before the rest has come; where it does not, the object is asked for all the same.
      if (!asked && look < MAX_LOOKS && isPart(range) && this.#options.integrity?.blocksOf(key) === undefined) {
        asked = true
        await this.#options.integrity?.expects(key, via)
        continue
      }
      const own = this.#startFill({ key, via, trace, range, repairs }, this.#fills, id)
      try {
        return await fromFill(key, own.fill, own.leave, false, range)
      } catch (error) {
        // Nobody has been given a byte of it, and the next super-node may have the right ones.
        if (!own.fill.wrong || look === MAX_LOOKS) throw error
        this.#forget(id, own.fill)
      }
    }
    this.#starter.admitMiss()
    const { fill, leave } = this.#startFill({ key, via, trace, range, repairs }, this.#fills, id)
    return await fromFill(key, fill, leave, false, range)
  }

  /** Whoever wants a part need not wait for the whole object, once its blocks are known: then another fill takes over, by blocks. */
  async #takesOver (key: ShardKey, via: readonly string[], fill: RunningFill): Promise<boolean> {
    const { integrity } = this.#options
    if (integrity === undefined || key.part === 'manifest') return false
    if (integrity.blocksOf(key) === undefined) await integrity.expects(key, via)
    if (integrity.blocksOf(key) === undefined || fill.sha256 !== undefined) return false
    fill.forbidStore()
    this.#forget(keyId(key), fill)
    this.#starter.giveUp(fill)
    return true
  }

  /** Whoever asks from now on does not join it. */
  #forget (id: string, fill: RunningFill): void {
    if (this.#fills.get(id) === fill) this.#fills.delete(id)
  }

  /**
   * Whether a fill waits for the relay that asks now: each began for a viewer of its own, and each was asked for the other's. What has
   * its answer waits for nobody, and a fill that came the same way is no further than the request.
   */
  async #waitsFor (key: ShardKey, fill: RunningFill, via: readonly string[]): Promise<boolean> {
    const { upstream } = this.#options
    if (upstream.waitsFor === undefined || fill.answered || !cameFromRelay(via) || sameWay(fill.via, via)) return false
    const settled = fill.answer().then(() => false)
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
  async #openOwnWay (key: ShardKey, via: readonly string[], trace: RequestTrace | undefined): Promise<OpenSource> {
    const name = `${keyId(key)} ${formatVia(via)}`
    const fill = this.#direct.get(name)
    const leave = fill?.join()
    if (fill !== undefined && leave !== undefined) return await fromFill(key, fill, leave, true)
    this.#starter.admitMiss()
    const own = this.#startFill({ key, via, trace, repairs: true }, this.#direct, name)
    return await fromFill(key, own.fill, own.leave, false)
  }

  #resilient (key: ShardKey, { via = [], trace }: OpenOptions, source: OpenSource): OpenShard {
    const held = this.#held.add(key.cid)
    return resilient(source, held, {
      maxMoves: MAX_LOOKS,
      again: async () => await this.#openSource(key, { via, trace }),
      replace: async cause => await this.#replace(key, via, trace, cause),
      released: () => { this.#held.remove(held) }
    })
  }

  async #replace (key: ShardKey, via: readonly string[], trace: RequestTrace | undefined, cause: unknown): Promise<OpenSource> {
    try {
      const { fill, leave } = this.#startFill({ key, via, trace, repairs: true })
      return await fromFill(key, fill, leave, false)
    } catch (error) {
      if (error instanceof RelayError) throw error
      throw new RelayError('RELAY_ERR_CACHE_READ', 'the cached object could not be read', { cause })
    }
  }

  /** @param fills where others find it; only an object that comes through {@link #fills} is stored */
  #startFill (request: Pick<FillRequest, 'key' | 'via' | 'trace' | 'range' | 'repairs'>, fills?: Map<string, RunningFill>, name = ''): { fill: RunningFill, leave: () => void } {
    const { trace: asked } = request
    // The fill may live longer than what asked for it.
    const trace = asked === undefined ? undefined : { id: asked.id, trace: asked.trace }
    const started = this.#starter.start({
      ...request,
      trace,
      stores: fills === this.#fills,
      completes: request.repairs || !isPart(request.range),
      openSibling: async (sibling, via, signal, part) => await this.openWhole(sibling, { via, trace, repairs: false, signal, part }),
      ended: fill => { if (fills?.get(name) === fill) fills.delete(name) }
    })
    if (!request.repairs) this.#plain.add(started.fill)
    fills?.set(name, started.fill)
    return started
  }
}
