import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { abortable } from '../../base/abortable.ts'
import type { Clock, Timers } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'
import { RelayError, type ErrorCode } from '../../base/errors.ts'
import { Places } from '../../base/places.ts'
import { DATA_SHARDS, keyId, TOTAL_SHARDS, type ShardKey } from '../../protocol/shard-key.ts'
import { readBytes } from '../../storage/block-reader.ts'
import type { ExpectedObject } from '../integrity/integrity.ts'
import { NegativeCache } from '../upstream/negative-cache.ts'
import type { UpstreamObject } from '../upstream/upstream-types.ts'
import type { Erasure } from './erasure.ts'
import { SiblingChoice, SPARE_SIBLINGS } from './sibling-choice.ts'

/** Rows of a shard that are rebuilt in one go, bytes: ten siblings and the result are 2.75 MiB, and as much again in the thread. */
export const ROW_BYTES = 256 * 1024
/** Time for which a video of which ten shards could not be had is not tried again, ms: every request for one that is gone would ask for thirteen others. */
export const HOPELESS_MS = 10_000

/** Repairs that wait for a place at most; each is one shard that viewers wait for. */
export const MAX_WAITING_REPAIRS = 64

/** What a repaired object has in the place of a region, and so in `server-timing`. */
export const REPAIR_REGION = 'repair'

/** Closed, for it labels a metric. */
export type RepairOutcome = 'repaired' | 'no_manifest' | 'siblings' | 'busy' | 'timeout' | 'wrong' | 'failed' | 'aborted'

/** A sibling whose bytes, or those of the part that is rebuilt, may be read as they come; `release` once. */
export interface OpenSibling {
  /** Bytes. */
  readonly size: number
  /** Whether it was compared with the manifest. */
  readonly verified: boolean
  /** Bytes at `position`, at least one and at most `length`. */
  read (position: number, length: number): Promise<Uint8Array>
  release (): void
}

export interface RepairObserver {
  /** @param ms since the repair was asked for @param bytes rebuilt */
  ended (outcome: RepairOutcome, ms: number, bytes: number): void
}

export interface RepairOptions {
  readonly erasure: Pick<Erasure, 'rebuild'>
  /** What the believed manifest says of a shard, once super-nodes had time to send one; undefined when none is believed. Must not reject. */
  readonly expects: (key: ShardKey, via: readonly string[]) => Promise<ExpectedObject | undefined>
  /** Whether the cache has an object. */
  readonly cached: (key: ShardKey) => boolean
  /** Repairs at the same time. */
  readonly concurrency: number
  /** Longest time of one, ms. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly timers: Pick<Timers, 'after'>
  readonly observer: RepairObserver
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Who needs a repair, and how it gets at siblings. */
export interface RepairRequest {
  /** `via` members of the request that needs the shard. */
  readonly via: readonly string[]
  /** What of the shard is needed: positions, `to` exclusive; all of it without. */
  readonly part?: { readonly from: number, readonly to: number } | undefined
  /** Why no super-node delivers it; what the caller hears when it cannot be rebuilt. */
  readonly cause: RelayError
  /** Aborted when nobody needs it any more, or the relay stops; the reason is a RelayError. */
  readonly signal: AbortSignal
  /** Throws when load says that nothing is begun now. */
  readonly mayBegin: () => void
  /** Brings in a sibling, whole, or the same part of it, each byte verified before it can be read; without repairing it. Gives up when the signal aborts. */
  readonly open: (sibling: ShardKey, signal: AbortSignal) => Promise<OpenSibling>
}

/** Failures after which the shard may well be with nobody. Who asks to come back later is not asked for ten siblings instead. */
const REPAIRABLE: ReadonlySet<ErrorCode> = new Set([
  'RELAY_ERR_SHARD_NOT_FOUND', 'RELAY_ERR_UPSTREAM_UNREACHABLE', 'RELAY_ERR_UPSTREAM_TIMEOUT', 'RELAY_ERR_UPSTREAM_STATUS',
  'RELAY_ERR_UPSTREAM_PROTOCOL', 'RELAY_ERR_UPSTREAM_VERSION', 'RELAY_ERR_UPSTREAM_BODY', 'RELAY_ERR_UPSTREAM_CORRUPT'
])

class RepairFailure extends Error {
  readonly outcome: RepairOutcome

