import type { ClientHttp2Session } from 'node:http2'
import type { W3cWebTransportConstructor } from './w3c-types.ts'

/**
 * HTTP/2 windows of a client over TCP, bytes. Node's are 65,535 and stand below the library's own windows, so they alone would decide how much comes in
 * a round trip: The library's windows, at most 6 MiB a stream and 15 MiB a session, bound the memory.
 */
const HTTP2_WINDOW_BYTES = 16 * 1024 * 1024

/** What is used of the inner classes of fails-components 1.6.8, a version that is pinned exactly because of that. */
interface HttpClient { readonly transportInt?: { readonly clientInt?: ClientHttp2Session } }
interface PonyfillConnection { readonly client: HttpClient, readonly sessionint: unknown, readonly ourl: URL }
type Arguments = Readonly<Record<string, unknown>>
interface Inner {
  readonly WebTransportBase: W3cWebTransportConstructor
  readonly HttpClient: new (args: Arguments) => HttpClient & {
    handleConnection (args: { createTransport: boolean, path: string }): Promise<void>
    createWTSession (session: unknown, path: string): Promise<unknown>
    closeHookSession (): void
  }
  readonly HttpWTSession: new (args: Arguments) => { readyReject (error: unknown): void, closedReject (error: unknown): void }
  readonly Http2WebTransportClient: new (args: Arguments) => unknown
}

function raiseWindows (http2: ClientHttp2Session): void {
  http2.once('connect', () => {
    // The library has ended it already when the certificate is not the pinned one.
    if (http2.destroyed) return
    http2.settings({ initialWindowSize: HTTP2_WINDOW_BYTES })
    http2.setLocalWindowSize(HTTP2_WINDOW_BYTES)
  })
}

/** The library's entry for Node looks for HTTP/3 as it loads and prints that there is none, so its parts are put together here: HTTP/2 and nothing else. */
function assemble ({ WebTransportBase, HttpClient, HttpWTSession, Http2WebTransportClient }: Inner): W3cWebTransportConstructor {
  return class NodePonyfill extends WebTransportBase {
    createClient (args: Arguments): Omit<PonyfillConnection, 'ourl'> {
      const client = new HttpClient({ ...args, createReliableClient: () => new Http2WebTransportClient(args) })
      return { client, sessionint: new HttpWTSession({ parentobj: client }) }
    }

    startUpConnection ({ client, sessionint, ourl }: PonyfillConnection & { client: InstanceType<Inner['HttpClient']>, sessionint: InstanceType<Inner['HttpWTSession']> }): void {
      const path = ourl.pathname + ourl.search
      client.handleConnection({ createTransport: true, path }).then(() => client.createWTSession(sessionint, path)).catch((error: unknown) => {
        client.closeHookSession()
        sessionint.readyReject(error)
        sessionint.closedReject(error)
      })
      const http2 = client.transportInt?.clientInt
      if (http2 !== undefined) raiseWindows(http2)
    }
  }
}

/** Loads the WebTransport of fails-components for the way over TCP. */
export async function nodePonyfill (): Promise<W3cWebTransportConstructor> {
  const { parts } = await import('./node-http2.ts')
  return assemble(parts as Inner)
}
