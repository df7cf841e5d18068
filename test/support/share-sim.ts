import type { FairShare } from '../../src/pacing/fair-share.ts'
import { Heap, HeapNode } from '../../src/pacing/heap.ts'
import type { ShareLimits } from '../../src/pacing/share-limits.ts'

/** How one viewer behaves; times are ms. */
export interface SimViewer {
  readonly id: string
  readonly limits: ShareLimits
  /** Requests outstanding at the same time. */
  readonly streams: number
  /** Bytes asked for in each request. */
  readonly wanted: number
  /** From a grant to the next request of the stream. */
  readonly thinkMs?: () => number
  /** Bits per second one stream takes at most; undefined: all it gets. */
  readonly paceBps?: number
  readonly joinsAt?: number
  readonly leavesAt?: number
}

export interface SimGrant { readonly at: number, readonly id: string, readonly bytes: number }

const MAX_LAG_MS = 100
const NO_TIMER = { due: Infinity, at: Infinity }

/** Viewers and one scheduler in virtual time; the driver's timer may be late. */
export class ShareSim {
  readonly grants: SimGrant[] = []
  readonly share: FairShare<number>
  now: number
  readonly #lateMs: () => number
  readonly #events = new Heap<() => void>()
  #timer = NO_TIMER
  #tickets = 0
  readonly #streams = new Map<number, { readonly viewer: SimViewer, readonly then: (bytes: number) => void }>()
  readonly #present = new Set<string>()

  constructor (share: FairShare<number>, options: { readonly now?: number, readonly lateMs?: () => number } = {}) {
    this.share = share
    this.now = options.now ?? 0
    this.#lateMs = options.lateMs ?? (() => 0)
  }

  add (viewer: SimViewer): void {
    this.at(viewer.joinsAt ?? this.now, () => {
      this.share.join(viewer.id, viewer.limits, this.now)
      this.#present.add(viewer.id)
      for (let stream = 0; stream < viewer.streams; stream++) this.#ask(viewer, this.now)
    })
    if (viewer.leavesAt !== undefined) {
      this.at(viewer.leavesAt, () => { this.remove(viewer.id) })
    }
  }

  remove (id: string): void {
    this.#present.delete(id)
    for (const ticket of this.share.leave(id, this.now)) this.#streams.delete(ticket)
  }

  /** Runs `what` at a time to come. */
  at (at: number, what: () => void): void {
    this.#events.push(new HeapNode(what), at)
  }

  /** Lets time pass until `end`. @param each called after every step */
  run (end: number, each?: () => void): void {
    for (;;) {
      const due = this.share.nextAt(this.now) ?? Infinity
      // As a driver does: a timer that is set stays unless it comes too late.
      if (due < this.#timer.due) this.#timer = { due, at: due + this.#lateMs() }
      const event = this.#events.top
      const eventAt = event?.key ?? Infinity
      const at = Math.min(this.#timer.at, eventAt)
      if (at > end) break
      this.now = Math.max(this.now, at)
      if (event !== undefined && eventAt <= this.#timer.at) {
        this.#events.remove(event)
        event.item()
      } else {
        this.#timer = NO_TIMER
        for (const { ticket, bytes } of this.share.advance(this.now)) this.#granted(ticket, bytes)
      }
      each?.()
    }
    this.now = end
  }

  /** @param dueAt when the stream's pace has it ask */
  #ask (viewer: SimViewer, dueAt: number): void {
    if (!this.#present.has(viewer.id)) return
    const ticket = this.#tickets++
    this.#streams.set(ticket, {
      viewer,
      then: bytes => {
        // A paced stream catches up on a short wait, not on a long one.
        const next = viewer.paceBps === undefined ? 0 : Math.max(dueAt, this.now - MAX_LAG_MS) + bytes * 8000 / viewer.paceBps
        this.at(Math.max(next, this.now + (viewer.thinkMs?.() ?? 0)), () => { this.#ask(viewer, next) })
      }
    })
    const bytes = this.share.request(viewer.id, ticket, viewer.wanted, this.now)
    if (bytes > 0) this.#granted(ticket, bytes)
  }

  #granted (ticket: number, bytes: number): void {
    const stream = this.#streams.get(ticket)
    if (stream === undefined) throw new Error('a grant for a request that does not wait')
    this.#streams.delete(ticket)
    this.grants.push({ at: this.now, id: stream.viewer.id, bytes })
    stream.then(bytes)
  }
}

/** Least and most bytes that came within any window of `ms` between `from` and `to`: the most of a window with one of its ends, the least of one with neither. */
export function windowExtremes (grants: ReadonlyArray<{ readonly at: number, readonly bytes: number }>, ms: number, from: number, to: number): { least: number, most: number } {
  const within = grants.filter(grant => grant.at >= from && grant.at < to)
  const sums = [0]
  for (const { bytes } of within) sums.push((sums.at(-1) ?? 0) + bytes)
  const sum = (first: number, end: number): number => (sums[end] ?? 0) - (sums[first] ?? 0)
  let least = Infinity
  let most = 0
  let end = 0
  let first = 0
  for (const [index, { at }] of [{ at: from }, ...within].entries()) {
    while ((within[end]?.at ?? Infinity) < at + ms) end += 1
    // The window's beginning is a grant, which the most counts and the least does not, with all others of its time.
    if (index > 0) most = Math.max(most, sum(index - 1, end))
    while ((within[first]?.at ?? Infinity) <= at) first += 1
    if (at + ms <= to) least = Math.min(least, sum(index === 0 ? 0 : first, end))
  }
  return { least, most }
}

/** What a viewer of the fluid model wants; bits per second. */
export interface FluidViewer { readonly weight: number, readonly floor: number, readonly limit: number }

/** Weighted max-min shares by bisection: written apart from `water-level.ts`, to check it and the scheduler. */
export function fluidShares (viewers: readonly FluidViewer[], total: number): number[] {
  const shares = (scale: number, level: number): number[] => viewers.map(({ weight, floor, limit }) => Math.min(limit, Math.max(floor * scale, weight * level)))
  const fits = (taken: readonly number[]): boolean => taken.reduce((sum, share) => sum + share, 0) <= total
  const greatest = (most: number, fitsAt: (at: number) => boolean): number => {
    let [low, high] = [0, most]
    if (fitsAt(high)) return high
    for (let step = 0; step < 200; step++) {
      const middle = (low + high) / 2
      if (fitsAt(middle)) low = middle
      else high = middle
    }
    return low
  }
  // First as much of the floors as there is, then as high a level as is left.
  const scale = greatest(1, at => fits(shares(at, 0)))
  return shares(scale, scale < 1 ? 0 : greatest(total / Math.min(...viewers.map(({ weight }) => weight)), at => fits(shares(1, at))))
}

/** Numbers from 0 up to 1 from a seed (mulberry32), so that a failing run can be run again. */
export function seededRandom (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
