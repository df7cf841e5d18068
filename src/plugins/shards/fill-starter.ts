import { RelayError } from '../../base/errors.ts'
import type { RangeSpec } from '../../protocol/range.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import type { RequestTrace } from '../../protocol/trace-context.ts'
import type { Integrity } from '../integrity/integrity.ts'
import type { Repair } from '../repair/repair.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { UpstreamObject, WantedPart } from '../upstream/upstream-types.ts'
import { BlockFill } from './block-fill.ts'
import { FillPlaces } from './fill-places.ts'
import { Fill } from './fill.ts'
import { endOf, startOf, type OpenSource } from './open-shard.ts'
import type { ByteSpan } from './open-whole.ts'
import type { FillState, RunningFill } from './running-fill.ts'

/** What fills need, whoever asks for them. */
export interface FillSettings {
  readonly cache: ShardCache
  readonly upstream: Pick<Upstream, 'fetch'>
  /** Compares objects with their manifests; without it, what their senders say is enough. */
  readonly integrity?: Pick<Integrity, 'begin' | 'avoids' | 'blocksOf' | 'blame' | 'verified' | 'distrustBlocks' | 'doubtBlocks'> | undefined
  /** Rebuilds shards that no super-node delivers; nothing does without it. */
  readonly repair?: Pick<Repair, 'fetch'> | undefined
  /** Whether a body must match the `repr-digest` of its sender; by default it must. */
  readonly checksDigests?: boolean
  /** Largest object taken from a super-node, bytes. */
  readonly maxObjectBytes: number
  readonly maxManifestBytes: number
  /** Fills under way at the same time; more are refused, unless one that nobody waits for can make room. */
  readonly maxFills: number
  /** Longest life of a fill, ms. */
  readonly fillTimeoutMs: number
  /** Asked before a miss starts a fill: why it must not; undefined when it may. */
  readonly refuseMiss?: (() => RelayError | undefined) | undefined
}

export interface FillRequest {
  readonly key: ShardKey
  readonly via: readonly string[]
  /** Of the request that caused it. */
  readonly trace?: RequestTrace | undefined
  /** What of the object is asked for first; its start without it. */
  readonly range?: RangeSpec | undefined
  /** Whether the object is stored when it has come. */
  readonly stores: boolean
  /** Whether it is rebuilt when no super-node delivers it. */
  readonly repairs: boolean
  /** Whether what nobody waits for is brought in too, when load permits. */
  readonly completes: boolean
  /** Brings in a sibling for that: all of it without `part`. */
  readonly openSibling: (key: ShardKey, via: readonly string[], signal: AbortSignal, part: ByteSpan | undefined) => Promise<OpenSource>
  /** Told when it has ended. */
  readonly ended: (fill: RunningFill) => void
}

/** Starts fills, by blocks where their hashes are believed, and ends them: at their deadline, for others, and with the relay. */
export class FillStarter {
  readonly #settings: FillSettings
  readonly #places: FillPlaces
  readonly #running = new Set<Promise<void>>()
  /** How to end each, by what it brings in. */
  readonly #ends = new Map<RunningFill, { readonly cid: string, readonly abort: AbortController }>()
  #stopping: RelayError | undefined

  constructor (settings: FillSettings) {
    this.#settings = settings
    this.#places = new FillPlaces(settings.maxFills)
  }

  /** Fills under way. */
  get running (): number { return this.#running.size }
  /** Those that nobody waits for. */
  get unwanted (): number { return this.#places.unwanted }

  /**
   * Starts a fill, and joins it.
   * @throws RelayError RELAY_ERR_FILLS_BUSY, RELAY_ERR_STOPPING
   */
  start (request: FillRequest): { fill: RunningFill, leave: () => void } {
    if (this.#stopping !== undefined) throw this.#stopping
    const { fillTimeoutMs } = this.#settings
    this.#places.makeRoom()
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort(new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `the object did not arrive within ${fillTimeoutMs} ms`))
    }, fillTimeoutMs)
    const fill = this.#byBlocks(request, abort.signal) ?? this.#inOrder(request, abort.signal)
    this.#places.add(fill, abort)
    this.#ends.set(fill, { cid: request.key.cid, abort })
    const running = fill.finished.then(() => {
      clearTimeout(timer)
      this.#places.remove(fill)
      this.#ends.delete(fill)
      this.#running.delete(running)
      request.ended(fill)
    })
    this.#running.add(running)
    const leave = fill.join()
    if (leave === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'a fill cannot end before it starts')
    return { fill, leave }
  }

