import { Readable } from 'node:stream'
import { RelayError } from '../../src/base/errors.ts'
import { keyId, type ShardKey } from '../../src/protocol/shard-key.ts'
import type { AskedNodes, UpstreamFetchOptions, UpstreamObject } from '../../src/plugins/upstream/upstream-types.ts'
import { deferred } from '../../src/base/deferred.ts'

/** One fetch under the control of a test: first `answer` or `refuse`, then pieces, then `end` or `breakOff`. */
export class ScriptedFetch {
  readonly key: ShardKey
  readonly signal: AbortSignal
  readonly via: readonly string[]
  readonly wanted: () => boolean
  readonly avoids: (node: string) => boolean
  /** Errors the relay reported for the body. */
  readonly failures: unknown[] = []
  readonly object: Promise<UpstreamObject>
  readonly body: Readable
  readonly #object = deferred<UpstreamObject>()
  /** Resolves when the reader wants more than it has been given. */
  #wanted = deferred<undefined>()

  constructor (key: ShardKey, signal: AbortSignal, { via = [], wanted = () => true, avoids = () => false }: UpstreamFetchOptions = {}) {
    this.key = key
    this.via = via
    this.wanted = wanted
    this.avoids = avoids
    this.signal = signal
    this.object = this.#object.promise
    this.object.catch(() => {})
    this.body = new Readable({ highWaterMark: 1, read: () => { this.#wanted.resolve(undefined) } })
    // As undici does: a body nobody listens to may end with an error.
    this.body.on('error', () => {})
    this.body.on('close', () => { this.#wanted.resolve(undefined) })
    signal.addEventListener('abort', () => {
      this.#object.reject(signal.reason)
      this.body.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
    })
  }

  answer (head: { size?: number | undefined, sha256?: string | undefined, sha512?: string, storable?: boolean, node?: string, repaired?: boolean } = {}): void {
    this.#object.resolve({
      node: head.node ?? 'node-1',
      senders: [head.node ?? 'node-1'],
      region: 'NA-WEST',
      headMs: 1,
      size: head.size,
      sha256: head.sha256,
      sha512: head.sha512,
      storable: head.storable ?? true,
      repaired: head.repaired ?? false,
      body: this.body,
      failed: error => {
        this.failures.push(error)
        return error instanceof RelayError ? error : new RelayError('RELAY_ERR_UPSTREAM_BODY', 'the body broke', { cause: error })
      }
    })
  }

  refuse (error: RelayError): void {
    this.#object.reject(error)
  }

  /** Sends bytes and waits until the reader has taken them in. */
  async send (bytes: Uint8Array): Promise<void> {
    if (this.body.destroyed) return
    this.#wanted = deferred<undefined>()
    this.body.push(bytes)
    await this.#wanted.promise
  }

  end (): void {
    if (!this.body.destroyed) this.body.push(null)
  }

  breakOff (error = new Error('socket closed')): void {
    this.body.destroy(error)
  }
}

/** An origin whose every answer is written by the test. */
export class ScriptedUpstream {
  readonly fetches: ScriptedFetch[] = []
  /** Called with each new fetch; for tests that answer by rule. */
  onFetch: (fetch: ScriptedFetch) => void = () => {}
  /** What {@link waitsFor} finds for a `via`; false until a test says otherwise. */
  onQuestion: (via: readonly string[]) => boolean | Promise<boolean> = () => false
  /** `via` of every question so far. */
  readonly questions: (readonly string[])[] = []

  async waitsFor (_key: ShardKey, _asked: AskedNodes, via: readonly string[]): Promise<boolean> {
    this.questions.push(via)
    return await this.onQuestion(via)
  }

  async fetch (key: ShardKey, signal: AbortSignal, options: UpstreamFetchOptions = {}): Promise<UpstreamObject> {
    const fetch = new ScriptedFetch(key, signal, options)
    this.fetches.push(fetch)
    this.onFetch(fetch)
    return await fetch.object
  }

  of (key: ShardKey): ScriptedFetch[] {
    return this.fetches.filter(fetch => keyId(fetch.key) === keyId(key))
  }
}
