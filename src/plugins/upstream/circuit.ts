/** Circuit breaker of one super-node; changed only by the functions of this module. All times are monotonic ms. */
export interface Circuit {
  /** Answers of the last window, in slices that are used over and over. */
  readonly slices: Slice[]
  /** Trials under way; at most `CircuitPolicy.trials`. */
  readonly trials: Set<CircuitAttempt>
  /** Counts openings: what was asked before the last one tells nothing about the node since. */
  epoch: number
  open: boolean
  /** From here on an open circuit is half-open. */
  retryAt: number
  /** When it last closed; undefined while it never was open. */
  closedAt: number | undefined
  /** Failures since the last good answer. */
  failures: number
  /** Failed health checks since the last passed one. */
  failedChecks: number
  /** Openings without a lasting recovery in between; the exponent of the back-off. */
  openings: number
  /** Good answers since it opened. */
  passed: number
  /** Opened by a body that did not match its digest, about which a health check knows nothing. */
  corrupt: boolean
  /** A node whose checks pass and whose answers fail nevertheless is not brought back by checks again. */
  checks: 'trusted' | 'used' | 'distrusted'
}

interface Slice { index: number, good: number, bad: number }

/** One request to the node, from {@link startAttempt}; its outcome goes to {@link recordOutcome}. */
export interface CircuitAttempt {
  readonly epoch: number
  readonly startedAt: number
  /** Holds one of the places of a half-open circuit. */
  readonly trial: boolean
}

/** 'ok' includes a 404, which is a good answer; 'aborted' is our own doing and tells nothing. */
export type Outcome = 'ok' | 'error' | 'timeout' | 'corrupt' | 'aborted'

export type CircuitState = 'closed' | 'open' | 'half-open'

export interface CircuitPolicy {
  /** Failures in a row that open it. */
  readonly failures: number
  /** Rolling window of the error ratio, ms. */
  readonly windowMs: number
  /** Share of failures in the window that opens it, in (0, 1]. */
  readonly errorRatio: number
  /** Answers in the window below which the ratio decides nothing. */
  readonly minRequests: number
  /** Trials at the same time while half-open. */
  readonly trials: number
  /** Good answers that close it. */
  readonly trialSuccesses: number
  /** A trial that is not heard of for so long has lost its place, ms. */
  readonly trialMaxMs: number
  /** First pause, ms; doubles with every opening. */
  readonly initialMs: number
  /** Longest pause, ms. */
  readonly maxMs: number
  /** Time from closing to the full share of traffic, ms. */
  readonly rampMs: number
}

export const DEFAULT_CIRCUIT_POLICY: CircuitPolicy = {
  failures: 3,
  windowMs: 10_000,
  errorRatio: 0.5,
  // With fewer, two failures beside a few good answers would pass for a bad node.
  minRequests: 10,
  trials: 3,
  // One is enough to begin with: the ramp bounds what a lucky answer can cost.
  trialSuccesses: 1,
  // Longer than the time to a response head, the silence in a body and a reconnect together.
  trialMaxMs: 30_000,
  initialMs: 1_000,
  maxMs: 60_000,
  rampMs: 30_000
}

/** Share of traffic at the start of a ramp and for trials: one request of twenty finds out, the others do not pay. */
export const MIN_WEIGHT = 0.05

/** The window moves in steps of a tenth of its length. */
const SLICES = 10

export function newCircuit (): Circuit {
  return {
    slices: Array.from({ length: SLICES }, () => ({ index: -1, good: 0, bad: 0 })),
    trials: new Set(),
    epoch: 0,
    open: false,
    retryAt: 0,
    closedAt: undefined,
    failures: 0,
    failedChecks: 0,
    openings: 0,
    passed: 0,
    corrupt: false,
    checks: 'trusted'
  }
}

export function circuitState (circuit: Circuit, now: number): CircuitState {
  if (!circuit.open) return 'closed'
  return now < circuit.retryAt ? 'open' : 'half-open'
}

/** Whether a request is welcome: always when closed, while a trial is free when half-open. */
export function mayTry (circuit: Circuit, now: number, policy: CircuitPolicy): boolean {
  const state = circuitState(circuit, now)
  return state === 'closed' || (state === 'half-open' && freeTrial(circuit, now, policy))
}

/**
 * Begins a request. It is never refused, because an open node may be the only one left; in a half-open circuit it takes a trial
 * if one is free. Its place is held until {@link recordOutcome}, at most `trialMaxMs`.
 */
export function startAttempt (circuit: Circuit, now: number, policy: CircuitPolicy): CircuitAttempt {
  const trial = circuitState(circuit, now) === 'half-open' && freeTrial(circuit, now, policy)
  const attempt: CircuitAttempt = { epoch: circuit.epoch, startedAt: now, trial }
  if (trial) circuit.trials.add(attempt)
  return attempt
}

function freeTrial (circuit: Circuit, now: number, policy: CircuitPolicy): boolean {
  for (const trial of circuit.trials) if (now - trial.startedAt >= policy.trialMaxMs) circuit.trials.delete(trial)
  return circuit.trials.size < policy.trials
}

/**
 * Takes what became of a request. A second outcome of the same attempt is welcome: a body can fail after a good head.
 * @param random in [0, 1)
 */
