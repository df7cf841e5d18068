import type { FairShare } from '../../src/throttle/fair-share.ts'
import type { ShareLimits } from '../../src/throttle/share-viewer.ts'

/** How one viewer behaves; times are ms. */
export interface SimViewer {
  readonly id: string
  readonly limits: ShareLimits
  /** Requests outstanding at once. */
  readonly streams: number
  /** Bytes asked for in each request. */
  readonly wanted: number
  /** From a grant to the next request of the stream. */
  readonly thinkMs?: number
  /** Bits per second one stream takes at most; undefined: all it gets. */
  readonly paceBps?: number
  readonly joinsAt?: number
  readonly leavesAt?: number
}

export interface SimGrant { readonly at: number, readonly id: string, readonly bytes: number }

interface SimEvent { readonly at: number, readonly order: number, readonly run: () => void }

/** Viewers and one scheduler in virtual time; the driver's timer may be late. */
export class ShareSim {
  readonly grants: SimGrant[] = []
  /** Every time at which a request waited although `advance` had just run and the total had tokens for it. */
  readonly share: FairShare<number>
  now: number
  readonly #lateMs: () => number
  #events: SimEvent[] = []
  #order = 0
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
      for (let stream = 0; stream < viewer.streams; stream++) this.#ask(viewer)
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
    this.#events.push({ at, order: this.#order++, run: what })
    // A heap would be faster; the events of one run are few and mostly in order.
    let index = this.#events.length - 1
    for (let before = this.#events[index - 1]; before !== undefined && before.at > at; before = this.#events[index - 1]) {
      const event = this.#events[index]
      if (event === undefined) break
      this.#events[index] = before
      this.#events[index - 1] = event
      index -= 1
    }
  }

  /** Lets time pass until `end`. @param each called after every step */
  run (end: number, each?: () => void): void {
    for (;;) {
      const wake = this.share.nextAt(this.now)
      const wakeAt = wake === undefined ? Infinity : wake + this.#lateMs()
      const eventAt = this.#events[0]?.at ?? Infinity
      const at = Math.min(wakeAt, eventAt)
      if (at > end) break
      this.now = Math.max(this.now, at)
      if (eventAt <= wakeAt) this.#events.shift()?.run()
      else for (const { ticket, bytes } of this.share.advance(this.now)) this.#granted(ticket, bytes)
      each?.()
    }
    this.now = end
  }

  #ask (viewer: SimViewer): void {
    if (!this.#present.has(viewer.id)) return
    const ticket = this.#tickets++
    const askedAt = this.now
    this.#streams.set(ticket, {
      viewer,
      then: bytes => {
        const paced = viewer.paceBps === undefined ? 0 : askedAt + bytes * 8000 / viewer.paceBps
        this.at(Math.max(paced, this.now + (viewer.thinkMs ?? 0)), () => { this.#ask(viewer) })
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

/** Least and most of what came within any window of `ms` that lies in [from, to]. Windows are half open, so that one end holds a grant and the other does not. */
export function windowExtremes (grants: ReadonlyArray<{ readonly at: number, readonly bytes: number }>, ms: number, from: number, to: number): { least: number, most: number } {
  const within = grants.filter(grant => grant.at >= from && grant.at <= to)
  let least = Infinity
  let most = 0
  let sum = 0
  let tail = 0
  // Most: closed windows that end with a grant. Least: open windows that begin right after one, up to right before another.
  for (const [index, grant] of within.entries()) {
    sum += grant.bytes
    for (let last = within[tail]; last !== undefined && grant.at - last.at >= ms; last = within[tail]) {
      sum -= last.bytes
      tail += 1
      void index
    }
    most = Math.max(most, sum)
  }
  const starts = [from, ...within.map(grant => grant.at)].filter(at => at + ms <= to)
  let first = 0
  let end = 0
  let inside = 0
  for (const start of starts) {
    for (let next = within[end]; next !== undefined && next.at < start + ms; next = within[end]) {
      inside += next.bytes
      end += 1
    }
    for (let old = within[first]; old !== undefined && first < end && old.at <= start; old = within[first]) {
      inside -= old.bytes
      first += 1
    }
    least = Math.min(least, inside)
  }
  return { least, most }
}
