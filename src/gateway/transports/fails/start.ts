import { randomBytes } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { ListenerEvents, ListenerOptions } from '../viewer-transport.ts'
import type { Library, LibraryServer } from './library.ts'

/** Viewers send small requests: this much unread per stream, and eight times that per session, is plenty. */
export const STREAM_WINDOW_BYTES = 65_536
export const SESSION_WINDOW_BYTES = 524_288
/** Streams that a viewer opens towards us in one direction: telemetry, and the three that HTTP/3 itself needs. */
const MAX_UNI_STREAMS = 16

/** A listener that is not ready by then, milliseconds, never will be: the library only logs what went wrong. */
const READY_TIMEOUT_MS = 3_000

/**
 * A server that does not listen yet, with its transport.
 * @param own options of one transport, which win
 * @throws Error of OpenSSL for a bad certificate, about which the library would log and then stay silent for ever
 */
export async function createServer (library: Library, { host, port, tls, maxStreamsPerSession }: ListenerOptions, own: Readonly<Record<string, unknown>>): Promise<LibraryServer> {
  createSecureContext({ cert: tls.cert, key: tls.key })
  const server = new library.HttpServer({
    host,
    port,
    cert: tls.cert,
    privKey: tls.key,
    secret: randomBytes(16).toString('hex'),
    initialBidirectionalStreams: maxStreamsPerSession,
    initialUnidirectionalStreams: MAX_UNI_STREAMS,
    initialStreamFlowControlWindow: STREAM_WINDOW_BYTES,
    initialSessionFlowControlWindow: SESSION_WINDOW_BYTES,
    streamFlowControlWindowSizeLimit: STREAM_WINDOW_BYTES,
    ...own
  })
  await server.createTransportInt()
  return server
}

/** Starts a server whose transport exists; resolves once its port is bound. @throws Error of the socket, or after the timeout */
export function startServer (server: LibraryServer, events: Pick<ListenerEvents, 'log'>): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => { reject(new Error('fails-components did not start listening')) }, READY_TIMEOUT_MS)
    const listening = server.onServerListening.bind(server)
    server.onServerListening = args => {
      clearTimeout(late)
      listening(args)
      resolve()
    }
    server.onServerError = error => {
      clearTimeout(late)
      events.log('error', 'listener failed', { error: String(error) })
      reject(error ?? new Error('listener failed'))
    }
    server.transportInt.startServer?.()
  })
}