export function recordOutcome (circuit: Circuit, attempt: CircuitAttempt, outcome: Outcome, now: number, random: number, policy: CircuitPolicy): void {
  circuit.trials.delete(attempt)
  if (outcome === 'aborted') return
  if (outcome === 'corrupt') {
    circuit.failures++
    if (circuitState(circuit, now) !== 'open') open(circuit, now, random, policy)
    circuit.corrupt = true
    return
  }
  // Asked before the circuit opened: neither the recovery nor the failure of the node since.
  if (attempt.epoch !== circuit.epoch) return
  if (outcome === 'ok') good(circuit, now, policy)
  else bad(circuit, now, random, policy)
}

/**
 * A health check passed: an open circuit becomes half-open immediately, a half-open one closes. Changes nothing when the node sent
 * corrupt bodies, or failed after its checks had brought it back before.
 */
export function checkPassed (circuit: Circuit, now: number): void {
  circuit.failedChecks = 0
  if (!circuit.open || circuit.corrupt || circuit.checks === 'distrusted') return
  circuit.checks = 'used'
  if (now < circuit.retryAt) circuit.retryAt = now
  else close(circuit, now)
}

/**
 * A health check failed: `CircuitPolicy.failures` of them in a row open a closed circuit, one opens a half-open one.
 * @param random in [0, 1)
 */
export function checkFailed (circuit: Circuit, now: number, random: number, policy: CircuitPolicy): void {
  circuit.failedChecks++
  const state = circuitState(circuit, now)
  if (state === 'half-open' || (state === 'closed' && circuit.failedChecks >= policy.failures)) open(circuit, now, random, policy)
}

/** Share of its traffic the node gets, in [{@link MIN_WEIGHT}, 1]; rises linearly over `rampMs` after closing. */
export function weight (circuit: Circuit, now: number, policy: CircuitPolicy): number {
  return circuit.open ? MIN_WEIGHT : rampWeight(circuit.closedAt, now, policy.rampMs)
}

/** Linear ramp over `rampMs` from a time on; 1 when there was none. */
export function rampWeight (since: number | undefined, now: number, rampMs: number): number {
  if (since === undefined || rampMs <= 0) return 1
  return Math.min(1, Math.max(MIN_WEIGHT, (now - since) / rampMs))
}

/** Good and bad answers of the last window; between 9/10 of it and all of it. */
export function countWindow (circuit: Circuit, now: number, policy: CircuitPolicy): { good: number, bad: number } {
  const oldest = sliceIndex(now, policy) - SLICES
  const total = { good: 0, bad: 0 }
  for (const slice of circuit.slices) {
    if (slice.index <= oldest) continue
    total.good += slice.good
    total.bad += slice.bad
  }
  return total
}

/** Forgets the answers of the window, so that old ones are not held against the node a second time. */
export function clearWindow (circuit: Circuit): void {
  for (const slice of circuit.slices) Object.assign(slice, { index: -1, good: 0, bad: 0 })
}

/** Exponential back-off, the upper half random so that relays do not return together. */
export function backoff (exponent: number, random: number, policy: { readonly initialMs: number, readonly maxMs: number }): number {
  // The exponent is capped where doubling passes any sane maximum, so that it cannot overflow.
  return Math.min(policy.maxMs, policy.initialMs * 2 ** Math.min(exponent, 30)) * (0.5 + random / 2)
}

function sliceIndex (now: number, policy: CircuitPolicy): number {
  return Math.floor(now / (policy.windowMs / SLICES))
}

function sliceAt (circuit: Circuit, now: number, policy: CircuitPolicy): Slice {
  const index = sliceIndex(now, policy)
  const slice = circuit.slices[index % SLICES]
  if (slice === undefined) throw new RangeError('monotonic time is not negative')
  if (slice.index !== index) Object.assign(slice, { index, good: 0, bad: 0 })
  return slice
}

function good (circuit: Circuit, now: number, policy: CircuitPolicy): void {
  sliceAt(circuit, now, policy).good++
  circuit.failures = 0
  if (!circuit.open) return
  // The head of an answer says nothing about its body: who sent a corrupt one waits until the pause is over.
  if (circuit.corrupt && now < circuit.retryAt) return
  if (++circuit.passed >= policy.trialSuccesses) close(circuit, now)
}

function bad (circuit: Circuit, now: number, random: number, policy: CircuitPolicy): void {
  sliceAt(circuit, now, policy).bad++
  circuit.failures++
  const state = circuitState(circuit, now)
  // Requests that had nobody else to ask do not prolong the pause: it grows with openings, not with load.
  if (state === 'open') return
  const window = countWindow(circuit, now, policy)
  const requests = window.good + window.bad
  if (state === 'half-open' || circuit.failures >= policy.failures ||
    (requests >= policy.minRequests && window.bad >= policy.errorRatio * requests)) open(circuit, now, random, policy)
}

function open (circuit: Circuit, now: number, random: number, policy: CircuitPolicy): void {
  // A recovery that lasted counts: the pauses start over.
  if (!circuit.open && (circuit.closedAt === undefined || now - circuit.closedAt >= Math.max(policy.rampMs, policy.windowMs))) {
    circuit.openings = 0
    circuit.checks = 'trusted'
  }
  if (circuit.checks === 'used') circuit.checks = 'distrusted'
  circuit.open = true
  circuit.epoch++
  circuit.retryAt = now + backoff(circuit.openings, random, policy)
  circuit.openings++
  circuit.passed = 0
  circuit.corrupt = false
  circuit.trials.clear()
  clearWindow(circuit)
}

function close (circuit: Circuit, now: number): void {
  circuit.open = false
  circuit.closedAt = now
  circuit.failures = 0
  circuit.failedChecks = 0
  circuit.corrupt = false
  circuit.trials.clear()
  clearWindow(circuit)
}