  constructor (outcome: RepairOutcome, detail: string, options?: ErrorOptions) {
    super(detail, options)
    this.outcome = outcome
  }
}

/** One repair under way: what it holds is let go once. */
interface RepairRun {
  readonly key: ShardKey
  readonly part: number
  readonly expected: ExpectedObject
  /** Positions of what is rebuilt; `to` exclusive. */
  readonly from: number
  readonly to: number
  readonly choice: SiblingChoice
  readonly siblings: Map<number, OpenSibling>
  readonly open: RepairRequest['open']
  readonly startedAt: number
  readonly cause: RelayError
  readonly signal: AbortSignal
  /** Ends it; the first call counts. */
  readonly end: (outcome: RepairOutcome, detail?: string) => void
}

/**
 * Rebuilds shards that no super-node delivers, or parts of them, from ten of their siblings, row by row, while whoever waits reads them as they read any
 * other fill. Of siblings only verified bytes are used, so that what is rebuilt is right from its first byte, unless a disk errs; one that breaks off in
 * the middle is replaced.
 */
export class Repair {
  readonly #options: RepairOptions
  readonly #places: Places
  /** CIDs of which ten shards could not be had lately. */
  readonly #hopeless = new NegativeCache({ ttlMs: HOPELESS_MS })

  constructor (options: RepairOptions) {
    this.#options = options
    this.#places = new Places(options.concurrency, MAX_WAITING_REPAIRS, (taken, waiting) => new RelayError('RELAY_ERR_FILLS_BUSY', `${taken} shards are being rebuilt and ${waiting} wait for that`))
  }

  /** Repairs under way. */
  get running (): number { return this.#places.taken }
  /** Repairs that wait for others to end. */
  get waiting (): number { return this.#places.waiting }

  /**
   * The shard as a super-node would have sent it, once ten siblings are there.
   * @throws RelayError `cause` when it cannot be rebuilt; RELAY_ERR_FILLS_BUSY; the reason of the signal
   */
  async fetch (key: ShardKey, request: RepairRequest): Promise<UpstreamObject> {
    const { clock } = this.#options
    const { cause, via, signal } = request
    const { cid, part } = key
    const startedAt = clock.monotonic()
    if (part === 'manifest' || !REPAIRABLE.has(cause.code) || this.#hopeless.isMissing(cid, startedAt)) throw cause
    const expected = await this.#options.expects(key, via)
    if (expected === undefined) {
      this.#ended('no_manifest', startedAt, 0)
      throw cause
    }
    request.mayBegin()
    const leave = await this.#places.take(signal).catch((error: unknown) => {
      this.#ended(signal.aborted ? 'aborted' : 'busy', startedAt, 0)
      throw error
    })
    const { from, to } = request.part ?? { from: 0, to: expected.size }
    const choice = new SiblingChoice(part, shard => this.#options.cached({ cid, part: shard }))
    const run = this.#begin({ key, part, expected, from, to, choice, open: request.open, startedAt, cause }, signal, leave)
    try {
      await this.#gather(run)
    } catch (error) {
      const { outcome, message } = asFailure(error, run.signal)
      if (outcome === 'siblings') this.#hopeless.remember(cid, clock.monotonic())
      run.end(outcome, message)
      throw signal.aborted ? signal.reason : cause
    }
    return {
      node: REPAIR_REGION,
      senders: [],
      region: REPAIR_REGION,
      headMs: clock.monotonic() - startedAt,
      size: expected.size,
      sha256: expected.sha256,
      sha512: undefined,
      storable: true,
      repaired: true,
      offset: from,
      body: Object.assign(this.#rows(run), { destroy: () => { run.end('aborted') } }),
      failed: error => {
        run.end('aborted')
        return error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'the shard could not be rebuilt', { cause: error })
      }
    }
  }

  /** Videos whose keys match may be tried again. @param matches ids of keys */
  forget (matches: (id: string) => boolean): void {
    this.#hopeless.purge(cid => matches(keyId({ cid, part: 'manifest' })))
  }

  #begin (facts: Omit<RepairRun, 'siblings' | 'signal' | 'end'>, signal: AbortSignal, leave: () => void): RepairRun {
    const { timeoutMs, timers, log } = this.#options
    const siblings = new Map<number, OpenSibling>()
    const ending = new AbortController()
    // One of each sibling that is asked for, and our own.
    setMaxListeners(DATA_SHARDS + SPARE_SIBLINGS + 1, ending.signal)
    const abort = (): void => { ending.abort(signal.reason) }
    signal.addEventListener('abort', abort)
    const cancel = timers.after(timeoutMs, () => { ending.abort(new RepairFailure('timeout', `the shard was not rebuilt within ${timeoutMs} ms`)) })
    let over = false
    return {
      ...facts,
      siblings,
      signal: ending.signal,
      end: (outcome, detail) => {
        if (over) return
        over = true
        cancel()
        signal.removeEventListener('abort', abort)
        const from = [...siblings.keys()].toSorted((a, b) => a - b)
        for (const sibling of siblings.values()) sibling.release()
        leave()
        // Whatever is still on its way is not waited for.
        ending.abort()
        const ms = this.#ended(outcome, facts.startedAt, outcome === 'repaired' ? facts.to - facts.from : 0)
        const fields = { key: keyId(facts.key), from: facts.from, to: facts.to, outcome, siblings: from, ms: Math.round(ms), cause: facts.cause.code, detail }
        if (outcome === 'repaired') log('info', 'shard rebuilt from its siblings', fields)
        else log('warn', 'shard that no super-node delivers was not rebuilt', fields)
      }
    }
  }

  /** Waits until ten siblings can be read. @throws RepairFailure */
  async #gather ({ key: { cid }, expected, siblings, choice, open, signal }: RepairRun): Promise<void> {
    const settled = deferred<undefined>()
    const bring = async (shard: number): Promise<void> => {
      const sibling = await open({ cid, part: shard }, signal).catch(() => undefined)
      const fits = sibling?.verified === true && sibling.size === expected.size
      if (sibling !== undefined && fits && !signal.aborted && choice.arrived(shard)) siblings.set(shard, sibling)
      else {
        sibling?.release()
        choice.lost(shard)
      }
      goOn()
    }
    const goOn = (): void => {
      if (signal.aborted) return
      for (const shard of choice.next()) void bring(shard)
      if (choice.done || choice.hopeless) settled.resolve(undefined)
    }
    goOn()
    await abortable(settled.promise, signal)
    signal.throwIfAborted()
    if (!choice.done) throw new RepairFailure('siblings', `${siblings.size + choice.asked} of 13 siblings can be had at most`)
  }

