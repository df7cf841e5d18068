import { RelayError } from '../../base/errors.ts'
import type { CircuitAttempt } from './circuit.ts'
import { isOurs, translate, withoutAddress } from './failure.ts'
import type { AttemptEnd } from './hedged-request.ts'
import type { NodeSet } from './node-set.ts'
import { attemptOutcome, circuitOutcome } from './outcomes.ts'
import type { SuperNode } from './super-node.ts'
import type { AttemptOutcome, NodeRunner, UpstreamOptions } from './upstream-types.ts'

export interface AttemptsOptions extends Pick<UpstreamOptions, 'observer' | 'log' | 'clock'> {
  readonly nodes: Pick<NodeSet, 'finish' | 'hedgeDelay'>
  /** False for a node that is gone. */
  readonly knows: (node: SuperNode) => boolean
}

/** What became of requests to nodes: for their circuits, for metrics, and for the log. */
export class Attempts {
  readonly #options: AttemptsOptions

  constructor (options: AttemptsOptions) {
    this.#options = options
  }

  /** Counts what an attempt says of its node. Returns the failure, if it was one. */
  ended ({ node, attempt, assignedAt }: NodeRunner, end: AttemptEnd, asked: { path: string, via: string | undefined }, signal: AbortSignal): RelayError | undefined {
    const { observer, log, clock, nodes } = this.#options
    // What it waited for one of our connections is not the node's time.
    const ms = assignedAt === undefined ? 0 : clock.monotonic() - assignedAt
    if (end.hedge) observer.hedged(end.how === 'won' ? 'won' : 'lost')
    if (end.how === 'won') {
      nodes.finish(node, attempt, 'ok', ms)
      this.#count(node, 'ok', ms)
      return undefined
    }
    if (end.how !== 'failed') {
      // Let go of before it was late, it says nothing of the node.
      const late = !signal.aborted && ms >= nodes.hedgeDelay(node)
      nodes.finish(node, attempt, late ? 'timeout' : 'aborted', ms)
      this.#count(node, late ? 'timeout' : 'aborted', ms)
      return undefined
    }
    const known = translate(end.error, node.id, signal)
    const outcome = signal.aborted ? 'aborted' : attemptOutcome(known) ?? 'unreachable'
    this.#count(node, outcome, ms)
    if (known.code === 'RELAY_ERR_LOOP') {
      // Anyone can send a `via`, so it must not count against the node.
      nodes.finish(node, attempt, 'aborted')
      log('warn', 'request went in circles, asking the next', { node: node.id, ...asked })
      return known
    }
    // A 404 is an answer like any other: a node without samples would be asked first for ever.
    nodes.finish(node, attempt, outcome === 'not_found' ? 'ok' : circuitOutcome(outcome), outcome === 'not_found' ? ms : undefined)
    if (outcome !== 'not_found' && outcome !== 'aborted' && outcome !== 'local') log('warn', 'super-node failed', { node: node.id, code: known.code, detail: known.message, path: asked.path })
    return known
  }

  /** Counts a body that broke off or could not be used. Returns the error to go on with. */
  bodyFailed (node: SuperNode, attempt: CircuitAttempt, error: unknown, signal: AbortSignal): RelayError {
    const translated = translate(error, node.id, signal)
    const known = translated.code === 'RELAY_ERR_UPSTREAM_UNREACHABLE' || translated.code === 'RELAY_ERR_UPSTREAM_PROTOCOL'
      ? new RelayError('RELAY_ERR_UPSTREAM_BODY', translated.message, { cause: error })
      : translated
    if (signal.aborted || isOurs(known)) return known
    const outcome = attemptOutcome(known) ?? 'body'
    this.#count(node, outcome, 0)
    this.#options.log('warn', 'super-node body failed', { node: node.id, code: known.code, detail: known.message })
    this.#options.nodes.finish(node, attempt, circuitOutcome(outcome))
    return withoutAddress(known)
  }

  /** A node that is gone is not counted any more: its series have been removed. */
  #count (node: SuperNode, outcome: AttemptOutcome, ms: number): void {
    if (this.#options.knows(node)) this.#options.observer.attempt(node.id, outcome, ms)
  }
}