  /** Ends the fills of CIDs that match. */
  end (matches: (cid: string) => boolean, reason: RelayError): void {
    for (const { cid, abort } of this.#ends.values()) if (matches(cid)) abort.abort(reason)
  }

  /** Ends a fill that nobody waits for; false when somebody does, or it has ended. */
  giveUp (fill: RunningFill): boolean {
    return this.#places.giveUp(fill, new RelayError('RELAY_ERR_OVERLOADED', 'nobody waited for the object'))
  }

  /** Ends all fills and waits until they have let go of the cache. */
  async close (): Promise<void> {
    const reason = this.#stopping ??= new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    this.#places.abort(reason)
    await Promise.all(this.#running)
  }

  /** A miss must be allowed. @throws RelayError that says why it is not */
  admitMiss (): void {
    const refusal = this.#settings.refuseMiss?.()
    if (refusal !== undefined) throw refusal
  }

  #byBlocks (request: FillRequest, signal: AbortSignal): BlockFill | undefined {
    const { cache, integrity, maxObjectBytes, refuseMiss } = this.#settings
    const { key, via, range, stores, completes } = request
    const expected = integrity?.blocksOf(key)
    if (integrity === undefined || expected === undefined || expected.size > maxObjectBytes) return undefined
    return new BlockFill({
      via,
      expected,
      start: startOf(range, expected.size),
      end: endOf(range, expected.size),
      completes,
      fetch: async (ending, state, part) => await this.#fetch(request, ending, state, part),
      createSpool: async () => await cache.createBlockSpool(key, expected, stores),
      blame: (nodes, received) => integrity.blame(key, nodes, received),
      mayComplete: () => refuseMiss?.() === undefined,
      verified: () => { integrity.verified() },
      contradicted: () => { integrity.distrustBlocks(key) },
      doubted: nodes => integrity.doubtBlocks(key, nodes),
      signal
    })
  }

  #inOrder (request: FillRequest, signal: AbortSignal): Fill {
    const { cache, integrity, checksDigests = true, maxManifestBytes, maxObjectBytes } = this.#settings
    const { key, via, stores } = request
    return new Fill({
      via,
      maxObjectBytes: key.part === 'manifest' ? maxManifestBytes : maxObjectBytes,
      fetch: async (ending, state) => await this.#fetch(request, ending, state),
      checksDigest: checksDigests,
      attest: integrity === undefined ? undefined : () => integrity.begin(key, via),
      createSpool: async (capacity, grows) => await cache.createSpool(key, capacity, stores, grows),
      signal
    })
  }

  /** What no super-node delivers is rebuilt from siblings, if anybody waits for it and load permits. */
  async #fetch ({ key, via, trace, repairs, openSibling }: FillRequest, signal: AbortSignal, state: FillState, part?: WantedPart): Promise<UpstreamObject> {
    const { upstream, repair, integrity } = this.#settings
    const { asked, wanted, soFar } = state
    const avoids = integrity === undefined ? undefined : (node: string): boolean => integrity.avoids(node, key)
    try {
      return await upstream.fetch(key, signal, { via, trace, part, asked, wanted, soFar, avoids })
    } catch (error) {
      if (!repairs || repair === undefined || signal.aborted || !(error instanceof RelayError) || !wanted()) throw error
      const rebuilt = part === undefined ? undefined : { from: part.from, to: Math.min(part.to, state.soon?.() ?? part.to) }
      if (rebuilt !== undefined && rebuilt.to <= rebuilt.from) throw error
      state.repairs()
      return await repair.fetch(key, {
        via,
        part: rebuilt,
        signal,
        cause: error,
        mayBegin: () => { this.admitMiss() },
        open: async (sibling, ending) => await openSibling(sibling, via, ending, rebuilt)
      })
    }
  }
}
