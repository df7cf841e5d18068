import { LRUCache } from 'lru-cache'
import type { Timers } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { TokenBucket } from '../../pacing/token-bucket.ts'
import type { ObjectFacts } from '../../protocol/answer.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { QuietFill } from '../shards/running-fill.ts'
import type { ShardService } from '../shards/shard-service.ts'
import { Depth } from './depth.ts'
import { objectsAfter, parityFor } from './prediction.ts'
import { UnusedObjects, type PrefetchSource, type UnusedOutcome } from './unused-objects.ts'

export type PrefetchOutcome = 'stored' | 'joined' | 'unstored' | 'failed'

/** What prefetching reports to metrics; implementations must not throw. */
export interface PrefetchObserver {
  ended (source: PrefetchSource, outcome: PrefetchOutcome): void
  skipped (reason: 'room' | 'late' | 'full' | 'load', objects: number): void
  bytes (kind: 'brought' | 'used' | 'wasted', source: PrefetchSource, bytes: number): void
}

export interface PrefetchOptions {
  /** Objects brought in at the same time that no viewer has asked for. */
  readonly concurrency: number
  /** Bits per second; 0 for any amount. */
  readonly maxBps: number
  readonly maxDepth: number
  /** Fills that viewers wait for from which on nothing more begins. */
  readonly contendedAt: number
  readonly shards: Pick<ShardService, 'bringIn' | 'fills' | 'unwantedFills'>
  readonly cached: (key: ShardKey) => boolean
  /** Whether so many bytes can be stored without anything going that viewers used lately. */
  readonly hasRoom: (bytes: number) => boolean
  /** CIDs of what is watched after a video. */
  readonly nextCids: (cid: string) => readonly string[]
  /** Bytes of an object, where its manifest is known. */
  readonly sizeOf: (key: ShardKey) => number | undefined
  /** Whether load permits work that nobody waits for. */
  readonly mayRun: () => boolean
  readonly timers: Timers
  readonly observer: PrefetchObserver
}

interface Candidate {
  readonly key: ShardKey
  readonly source: PrefetchSource
  /** Expected, bytes. */
  readonly size: number
  /** Monotonic, ms. */
  readonly at: number
}

interface RunningPrefetch {
  readonly fill: QuietFill
  /** Whether a viewer has asked for it meanwhile. */
  joined: boolean
}

/** Objects that wait to be brought in; the oldest goes for a newer one, which is nearer to what viewers watch now. */
export const MAX_WAITING = 256
/** Time after which it is too late for one that waited, ms: a player that has gone on has asked for it by then. */
export const MAX_WAIT_MS = 10_000
/** Objects remembered that were tried since a viewer asked for them last: each is brought in once for that. */
const MAX_TRIED = 4_096
/** Depth at first, of what follows in order: enough to have an answer waiting for the next request. */
const FIRST_DEPTH = 2
/** What a shard is taken to have before any was seen, bytes: the largest there are. */
const FIRST_SHARD_BYTES = 10_000_000
/** Pauses before somebody looks again: for contention to pass, for room, and at what was not used, ms. */
const CONTENTION_MS = 50
const ROOM_MS = 1_000
const LOOK_MS = 1_000
/** What the budget holds after a quiet time: that of one second. */
const BURST_MS = 1_000

/** Brings in what viewers will ask for next, behind everything that they wait for. `docs/prefetch.md` has the rules. */
export class Prefetch {
  readonly #options: PrefetchOptions
  readonly #waiting = new Map<string, Candidate>()
  /** Those that no viewer has asked for. */
  readonly #running = new Map<string, RunningPrefetch>()
  readonly #tried = new LRUCache<string, true>({ max: MAX_TRIED })
  readonly #unused = new UnusedObjects()
  readonly #depths: Readonly<Record<PrefetchSource, Depth>>
  readonly #budget: TokenBucket | undefined
  /** Of the shard that was opened last, which an object of unknown size is taken to have: those of one video have the same. */
  #shardBytes = FIRST_SHARD_BYTES
  #lookedAt = -Infinity
  #noRoomUntil = -Infinity
  #cancelTimer: (() => void) | undefined
  #closed = false

