import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import type { FieldLine, Fields } from '../../src/protocol/message-head.ts'
import { HintReader } from './bandwidth-signal.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import type { ClientFault } from './client-error.ts'
import type { FetchLike } from './w3c-types.ts'

export interface RelayRequest {
  readonly path: string
  readonly fields: readonly FieldLine[]
  /** Ends the exchange at any point, the body included. */
  readonly signal: AbortSignal
}

export interface RelayResponse {
  readonly status: number
  readonly fields: Fields
  /** The next bytes of the body, null at its end. */
  read (): Promise<Uint8Array | null>
  /** Gives the rest up; to be called unless null was read. */
  cancel (): void
}

/** A way to the relay: requests in, responses out. */
export interface RelayConnection {
  /** @throws ShardClientError, or the reason of the signal */
  request (request: RelayRequest): Promise<RelayResponse>
  /** Resolves with a reason when the connection is gone; never rejects. */
  readonly closed: Promise<string>
  close (): void
}

const ignore = (): void => {}

/** Requests over plain HTTP; there is no control stream, so drain and redirect do not come over it, and bandwidth comes with the responses. */
export class FetchConnection implements RelayConnection {
  readonly closed: Promise<string>
  readonly #base: string
  readonly #fetch: FetchLike
  readonly #hints = new HintReader()
  readonly #onControl: (message: ControlMessage) => void
  #close: (reason: string) => void = ignore

  /** @param base URL of the relay without trailing slash */
  constructor (base: string, fetch: FetchLike, onControl: (message: ControlMessage) => void = ignore) {
    this.#base = base
    this.#fetch = fetch
    this.#onControl = onControl
    this.closed = new Promise(resolve => { this.#close = resolve })
  }

  async request ({ path, fields, signal }: RelayRequest): Promise<RelayResponse> {
    const broken = (fault: ClientFault) => (error: unknown): never => {
      signal.throwIfAborted()
      throw new ShardClientError(fault, `HTTP failed: ${reasonText(error)}`, { cause: error })
    }
    const response = await this.#fetch(this.#base + path, { method: 'GET', headers: Object.fromEntries(fields), signal }).catch(broken('session-lost'))
    const answer = new Map<string, string>()
    response.headers.forEach((value, name) => { answer.set(name.toLowerCase(), value) })
    // Errors tell nothing of it.
    const hint = response.status < 300 ? this.#hints.read(answer.get('cmsd-dynamic')) : undefined
    if (hint !== undefined) this.#onControl(hint)
    const reader = response.body?.getReader()
    return {
      status: response.status,
      fields: answer,
      read: async () => {
        const next = await reader?.read().catch(broken('reset'))
        return next === undefined || next.done ? null : next.value ?? new Uint8Array(0)
      },
      cancel: () => { reader?.cancel().catch(ignore) }
    }
  }

  close (): void {
    this.#close('closed')
  }
}
