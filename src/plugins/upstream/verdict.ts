import type { RelayError } from '../../base/errors.ts'
import { NotFoundError } from './answer.ts'

/** What the nodes that were asked for one object said, other than giving it. */
export class UpstreamVerdict {
  #notFound: RelayError | undefined
  #busy: RelayError | undefined
  #loop: RelayError | undefined
  #failure: RelayError | undefined
  #notFoundAt = 0

  /** Nodes without the object that ask nobody else for it. */
  get notFoundAt (): number { return this.#notFoundAt }
  /** Whether some node could not say whether it has the object. */
  get open (): boolean { return (this.#failure ?? this.#busy) !== undefined }

  add (error: RelayError): void {
    if (error.code === 'RELAY_ERR_SHARD_NOT_FOUND') {
      this.#notFound = error
      if (error instanceof NotFoundError && !error.byRelay) this.#notFoundAt++
    } else if (error.code === 'RELAY_ERR_LOOP') this.#loop = error
    else if (error.code === 'RELAY_ERR_UPSTREAM_BUSY' || error.code === 'RELAY_ERR_UPSTREAM_RATE_LIMITED') this.#busy = sooner(this.#busy, error)
    else this.#failure = error
  }

  /** What the viewer hears. A 404 beside a failure proves nothing: the node that failed may have the object. */
  get error (): RelayError | undefined {
    // Where a node that is not a relay says 404, the circles of others change nothing.
    return this.#busy ?? this.#failure ?? (this.#notFoundAt > 0 ? this.#notFound : this.#loop ?? this.#notFound)
  }
}

/** Of two nodes that want to be asked later, the one that wants it sooner. */
function sooner (a: RelayError | undefined, b: RelayError): RelayError {
  return a !== undefined && (a.retryAfterSeconds ?? 0) <= (b.retryAfterSeconds ?? 0) ? a : b
}
