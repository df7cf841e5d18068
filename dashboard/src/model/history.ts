import { follows, ratesBetween, sumOf, type Rates } from './rates.ts'
import { Ring } from './ring.ts'
import type { SummaryAnswer } from './wire.ts'

/** Points of a plot: ten minutes of one a second. */
export const MAX_POINTS = 600
/** Summaries that rates are taken between. */
const MAX_SAMPLES = 16
/** Bytes are told when a body ends or a gateway reports, so a second alone says little, s. */
const RATE_SECONDS = 3
/** Ratios and percentiles need requests, s. */
const RATIO_SECONDS = 15
/** Silence after which a line is not drawn through, s. */
const GAP_SECONDS = 5

/** One moment of all plots; null where there is nothing to draw. */
export interface Point {
  /** s since the epoch. */
  readonly at: number
  /** To viewers by transport, bits per second. */
  readonly http: number | null
  readonly webtransport: number | null
  readonly websocket: number | null
  /** From super-nodes, bits per second. */
  readonly received: number | null
  readonly hitRatio: number | null
  readonly offload: number | null
  readonly overHttp: number | null
  readonly overWebtransport: number | null
  readonly overWebsocket: number | null
}

const NOTHING: Omit<Point, 'at'> = { http: null, webtransport: null, websocket: null, received: null, hitRatio: null, offload: null, overHttp: null, overWebtransport: null, overWebsocket: null }

/** What was seen of the relay, in bounded memory. */
export class History {
  readonly #samples = new Ring<SummaryAnswer>(MAX_SAMPLES)
  readonly points = new Ring<Point>(MAX_POINTS)
  #now: Rates | undefined
  #ofLate: Rates | undefined

  get latest (): SummaryAnswer | undefined { return this.#samples.last }
  /** Of the last few seconds; undefined before there are two summaries of one process. */
  get now (): Rates | undefined { return this.#now }
  /** Of the last quarter of a minute. */
  get ofLate (): Rates | undefined { return this.#ofLate }

  /** @param at when it came, ms since the epoch */
  take (summary: SummaryAnswer, at: number): void {
    const before = this.#samples.last
    const seconds = at / 1_000
    const previous = this.points.last
    if (before !== undefined && !follows(before, summary)) this.#samples.clear()
    if (previous !== undefined && (this.#samples.size === 0 || seconds - previous.at > GAP_SECONDS)) this.points.push({ at: previous.at + 0.001, ...NOTHING })
    this.#samples.push(summary)
    this.#now = this.#over(RATE_SECONDS)
    this.#ofLate = this.#over(RATIO_SECONDS)
    const { sent, received } = this.#now ?? {}
    const bits = (transport: string): number | null => sent === undefined ? null : (sent[transport] ?? 0) * 8
    // A clock that was set back must not turn the plots around.
    const later = Math.max(seconds, (this.points.last?.at ?? 0) + 0.001)
    this.points.push({
      at: later,
      http: bits('http'),
      webtransport: bits('webtransport'),
      websocket: bits('websocket'),
      received: received === undefined ? null : sumOf(received) * 8,
      hitRatio: this.#ofLate?.hitRatio ?? null,
      // Below 0 while more is brought in than goes out, which the tile says in numbers.
      offload: this.#ofLate === undefined || this.#ofLate.offload === null ? null : Math.max(0, this.#ofLate.offload),
      overHttp: summary.viewers.http,
      overWebtransport: summary.viewers.webtransport,
      overWebsocket: summary.viewers.websocket
    })
  }

  /** Rates over the latest so many seconds, or what there is of them. */
  #over (seconds: number): Rates | undefined {
    const { items, last } = this.#samples
    if (last === undefined) return undefined
    const from = items.find(({ uptimeSeconds }) => last.uptimeSeconds - uptimeSeconds <= seconds + 0.5)
    return from === undefined ? undefined : ratesBetween(from, last)
  }
}
