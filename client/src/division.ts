/** Which part of an answer under way a session with nothing to do takes over: a pure decision. */

/** Less than this is moved as a whole or not at all, bytes. */
export const MIN_MOVED_BYTES = 65_536
/** A half that nothing is known of is fetched by itself from this size on, bytes: some round trips' worth at most rates. */
export const MIN_HALF_BYTES = 1_048_576
/** What comes sooner is left where it is, milliseconds. */
const SOON_MS = 400
/** The helper must be done within this share of the time that the other would need: so nothing is passed to and fro. */
const SOONER = 0.7
/** Least share of what is left that has to change hands, so that it is not asked for ever again. */
const MIN_SHARE = 0.25

/** A session as far as this decision goes. */
export interface Carrier {
  /** Bytes per millisecond while it has something to carry; undefined until that is known. */
  readonly rate: number | undefined
  /** Shortest time from a request to its answer, milliseconds. */
  readonly latencyMs: number | undefined
  /** Exchanges. */
  readonly inFlight: number
}

/** What is still to come over one session: bytes from `position` to `end`. */
export interface Part<C extends Carrier = Carrier> {
  readonly session: C
  readonly position: number
  readonly end: number
}

/**
 * What the helper takes over of the session that would be done last, so that both are done at the same time: the end of its largest part.
 * @param parts that may be divided, those of the helper among them
 * @returns the part and the first byte that the helper fetches; undefined when nothing is worth it
 */
export function chooseDivision<C extends Carrier, P extends Part<C>> (parts: Iterable<P>, helper: C): { readonly part: P, readonly at: number } | undefined {
  const loads = new Map<C, { backlog: number, largest: P }>()
  for (const part of parts) {
    const load = loads.get(part.session)
    const left = leftOf(part)
    if (load === undefined) loads.set(part.session, { backlog: left, largest: part })
    else {
      load.backlog += left
      if (left > leftOf(load.largest)) load.largest = part
    }
  }
  const known = [...loads.keys()].flatMap(({ rate }) => rate ?? [])
  // One that is new is taken to be as fast as the others.
  const usual = known.length === 0 ? undefined : known.reduce((sum, rate) => sum + rate, 0) / known.length
  const own = helper.rate ?? usual
  const others = [...loads].filter(([session]) => session !== helper)
  if (own === undefined || usual === undefined) return helper.inFlight > 0 ? undefined : halved(others.map(([, { largest }]) => largest))
  if (own === 0) return undefined
  const latencies = [helper, ...loads.keys()].flatMap(({ latencyMs }) => latencyMs ?? [])
  const startMs = latencies.length === 0 ? 0 : Math.min(...latencies)
  const ownBacklog = loads.get(helper)?.backlog ?? 0
  let best: { part: P, at: number, lastsMs: number } | undefined
  for (const [session, { backlog, largest }] of others) {
    const rate = session.rate ?? usual
    const lastsMs = backlog / rate
    if (!(lastsMs >= SOON_MS + 2 * startMs) || lastsMs <= (best?.lastsMs ?? 0)) continue
    const left = leftOf(largest)
    const sooner = (bytes: number): boolean => startMs + (ownBacklog + bytes) / own <= lastsMs * SOONER
    const even = Math.min(left, Math.floor((own * (backlog - rate * startMs) - rate * ownBacklog) / (own + rate)))
    // A rest too small to be asked for again would be the last to come.
    const moved = left - even < MIN_MOVED_BYTES && sooner(left) ? left : even
    const isWorth = moved === left || (moved >= MIN_MOVED_BYTES && moved >= left * MIN_SHARE)
    if (moved > 0 && isWorth && sooner(moved)) best = { part: largest, at: largest.end - moved, lastsMs }
  }
  return best
}

function leftOf ({ position, end }: Part): number {
  return Math.max(0, end - position)
}

/** Half of the largest part. */
function halved<P extends Part> (parts: readonly P[]): { readonly part: P, readonly at: number } | undefined {
  let best: { part: P, at: number, left: number } | undefined
  for (const part of parts) {
    const left = leftOf(part)
    if (left >= 2 * MIN_HALF_BYTES && left > (best?.left ?? 0)) best = { part, at: part.position + Math.ceil(left / 2), left }
  }
  return best
}
