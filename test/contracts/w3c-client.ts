import type { WebTransport as LibraryWebTransport } from '@fails-components/webtransport'
import { TransportError, type BidiStream, type ReceiveStream, type SendStream, type SessionClose } from '../../src/protocol/transport-session.ts'
import type { ContractClient } from './viewer-transport.ts'

type Readable = LibraryWebTransport['incomingUnidirectionalStreams'] extends ReadableStream<infer T> ? T : never
type Writable = Awaited<ReturnType<LibraryWebTransport['createUnidirectionalStream']>>

/** The library puts the application code into the text of its errors. */
function translate (error: unknown): TransportError {
  const text = String(error)
  const code = /(Resetstream|StopSending) with code:(\d+)/.exec(text)
  if (code !== null) return new TransportError(code[1] === 'Resetstream' ? 'reset' : 'stopped', text, Number(code[2]))
  return new TransportError('session-closed', text)
}

function sender (writable: Writable): SendStream {
  const writer = writable.getWriter()
  const stop = new AbortController()
  writer.closed.catch((error: unknown) => { stop.abort(translate(error)) })
  writer.ready.catch(() => {})
  return {
    stopped: stop.signal,
    async write (chunk) {
      try {
        await writer.ready
        // The library's client masks the chunk in place, so it gets a copy.
        await writer.write(chunk.slice())
      } catch (error) {
        throw translate(error)
      }
    },
    async end () {
      try {
        await writer.close()
      } catch (error) {
        throw translate(error)
      }
    },
    reset (code) { writer.abort(Object.assign(new Error('reset'), { code })).catch(() => {}) }
  }
}

function receiver (readable: Readable): ReceiveStream {
  const reader = (readable as ReadableStream<Uint8Array>).getReader()
  reader.closed.catch(() => {})
  return {
    async read () {
      try {
        const { done, value } = await reader.read()
        return done ? null : value
      } catch (error) {
        throw translate(error)
      }
    },
    cancel (code) { reader.cancel({ code }).catch(() => {}) }
  }
}

/** Wraps a W3C-shaped WebTransport of the library as a client of the contract suite. */
export async function w3cClient (transport: LibraryWebTransport): Promise<ContractClient> {
  const closed = transport.closed.then(
    (info): SessionClose => ({ code: info.closeCode, reason: info.reason, clean: true }),
    (error: unknown): SessionClose => ({ code: 0, reason: String(error), clean: false })
  )
  transport.draining.catch(() => {})
  let count = 0
  const join = (stream: { readable: unknown, writable: unknown }): BidiStream => {
    const send = sender(stream.writable as Writable)
    const receive = receiver(stream.readable as Readable)
    return { id: `${count++}`, ...send, ...receive }
  }
  await transport.ready
  const client: ContractClient = {
    onStream (stream) { stream.cancel(0); stream.reset(0) },
    async openBidi () { return join(await transport.createBidirectionalStream({ sendGroup: null, waitUntilAvailable: true })) },
    async openUni () { return sender(await transport.createUnidirectionalStream({ sendGroup: null, waitUntilAvailable: true })) },
    close (code = 0, reason = '') { transport.close({ closeCode: code, reason }) },
    closed
  }
  const accept = async (): Promise<void> => {
    for await (const stream of transport.incomingUnidirectionalStreams) client.onUni?.(receiver(stream))
  }
  accept().catch(() => {})
  return client
}
