import { Client, type buildConnector, type Dispatcher } from 'undici'
import type { Socket } from 'node:net'
import { isClose } from './failure.ts'
import { InterimHeads } from './interim-heads.ts'

/** What a request may carry besides what undici knows. */
export interface ConnectionRequest {
  /** Told when a connection is there for it or is being made: from then on it waits for the node, before for us. */
  readonly assigned?: () => void
}

type Handler = Dispatcher.DispatchHandler

/** The socket of now. */
interface Line {
  socket: Socket | undefined
  heads: InterimHeads
  /** Requests sent on it. */
  requests: number
}

/** A client that passes over interim heads, and knows whether its connection was used before. */
export class UpstreamConnection extends Client {
  readonly #line: Line

  constructor (origin: URL, { connect, ...options }: Omit<Client.Options, 'connect'> & { readonly connect: buildConnector.connector }) {
    const line: Line = { socket: undefined, heads: new InterimHeads(), requests: 0 }
    super(origin, {
      ...options,
      connect: (where, done) => {
        connect(where, (...result) => {
          const [error, socket] = result
          if (error === null) {
            line.socket = socket
            line.heads = new InterimHeads()
            line.requests = 0
            passOverInterim(socket, line.heads)
          }
          done(...result)
        })
      }
    })
    this.#line = line
  }

  override dispatch (options: Dispatcher.DispatchOptions & ConnectionRequest, handler: Handler): boolean {
    options.assigned?.()
    return super.dispatch(options, onceMore(this.#line, handler, again => super.dispatch(options, again)))
  }
}

function passOverInterim (socket: Socket, heads: InterimHeads): void {
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    const bytes: unknown = read(size)
    if (Buffer.isBuffer(bytes)) heads.pass(bytes)
    return bytes
  }
}

/**
 * A GET on a connection that the node closes before any byte of the answer has crossed a close that was under way, which says nothing of
 * the node: it is sent once more on a connection that is made for it (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
 */
function onceMore (line: Line, handler: Handler, send: (handler: Handler) => boolean): Handler {
  let used = false
  let retried = false
  let socket: Socket | undefined
  let bytesBefore = 0
  const watched: Handler = {
    onConnect: abort => {
      used = line.requests++ > 0
      socket = line.socket
      bytesBefore = socket?.bytesRead ?? 0
      line.heads.expect()
      handler.onConnect?.(abort)
    },
    onHeaders: (...head) => handler.onHeaders?.(...head) ?? true,
    onData: chunk => handler.onData?.(chunk) ?? true,
    onComplete: trailers => {
      // undici takes a reset for the end of a body that only the end of its connection ends.
      const error = socket?.errored ?? null
      if (error === null) handler.onComplete?.(trailers)
      else handler.onError?.(error)
    },
    onError: error => {
      const raced = used && !retried && isClose(error) && socket?.bytesRead === bytesBefore
      if (!raced) {
        handler.onError?.(error)
        return
      }
      retried = true
      send(watched)
    }
  }
  return watched
}
