import type { ListenerEvents } from '../viewer-transport.ts'
import type { LibraryServer } from './library.ts'

/** A listener that is not ready by then, milliseconds, never will be: the library only logs what went wrong. */
const READY_TIMEOUT_MS = 3_000

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