  async * #rows (run: RepairRun): AsyncGenerator<Buffer, void, undefined> {
    const { part, expected: { size, sha256 }, from, to, signal, end } = run
    const hash = to - from === size ? createHash('sha256') : undefined
    try {
      for (let at = from; at < to; at += ROW_BYTES) {
        const width = Math.min(ROW_BYTES, to - at)
        const pieces = await this.#piecesAt(run, at, width)
        const [row] = await this.#options.erasure.rebuild(pieces, [part])
        if (row === undefined) throw new RepairFailure('failed', 'nothing was rebuilt')
        hash?.update(row)
        if (at + width === size && hash !== undefined && hash.digest('hex') !== sha256) throw new RepairFailure('wrong', 'what was rebuilt is not what the manifest says')
        if (signal.aborted) throw signal.reason
        yield Buffer.from(row.buffer, row.byteOffset, row.byteLength)
      }
      end('repaired')
    } catch (error) {
      const failure = asFailure(error, signal)
      end(failure.outcome, failure.message)
      throw error instanceof RelayError ? error : new RelayError(failure.outcome === 'timeout' ? 'RELAY_ERR_UPSTREAM_TIMEOUT' : 'RELAY_ERR_UPSTREAM_CORRUPT', failure.message, { cause: error })
    }
  }

  /** The same rows of ten siblings. Whoever breaks off in the middle is replaced while others can be had. */
  async #piecesAt (run: RepairRun, position: number, length: number): Promise<Array<Uint8Array | undefined>> {
    const { siblings, choice, signal } = run
    const pieces = Array.from({ length: TOTAL_SHARDS }, (): Uint8Array | undefined => undefined)
    for (;;) {
      const reads = Promise.all([...siblings].filter(([shard]) => pieces[shard] === undefined).map(async ([shard, sibling]) => {
        try {
          pieces[shard] = await readBytes(sibling, position, length)
        } catch {
          if (siblings.delete(shard)) sibling.release()
          choice.lost(shard)
        }
      }))
      await abortable(reads, signal)
      if (choice.done) return pieces
      await this.#gather(run)
    }
  }

  #ended (outcome: RepairOutcome, startedAt: number, bytes: number): number {
    const ms = this.#options.clock.monotonic() - startedAt
    this.#options.observer.ended(outcome, ms, bytes)
    return ms
  }
}

function asFailure (error: unknown, signal: AbortSignal): RepairFailure {
  if (error instanceof RepairFailure) return error
  if (signal.aborted) return signal.reason instanceof RepairFailure ? signal.reason : new RepairFailure('aborted', 'the shard is not needed any more')
  return new RepairFailure('failed', 'the shard could not be rebuilt', { cause: error })
}
