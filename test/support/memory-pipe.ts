import { TransportError, type ReceiveStream, type SendStream } from '../../src/protocol/transport-session.ts'

/** One direction of a stream: a bounded queue with a sending and a receiving end. */
export interface PipeEnd {
  readonly send: SendStream
  readonly receive: ReceiveStream
  /** Resolves when the direction is over: FIN read, reset, stopped or failed. */
  readonly done: Promise<void>
  /** Ends the direction for both ends; idempotent. */
  fail (error: TransportError): void
}

interface Waiter<T> { resolve (value: T): void, reject (error: Error): void }

/**
 * A direction that holds at most `window` bytes: the writer waits beyond, so a peer that does not read stops it.
 * @param moved told the number of bytes each time some are accepted
 */
export function createPipe (window: number, moved: (bytes: number) => void): PipeEnd {
  const queue: Uint8Array[] = []
  const stop = new AbortController()
  let buffered = 0
  let ended = false
  let sendError: TransportError | undefined
  let receiveError: TransportError | undefined
  let reader: Waiter<Uint8Array | null> | undefined
  let writer: (() => void) | undefined
  let writing = false
  let finish: () => void = () => {}
  const done = new Promise<void>(resolve => { finish = resolve })

  const wakeWriter = (): void => {
    const wake = writer
    writer = undefined
    wake?.()
  }
  const settle = (send: TransportError, receive: TransportError, stopped: boolean): void => {
    sendError ??= send
    receiveError ??= receive
    queue.length = 0
    buffered = 0
    if (stopped) stop.abort(send)
    wakeWriter()
    const waiting = reader
    reader = undefined
    waiting?.reject(receiveError)
    finish()
  }
  const take = (): Uint8Array | null | undefined => {
    const chunk = queue.shift()
    if (chunk !== undefined) {
      buffered -= chunk.length
      wakeWriter()
      return chunk
    }
    if (!ended) return undefined
    finish()
    return null
  }
  const feed = (): void => {
    if (reader === undefined) return
    const next = take()
    if (next === undefined) return
    const waiting = reader
    reader = undefined
    waiting.resolve(next)
  }

  const send: SendStream = {
    stopped: stop.signal,
    async write (chunk) {
      if (writing) throw new TransportError('protocol', 'a write is already outstanding')
      writing = true
      try {
        let offset = 0
        do {
          if (sendError !== undefined) throw sendError
          if (ended) throw new TransportError('protocol', 'write after end')
          if (buffered >= window) {
            await new Promise<void>(resolve => { writer = resolve })
            continue
          }
          const piece = chunk.slice(offset, offset + window - buffered)
          offset += piece.length
          buffered += piece.length
          queue.push(piece)
          moved(piece.length)
          feed()
        } while (offset < chunk.length)
      } finally {
        writing = false
      }
    },
    async end () {
      if (sendError !== undefined) throw sendError
      ended = true
      feed()
    },
    reset (code) {
      if (ended && queue.length === 0) return
      settle(new TransportError('reset', 'stream was reset here', code), new TransportError('reset', 'peer reset the stream', code), false)
    }
  }

  const receive: ReceiveStream = {
    read () {
      if (reader !== undefined) return Promise.reject(new TransportError('protocol', 'a read is already outstanding'))
      if (receiveError !== undefined) return Promise.reject(receiveError)
      const next = take()
      if (next !== undefined) return Promise.resolve(next)
      return new Promise((resolve, reject) => { reader = { resolve, reject } })
    },
    cancel (code) {
      if (ended && queue.length === 0) { finish(); return }
      settle(new TransportError('stopped', 'peer stopped the stream', code), new TransportError('stopped', 'stream was stopped here', code), true)
    }
  }

  return { send, receive, done, fail (error) { settle(error, error, !ended) } }
}
