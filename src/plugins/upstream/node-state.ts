import { checkFailed, checkPassed, circuitState, clearWindow, countWindow, DEFAULT_CIRCUIT_POLICY, mayTry, newCircuit, rampWeight, recordOutcome, startAttempt, weight, type CircuitAttempt, type Circuit, type CircuitPolicy, type Outcome } from './circuit.ts'
import { DEFAULT_LATENCY_POLICY, LatencyEstimator, type LatencyPolicy } from './latency.ts'
import { DEFAULT_OUTLIER_POLICY, ejectOutliers, isEjected, newEjection, type Ejection, type OutlierPolicy } from './outlier.ts'

/** What the operator wants of a node: neither of the other two gets new requests; a draining one is still checked, a disabled one is left alone. */
export type AdminState = 'enabled' | 'draining' | 'disabled'

/** 'probing' is a half-open circuit: the node gets a few trials. */
export type HealthState = 'up' | 'probing' | 'open' | 'ejected'

export type NodeState = HealthState | Exclude<AdminState, 'enabled'>

/** What is known of a super-node's fitness. */
export interface NodeFitness {
  readonly circuit: Circuit
  readonly latency: LatencyEstimator
  readonly ejection: Ejection
  admin: AdminState
}

export interface NodeCandidate {
  readonly region: string
  readonly fitness: NodeFitness
}

export interface FitnessPolicy {
  readonly circuit: CircuitPolicy
  readonly latency: LatencyPolicy
  readonly outlier: OutlierPolicy
}

export const DEFAULT_FITNESS_POLICY: FitnessPolicy = {
  circuit: DEFAULT_CIRCUIT_POLICY,
  latency: DEFAULT_LATENCY_POLICY,
  outlier: DEFAULT_OUTLIER_POLICY
}

/** A node whose samples are all old is asked first this often, or one that was slow once would be never again. */
export const EXPLORE_SHARE = 0.02

export function newFitness (policy: FitnessPolicy = DEFAULT_FITNESS_POLICY): NodeFitness {
  return { circuit: newCircuit(), latency: new LatencyEstimator(policy.latency), ejection: newEjection(), admin: 'enabled' }
}

export function nodeState (fitness: NodeFitness, now: number): NodeState {
  return fitness.admin === 'enabled' ? healthState(fitness, now) : fitness.admin
}

/** What requests and checks say of the node, whatever the operator wants of it. */
export function healthState ({ circuit, ejection }: NodeFitness, now: number): HealthState {
  const state = circuitState(circuit, now)
  if (state !== 'closed') return state === 'open' ? 'open' : 'probing'
  return isEjected(ejection, now) ? 'ejected' : 'up'
}

/** Share of its traffic the node gets, in (0, 1]: it rises after an opened circuit and after an ejection. */
export function nodeWeight ({ circuit, ejection }: NodeFitness, now: number, policy: FitnessPolicy): number {
  const returned = ejection.until === 0 ? undefined : ejection.until
  return Math.min(weight(circuit, now, policy.circuit), rampWeight(returned, now, policy.circuit.rampMs))
}

/** Begins a request to the node; its end goes to {@link finishAttempt}. */
export function beginAttempt (fitness: NodeFitness, now: number, policy: FitnessPolicy): CircuitAttempt {
  return startAttempt(fitness.circuit, now, policy.circuit)
}

/**
 * Takes what became of a request.
 * @param headMs from request to response head, or to the time it was given up as late; undefined when neither was, or when it was
 * reported before
 * @param random in [0, 1)
 */
export function finishAttempt (fitness: NodeFitness, attempt: CircuitAttempt, outcome: Outcome, headMs: number | undefined, now: number, random: number, policy: FitnessPolicy): void {
  recordOutcome(fitness.circuit, attempt, outcome, now, random, policy.circuit)
  if (headMs === undefined) return
  // One that timed out is as slow as that at least, when it answers at all.
  if (outcome === 'ok' || outcome === 'timeout') fitness.latency.add(headMs, now)
}

/**
 * Takes the result of an active health check.
 * @param random in [0, 1)
 */
export function recordCheck (fitness: NodeFitness, passed: boolean, now: number, random: number, policy: FitnessPolicy): void {
  if (passed) checkPassed(fitness.circuit, now)
  else checkFailed(fitness.circuit, now, random, policy.circuit)
}

/** Ejects nodes that are much worse than the others and returns them; to be called every few seconds. */
export function sweepOutliers<T extends NodeCandidate> (nodes: readonly T[], now: number, policy: FitnessPolicy): T[] {
  const performances = nodes.filter(({ fitness }) => fitness.admin === 'enabled').map(node => ({
    node,
    region: node.region,
    usable: circuitState(node.fitness.circuit, now) === 'closed',
    ...countWindow(node.fitness.circuit, now, policy.circuit),
    p50: node.fitness.latency.p50(now),
    ejection: node.fitness.ejection
  }))
  const ejected = ejectOutliers(performances, now, policy.outlier).map(({ node }) => node)
  for (const { fitness } of ejected) {
    // What it did before is paid for with this ejection.
    clearWindow(fitness.circuit)
    fitness.latency.clear()
  }
  return ejected
}

/**
 * The order in which to ask: usable nodes first, of them the own region before others, then the fastest; a node without a sample
 * comes before slower ones of its group, so that it gets one. A node that recovers is among the usable ones with the probability
 * of its weight, else behind them. Ejected nodes and then those with an open circuit stay at the end, the next to return first:
 * when nothing else answers, they are the only hope. Draining and disabled nodes are left out.
 * @param random in [0, 1) at every call
 */
export function orderCandidates<T extends NodeCandidate> (nodes: readonly T[], region: string, now: number, random: () => number, policy: FitnessPolicy): T[] {
  return nodes
    .filter(({ fitness }) => fitness.admin === 'enabled')
    .map(node => {
      const { fitness } = node
      const rank = rankOf(fitness, now, random, policy)
      const explored = fitness.latency.isStale(now) && random() < EXPLORE_SHARE
      return {
        node,
        rank,
        returnsAt: rank === EJECTED ? fitness.ejection.until : rank === OPEN ? fitness.circuit.retryAt : 0,
        away: node.region === region ? 0 : 1,
        latency: explored ? 0 : fitness.latency.ewma ?? 0
      }
    })
    .toSorted((a, b) => a.rank - b.rank || a.returnsAt - b.returnsAt || a.away - b.away || a.latency - b.latency)
    .map(({ node }) => node)
}

const USABLE = 0
const RETURNING = 1
const EJECTED = 2
const OPEN = 3

function rankOf (fitness: NodeFitness, now: number, random: () => number, policy: FitnessPolicy): number {
  if (!mayTry(fitness.circuit, now, policy.circuit)) return OPEN
  if (isEjected(fitness.ejection, now)) return EJECTED
  const share = nodeWeight(fitness, now, policy)
  return share === 1 || random() < share ? USABLE : RETURNING
}
