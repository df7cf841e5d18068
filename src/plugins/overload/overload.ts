import { isWorse, OVERLOAD_EFFECTS, type OverloadState } from '../../channel/overload-states.ts'
import { Latch, type LatchPolicy } from './latch.ts'
import { OVERLOAD_SIGNALS, type OverloadSample, type OverloadSignal, type SignalThresholds } from './signals.ts'

export interface OverloadPolicy {
  readonly thresholds: Readonly<Record<OverloadSignal, SignalThresholds>>
  readonly enterSamples: LatchPolicy['enterSamples']
  readonly windowSamples: LatchPolicy['windowSamples']
  /** Calm time before each level is left, ms. */
  readonly holdMs: { readonly degraded: number, readonly shedding: number }
}

function latchPolicy ({ enterSamples, windowSamples, holdMs }: OverloadPolicy, level: 'degraded' | 'shedding'): LatchPolicy {
  return { enterSamples, windowSamples, holdMs: holdMs[level] }
}

export interface OverloadTransition {
  /** Wall clock, ms since the epoch. */
  readonly at: number
  readonly from: OverloadState
  readonly to: OverloadState
  /** What led into the worse of the two states; `override` when an operator changed it. */
  readonly signal: OverloadSignal | 'override'
  /** The signal at that moment, in its own unit; null for an override, and for a signal that has none. */
  readonly value: number | null
}

export interface SignalStatus {
  readonly signal: OverloadSignal
  /** The latest sample, in the unit of the signal; null when it has none. */
  readonly value: number | null
  /** Of where `degraded` begins. */
  readonly ratio: number
  /** What this signal alone makes of it. */
  readonly state: OverloadState
  readonly thresholds: SignalThresholds
}

interface WatchedSignal {
  readonly signal: OverloadSignal
  thresholds: SignalThresholds
  readonly degraded: Latch
  readonly shedding: Latch
  value: number | undefined
}

/** Transitions remembered for operators. */
export const MAX_TRANSITIONS = 50

const stateOf = ({ degraded, shedding }: WatchedSignal): OverloadState => shedding.on ? 'shedding' : degraded.on ? 'degraded' : 'normal'
const ratioOf = ({ value = 0, thresholds }: WatchedSignal): number => value / thresholds.degraded.enter

/**
 * How overloaded the relay is: the worst of its signals, or what an operator says. Samples and times are arguments. Every module may ask
 * it; only the overload plugin and the admin API change it.
 */
export class Overload {
  readonly #watched: readonly WatchedSignal[]
  #policy: OverloadPolicy
  readonly #listeners = new Set<(transition: OverloadTransition) => void>()
  readonly #transitions: OverloadTransition[] = []
  #state: OverloadState = 'normal'
  #reason: WatchedSignal | undefined
  #override: OverloadState | undefined
  #since: number

  /** @param at wall clock, ms since the epoch */
  constructor (policy: OverloadPolicy, at: number) {
    const { thresholds } = policy
    this.#policy = policy
    this.#since = at
    this.#watched = OVERLOAD_SIGNALS.map(signal => {
      const latch = (level: 'degraded' | 'shedding'): Latch => new Latch(thresholds[signal][level], latchPolicy(policy, level))
      return { signal, thresholds: thresholds[signal], degraded: latch('degraded'), shedding: latch('shedding'), value: undefined }
    })
  }

  /** Goes by another policy from the next sample on. */
  change (policy: OverloadPolicy): void {
    this.#policy = policy
    for (const watched of this.#watched) {
      watched.thresholds = policy.thresholds[watched.signal]
      for (const level of ['degraded', 'shedding'] as const) watched[level].change(watched.thresholds[level], latchPolicy(policy, level))
    }
  }

  get policy (): OverloadPolicy { return this.#policy }
  get state (): OverloadState { return this.#override ?? this.#state }
  /** When {@link state} became what it is, ms since the epoch. */
  get since (): number { return this.#since }
  get override (): OverloadState | undefined { return this.#override }
  /** What the signals say, whether or not it is in force. */
  get measured (): OverloadState { return this.#state }
  /** What is behind {@link state}; undefined in peace. */
  get reason (): OverloadSignal | 'override' | undefined { return this.#override === undefined ? this.#reason?.signal : 'override' }
  /** The latest, oldest first, at most {@link MAX_TRANSITIONS}. */
  get transitions (): readonly OverloadTransition[] { return this.#transitions }

  /** Whether work that no viewer waits for may begin or go on: prefetching, scrubbing, copies to memory. */
  get backgroundAllowed (): boolean { return OVERLOAD_EFFECTS[this.state].backgroundAllowed }
  /** What bursts and chunks are multiplied by, in (0, 1]. */
  get burstFactor (): number { return OVERLOAD_EFFECTS[this.state].burstFactor }
  /** Whether new sessions go elsewhere. */
  get shedsSessions (): boolean { return this.state === 'shedding' }

  /** Whether new misses are refused. A relay that has nothing but many sessions goes on to serve them. */
  get shedsMisses (): boolean {
    if (this.#override !== undefined) return this.#override === 'shedding'
    return this.#watched.some(({ signal, shedding }) => signal !== 'sessions' && shedding.on)
  }

  signals (): SignalStatus[] {
    return this.#watched.map(watched => ({
      signal: watched.signal,
      value: watched.value ?? null,
      ratio: ratioOf(watched),
      state: stateOf(watched),
      thresholds: watched.thresholds
    }))
  }

  /** Calls `listener` after every change of {@link state}; it must not throw. Returns a function that ends that. */
  onChange (listener: (transition: OverloadTransition) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /**
   * Takes one sample of every signal.
   * @param now monotonic, ms
   * @param at wall clock, ms since the epoch
   */
  sample (values: OverloadSample, now: number, at: number): void {
    const before = { state: this.state, reason: this.#reason }
    for (const watched of this.#watched) {
      const value = values[watched.signal]
      // What cannot be measured says nothing.
      watched.value = value === undefined || Number.isNaN(value) ? undefined : value
      watched.degraded.observe(watched.value ?? 0, now)
      watched.shedding.observe(watched.value ?? 0, now)
    }
    this.#reason = this.#worst()
    this.#state = this.#reason === undefined ? 'normal' : stateOf(this.#reason)
    const behind = isWorse(this.state, before.state) ? this.#reason : before.reason
    this.#changed(before.state, behind?.signal ?? 'override', behind?.value ?? null, at)
  }

  /**
   * Puts a state in force whatever the signals say; undefined goes back to those.
   * @param at wall clock, ms since the epoch
   */
  setOverride (state: OverloadState | undefined, at: number): void {
    const before = this.state
    this.#override = state
    this.#changed(before, 'override', null, at)
  }

  /** The signal that is worst off, by its state and then by how far it is above its threshold; undefined when all are calm. */
  #worst (): WatchedSignal | undefined {
    let worst: WatchedSignal | undefined
    for (const watched of this.#watched) {
      if (!watched.degraded.on && !watched.shedding.on) continue
      if (worst === undefined || isWorse(stateOf(watched), stateOf(worst)) || (stateOf(watched) === stateOf(worst) && ratioOf(watched) > ratioOf(worst))) worst = watched
    }
    return worst
  }

  #changed (from: OverloadState, signal: OverloadTransition['signal'], value: number | null, at: number): void {
    const to = this.state
    if (from === to) return
    this.#since = at
    const transition = { at, from, to, signal, value }
    this.#transitions.push(transition)
    if (this.#transitions.length > MAX_TRANSITIONS) this.#transitions.shift()
    for (const listener of this.#listeners) listener(transition)
  }
}
