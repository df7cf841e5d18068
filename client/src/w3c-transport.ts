import { ShardClientError, reasonText } from './client-error.ts'
import type { ClientSession, ClientStream, IncomingStream, SessionEndpoint } from './session.ts'
import type { W3cReadable, W3cReader, W3cWebTransport, W3cWebTransportConstructor, W3cWebTransportOptions, W3cWriter } from './w3c-types.ts'
import { abortable } from './waiting.ts'

const ignore = (): void => {}

/** The code of a WebTransportError, where the peer sent one. */
function streamCode (error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'streamErrorCode' in error ? error.streamErrorCode : undefined
  return typeof code === 'number' ? ` with code ${code}` : ''
}

class W3cStream implements ClientStream {
  readonly #writer: W3cWriter
  readonly #reader: W3cReader<Uint8Array>
  readonly #isOver: () => boolean

  constructor (writer: W3cWriter, reader: W3cReader<Uint8Array>, isOver: () => boolean) {
    this.#writer = writer
    this.#reader = reader
    this.#isOver = isOver
    // The same failure shows in write and read; unobserved, it would be an unhandled rejection.
    writer.closed.catch(ignore)
  }

  async write (chunk: Uint8Array): Promise<void> {
    await this.#writer.write(chunk).catch((error: unknown) => this.#fail(error))
  }

  async end (): Promise<void> {
    await this.#writer.close().catch((error: unknown) => this.#fail(error))
  }

  async read (): Promise<Uint8Array | null> {
    const { done, value } = await this.#reader.read().catch((error: unknown) => this.#fail(error))
    return done ? null : value ?? new Uint8Array(0)
  }

  reset (): void {
    // The code of an abort reason is a WebTransportError, whose constructor differs between browsers: 0 is sent everywhere.
    this.#writer.abort().catch(ignore)
    this.#reader.cancel().catch(ignore)
  }

  #fail (error: unknown): never {
    if (this.#isOver()) throw new ShardClientError('session-lost', 'the session ended', { cause: error })
    throw new ShardClientError('reset', `the relay reset the stream${streamCode(error)}`, { cause: error })
  }
}

/** The client's view of a W3C WebTransport object that is ready. */
class W3cSession implements ClientSession {
  readonly closed: Promise<string>
  readonly #transport: W3cWebTransport
  #over = false
  #closed = false

  constructor (transport: W3cWebTransport, onIncoming: (stream: IncomingStream) => void) {
    this.#transport = transport
    const end = (reason: string): string => {
      this.#over = true
      return reason
    }
    this.closed = transport.closed.then(info => end(info?.reason ?? 'closed'), (error: unknown) => end(reasonText(error)))
    acceptAll(transport.incomingUnidirectionalStreams.getReader(), onIncoming).catch(ignore)
  }

  async openStream (): Promise<ClientStream> {
    let stream: Awaited<ReturnType<W3cWebTransport['createBidirectionalStream']>>
    try {
      stream = await this.#transport.createBidirectionalStream()
    } catch (error) {
      // Chromium rejects when it has no MAX_STREAMS credit, where the standard would wait.
      throw new ShardClientError(this.#over ? 'session-lost' : 'no-credit', reasonText(error), { cause: error })
    }
    return new W3cStream(stream.writable.getWriter(), stream.readable.getReader(), () => this.#over)
  }

  close (): void {
    // A second close sends fails-components 1.6.8 into an endless loop inside HTTP/2.
    if (this.#closed || this.#over) return
    this.#closed = true
    try {
      this.#transport.close()
    } catch {
      // A session that never became ready refuses to be closed.
    }
  }
}

async function acceptAll (streams: W3cReader<W3cReadable<Uint8Array>>, onIncoming: (stream: IncomingStream) => void): Promise<void> {
  for (let next = await streams.read(); !next.done; next = await streams.read()) {
    const reader = next.value?.getReader()
    if (reader === undefined) continue
    onIncoming({
      read: async () => {
        const { done, value } = await reader.read()
        return done ? null : value ?? new Uint8Array(0)
      },
      cancel: () => { reader.cancel().catch(ignore) }
    })
  }
}

/** Gives the constructor, undefined when there is none here. */
export type W3cLoader = () => W3cWebTransportConstructor | undefined | Promise<W3cWebTransportConstructor | undefined>

/** Opens a session; the rest is as with {@link w3cConnector}. */
export async function openW3c (load: W3cLoader, extra: W3cWebTransportOptions, { url, certificateHashes, signal, onIncoming }: SessionEndpoint): Promise<ClientSession> {
  const Transport = await abortable(Promise.resolve(load()), signal)
  if (Transport === undefined) throw new ShardClientError('connect', 'not available here')
  const hashes = certificateHashes.map(value => ({ algorithm: 'sha-256', value }))
  // An empty list would still switch the check of the certificate chain off in some browsers.
  const transport = new Transport(url, hashes.length === 0 ? extra : { ...extra, serverCertificateHashes: hashes })
  // A session that never becomes ready rejects here as well.
  transport.closed.catch(ignore)
  transport.ready.catch(ignore)
  try {
    await abortable(transport.ready, signal)
  } catch (error) {
    try {
      transport.close()
    } catch {
      transport.ready.then(() => transport.close(), ignore)
    }
    throw error
  }
  return new W3cSession(transport, onIncoming)
}