  constructor (options: PrefetchOptions) {
    const { maxBps, maxDepth, timers } = options
    this.#options = options
    // Who says what comes next is believed until it turns out otherwise.
    this.#depths = { order: new Depth(FIRST_DEPTH, maxDepth), hint: new Depth(maxDepth, maxDepth) }
    const bytesAMs = maxBps / 8_000
    this.#budget = maxBps === 0 ? undefined : new TokenBucket(bytesAMs, bytesAMs * BURST_MS, timers.now())
  }

  get running (): number { return this.#running.size }
  get waiting (): number { return this.#waiting.size }
  get unusedBytes (): number { return this.#unused.bytes }
  depth (source: PrefetchSource): number { return this.#depths[source].current }

  /** A viewer has opened an object. @param hints what it says that it will ask for next */
  opened (key: ShardKey, { size, origin }: Pick<ObjectFacts, 'size' | 'origin'>, hints: readonly ShardKey[]): void {
    const { timers, nextCids, mayRun } = this.#options
    const now = timers.now()
    if (key.part !== 'manifest') this.#shardBytes = size
    this.#asked(keyId(key), origin.hit || origin.collapsed, now)
    if (now - this.#lookedAt >= LOOK_MS) this.look()
    if (this.#closed || !mayRun()) return
    const { order, hint } = this.#depths
    const hinted = hints.slice(0, hint.allowed(now))
    const source = hinted.length > 0 ? 'hint' : 'order'
    const keys = source === 'hint' ? hinted : objectsAfter(key, order.allowed(now), nextCids)
    for (const ahead of keys) this.#enqueue(ahead, source, now)
    this.#run()
  }

  /** Finds out what went unused; also done while viewers ask for objects. */
  look (): void {
    const { timers, cached } = this.#options
    this.#lookedAt = timers.now()
    for (const outcome of this.#unused.look(cached, this.#lookedAt)) this.#learn(outcome)
  }

  /** Load does not permit it any more: what waits is forgotten, and what nobody has joined ends. */
  giveUp (): void {
    this.#skip('load', this.#waiting.size)
    this.#waiting.clear()
    for (const { fill } of this.#running.values()) fill.giveUp()
  }

  close (): void {
    this.#closed = true
    this.#waiting.clear()
    this.#cancelTimer?.()
  }

  #asked (id: string, broughtIn: boolean, now: number): void {
    this.#tried.delete(id)
    this.#waiting.delete(id)
    const running = broughtIn ? this.#running.get(id) : undefined
    if (running !== undefined) {
      running.joined = true
      this.#running.delete(id)
      return
    }
    const taken = this.#unused.take(id)
    if (taken === undefined) return
    if (!broughtIn) return this.#learn({ ...taken, outcome: 'gone' })
    const { source, size } = taken.object
    this.#options.observer.bytes('used', source, size)
    if (!taken.wasLate) this.#depths[source].settled(true, now)
  }

  #learn ({ outcome, object: { source, size }, wasLate }: UnusedOutcome): void {
    if (outcome === 'gone') this.#options.observer.bytes('wasted', source, size)
    if (!wasLate) this.#depths[source].settled(false, this.#options.timers.now())
  }

  #skip (reason: Parameters<PrefetchObserver['skipped']>[0], objects = 1): void {
    if (objects > 0) this.#options.observer.skipped(reason, objects)
  }

  #enqueue (key: ShardKey, source: PrefetchSource, at: number): void {
    const { cached, sizeOf } = this.#options
    const id = keyId(key)
    if (this.#waiting.has(id) || this.#tried.has(id) || cached(key)) return
    this.#waiting.set(id, { key, source, size: sizeOf(key) ?? this.#shardBytes, at })
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size <= MAX_WAITING || oldest === undefined) return
    this.#waiting.delete(oldest)
    this.#skip('full')
  }

  /** Begins what may begin now, and comes back for the rest. */
  #run (): void {
    const { concurrency, timers, mayRun } = this.#options
    if (this.#closed) return
    if (!mayRun()) return this.giveUp()
    for (const [id, candidate] of this.#waiting) {
      if (this.#running.size >= concurrency) return
      const now = timers.now()
      const late = now - candidate.at > MAX_WAIT_MS
      const waitMs = late ? 0 : this.#waitMs(candidate, now)
      if (waitMs > 0) return this.#comeBack(waitMs)
      this.#waiting.delete(id)
      if (late) this.#skip('late')
      else this.#begin(id, candidate, now)
    }
  }

  #comeBack (ms: number): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#options.timers.after(ms, () => {
      this.#cancelTimer = undefined
      this.#run()
    })
  }

  /** Time until one may begin, as far as it is known, ms. */
  #waitMs ({ size }: Candidate, now: number): number {
    const { shards: { fills, unwantedFills }, contendedAt } = this.#options
    if (now < this.#noRoomUntil) return this.#noRoomUntil - now
    if (fills - unwantedFills >= contendedAt) return CONTENTION_MS
    return this.#budget === undefined ? 0 : Math.max(0, this.#budget.holdsAt(Math.min(size, this.#budget.depth)) - now)
  }

  #begin (id: string, { key, source, size }: Candidate, now: number): void {
    const { shards, hasRoom } = this.#options
    const depth = this.#depths[source]
    if (depth.allowed(now) === 0) return
    if (!hasRoom(size)) {
      this.#noRoomUntil = now + ROOM_MS
      return this.#skip('room')
    }
    let fill: QuietFill | undefined
    try {
      fill = shards.bringIn(key)
    } catch {
      return this.#skip('load')
    }
    if (fill === undefined) return
    this.#tried.set(id, true)
    depth.began(now)
    this.#budget?.spend(size, now)
    const running = { fill, joined: false }
    this.#running.set(id, running)
    void this.#follow(id, key, source, size, running).finally(() => { this.#run() })
  }

  /** Never rejects. */
  async #follow (id: string, key: ShardKey, source: PrefetchSource, expected: number, running: RunningPrefetch): Promise<void> {
    const { cached, timers, observer } = this.#options
    const head = await running.fill.head.catch((error: unknown) => error)
    const size = isHead(head) ? head.size : undefined
    const more = (size ?? 0) - expected
    if (more > 0) this.#budget?.spend(more, timers.now())
    else this.#budget?.refund(-more)
    await running.fill.finished
    if (this.#running.get(id) === running) this.#running.delete(id)
    const now = timers.now()
    // Given up in the middle for somebody else, for instance, which is no fault of the prediction.
    const whole = await running.fill.complete().then(() => true, () => false)
    if (size === undefined || !whole || !(running.joined || cached(key))) {
      const unstored = whole
      const missing = isMissing(head)
      // That a shard of a video is missing is no fault of the prediction; who names what nobody has is wrong.
      if (unstored || (missing && source === 'hint')) this.#depths[source].settled(false, now)
      else if (missing) this.#inItsPlace(key, now)
      return observer.ended(source, unstored ? 'unstored' : 'failed')
    }
    observer.ended(source, running.joined ? 'joined' : 'stored')
    observer.bytes('brought', source, size)
    if (running.joined) {
      observer.bytes('used', source, size)
      this.#depths[source].settled(true, now)
      return
    }
    const forgotten = this.#unused.add({ key, source, size, at: now })
    if (forgotten !== undefined) this.#learn(forgotten)
  }

  #inItsPlace (key: ShardKey, at: number): void {
    const parity = parityFor(key, other => this.#options.cached(other) || this.#tried.has(keyId(other)) || this.#waiting.has(keyId(other)))
    if (parity !== undefined) this.#enqueue(parity, 'order', at)
  }
}

function isHead (value: unknown): value is { readonly size: number } {
  return !(value instanceof Error)
}

/** Whether no super-node has an object. */
function isMissing (error: unknown): boolean {
  return error instanceof RelayError && error.code === 'RELAY_ERR_SHARD_NOT_FOUND'
}
