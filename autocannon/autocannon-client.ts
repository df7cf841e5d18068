/**
 * The part of autocannon 9's client that is not in its types and that we stand on. As it is, it turns every body into a string, and takes
 * a connection that ends in the middle of a body for nothing: here bodies are only counted, and broken answers are errors.
 */
import type autocannon from 'autocannon'

interface Pending { readonly startTime: [number, number] }

interface Internals {
  readonly pipelinedRequests: {
    addBody (data: Uint8Array): void
    peek (): Pending | undefined
    size (): number
    clear (): void
  }
  readonly parser: { initialize (type: 'RESPONSE'): void }
  _connect (): void
}

export interface AnswerObserver {
  /** Head complete, milliseconds from the request. */
  head (ms: number): void
  body (bytes: number): void
  /** Answer complete. @param bytes of its body @param ms from the request */
  complete (status: number, bytes: number, ms: number): void
  /** The connection ended before the answer did. */
  broken (): void
}

/** For autocannon's `setupClient`. */
export function observeAnswers (client: autocannon.Client, observer: AnswerObserver): void {
  const internals = client as unknown as Internals
  const queue = internals.pipelinedRequests
  let bytes = 0
  queue.addBody = data => {
    bytes += data.length
    observer.body(data.length)
  }
  client.on('headers', () => {
    bytes = 0
    const pending = queue.peek()
    if (pending === undefined) return
    const [seconds, nanoseconds] = process.hrtime(pending.startTime)
    observer.head(seconds * 1e3 + nanoseconds / 1e6)
  })
  client.on('response', (status, _bytes, ms) => { observer.complete(status, bytes, ms) })
  const connect = internals._connect.bind(client)
  internals._connect = () => {
    for (let left = queue.size(); left > 0; left--) observer.broken()
    queue.clear()
    internals.parser.initialize('RESPONSE')
    connect()
  }
}
