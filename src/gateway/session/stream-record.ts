import type { ShardKey } from '../../protocol/shard-key.ts'
import type { ViewerRequest } from './request-codec.ts'
import { errorCode } from './response.ts'
import type { Origin } from '../../protocol/answer.ts'
import type { StreamOutcome } from '../../channel/gateway-counters.ts'
import type { AskedFor, StreamReport } from './session-types.ts'

function askedFor ({ method, path, fields }: ViewerRequest): AskedFor {
  return { method, path, range: fields.get('range'), userAgent: fields.get('user-agent'), traceparent: fields.get('traceparent') }
}

/** What a stream will be reported with, gathered as it goes. */
export class StreamRecord {
  key: ShardKey | undefined
  /** Once its head is complete. */
  request: ViewerRequest | undefined
  requestId: string | undefined
  /** Of the object, once it is there. */
  origin: Origin | undefined
  /** Of the response that was begun. */
  status = 0
  #error: unknown = undefined
  #code: string | undefined
  #headAt: number | undefined
  #firstByteMs: number | undefined
  #bytes = 0
  #objectBytes = 0

  /** Of the response, its head included. */
  get bytes (): number { return this.#bytes }
  /** RELAY_ERR_* of the error met, if any. */
  get code (): string | undefined { return this.#code }

  /** The head of the request is complete, or was refused. */
  headEnded (now: number): void {
    this.#headAt ??= now
  }

  /** @param error for the log; `code` stands for it everywhere else */
  failed (error: unknown, code: string = errorCode(error)): void {
    this.#error = error
    this.#code = code
  }

  /** The engine has accepted so many bytes of the response. @param objectBytes how many of them are the object's */
  wrote (bytes: number, objectBytes: number, now: number): void {
    this.#bytes += bytes
    this.#objectBytes += objectBytes
    this.#firstByteMs ??= now - (this.#headAt ?? now)
  }

  /** @param whole whether FIN was accepted */
  report (outcome: StreamOutcome, whole: boolean, now: number): StreamReport {
    return {
      outcome,
      status: this.status,
      code: this.#code,
      cause: this.#error,
      key: this.key,
      asked: this.request === undefined ? undefined : askedFor(this.request),
      requestId: this.requestId,
      origin: this.origin,
      bytes: this.#objectBytes,
      firstByteMs: this.#firstByteMs,
      totalMs: whole && this.#headAt !== undefined ? now - this.#headAt : undefined,
      elapsedMs: now - (this.#headAt ?? now)
    }
  }

  /** How a stream ends whose response was sent whole. */
  ending (): StreamOutcome {
    if (this.status === 304) return 'not-modified'
    return this.status < 400 ? 'ok' : this.status < 500 ? 'client-error' : 'server-error'
  }
}
