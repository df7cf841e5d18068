/** What became of a request to a super-node: for metrics, and for its circuit. */
import type { RelayError } from '../../base/errors.ts'
import type { Outcome } from './circuit.ts'
import type { AttemptOutcome } from './upstream-types.ts'

const OUTCOMES: Partial<Record<RelayError['code'], AttemptOutcome>> = {
  RELAY_ERR_SHARD_NOT_FOUND: 'not_found',
  RELAY_ERR_LOOP: 'status',
  RELAY_ERR_UPSTREAM_TIMEOUT: 'timeout',
  RELAY_ERR_UPSTREAM_UNREACHABLE: 'unreachable',
  RELAY_ERR_UPSTREAM_STATUS: 'status',
  RELAY_ERR_UPSTREAM_BUSY: 'status',
  RELAY_ERR_UPSTREAM_RATE_LIMITED: 'status',
  RELAY_ERR_UPSTREAM_PROTOCOL: 'protocol',
  RELAY_ERR_UPSTREAM_VERSION: 'version',
  RELAY_ERR_UPSTREAM_BODY: 'body',
  RELAY_ERR_UPSTREAM_TOO_LARGE: 'body',
  RELAY_ERR_UPSTREAM_CORRUPT: 'corrupt',
  RELAY_ERR_LOCAL_LACK: 'local'
}

/** Undefined for an error that is not of a super-node. */
export function attemptOutcome ({ code }: RelayError): AttemptOutcome | undefined {
  return OUTCOMES[code]
}

export function circuitOutcome (outcome: AttemptOutcome): Outcome {
  // Of two versions nobody knows the right one.
  if (outcome === 'version') return 'aborted'
  // What never left says nothing of the node.
  if (outcome === 'local') return 'aborted'
  return outcome === 'timeout' || outcome === 'corrupt' || outcome === 'aborted' ? outcome : 'error'
}
