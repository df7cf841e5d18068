import type { SessionRequest } from '../../../protocol/transport-session.ts'
import { Admission } from '../admission.ts'
import type { EngineSizes, ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from '../viewer-transport.ts'
import { loadLibrary, type LibraryRequest, type LibraryServer, type LibraryVisit } from './library.ts'
import { parsePeer, toSessionRequest } from './request.ts'
import { FailsSession } from './session.ts'
import { createServer, startServer } from './start.ts'

/** The stream of the CONNECT counts against the credit of its connection. */
const CONNECT_STREAMS = 1
/** Time, milliseconds, for the closes to leave before the native server is destroyed, and for its socket to close after. */
const FLUSH_MS = 100
const CLOSE_TIMEOUT_MS = 700
/** Sessions are looked at this many times per idle timeout. */
const LOOKS_PER_TIMEOUT = 4
const MIN_LOOK_MS = 25

interface AcceptedHttp3 { readonly request: SessionRequest, readonly release: () => void }

/** Why HTTP/3 of fails-components cannot be had here, or undefined when its optional package loads. */
export async function failsHttp3Missing (): Promise<string | undefined> {
  return (await loadLibrary()).http3Missing
}

/** HTTP/3 through the optional native package of fails-components; `listen` rejects with the reason when it is absent. */
export function failsHttp3Transport (): ViewerTransport {
  return {
    name: 'fails-http3',
    async listen (options, events) {
      const library = await loadLibrary()
      if (library.http3Missing !== undefined) throw new Error(library.http3Missing)
      const server = await createServer(library, options, { reliability: 'unreliableOnly', initialBidirectionalStreams: options.maxStreamsPerSession + CONNECT_STREAMS })
      const listener = new Http3Listener(server, options, events)
      await listener.start()
      return listener
    }
  }
}

class Http3Listener implements TransportListener {
  readonly description: string
  readonly #server: LibraryServer
  readonly #options: ListenerOptions
  readonly #events: ListenerEvents
  readonly #admission: Admission
  /** Sessions, and when bytes of theirs last arrived, monotonic milliseconds; the native library keeps silent peers for minutes. */
  readonly #sessions = new Map<FailsSession, { bytes: number, heardAt: number }>()
  /** When a datagram last came from the address of a session. */
  readonly #heard = new Map<string, number>()
  #look: NodeJS.Timeout | undefined
  #accepted = 0
  #closing: Promise<void> | undefined
  #stopped: () => void = () => {}

  constructor (server: LibraryServer, options: ListenerOptions, events: ListenerEvents) {
    this.#server = server
    this.#options = options
    this.#events = events
    this.#admission = new Admission(options, events)
    this.description = 'fails-components 1.6.8: HTTP/3 over native quiche, ' +
      `at most ${options.maxSessions} sessions with ${options.maxStreamsPerSession} streams; a new certificate needs a new listener`
  }

  get port (): number { return this.#server.port ?? 0 }

  async start (): Promise<void> {
    const { transportInt } = this.#server
    this.#server.onSessionRequest = request => { this.#request(request) }
    this.#server.onHttpWTSessionVisitor = visit => { this.#visit(visit) }
    this.#server.onServerClose = () => { this.#stopped() }
    transportInt.setJSRequestHandler(true)
    transportInt.addPath(this.#options.path)
    await startServer(this.#server, this.#events)
    transportInt.socket?.socketInt?.on('message', (_bytes: Buffer, from: { address: string, port: number }) => {
      const key = peerKey(parsePeer(`${from.address}:${from.port}`))
      if (this.#heard.has(key)) this.#heard.set(key, performance.now())
    })
    this.#look = setInterval(() => { this.#check(performance.now()) }, Math.max(MIN_LOOK_MS, this.#options.idleTimeoutMs / LOOKS_PER_TIMEOUT))
    this.#look.unref()
  }

  sizes (): EngineSizes {
    let streams = 0
    let lingering = 0
    for (const session of this.#sessions.keys()) {
      streams += session.openStreams
      lingering += session.lingering
    }
    return { sessions: this.#sessions.size, streams, lingering, handshakes: this.#admission.pending, peers: this.#heard.size }
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    clearInterval(this.#look)
    this.#admission.shut()
    for (const session of this.#sessions.keys()) session.close(0, 'relay is stopping')
    await new Promise(resolve => { setTimeout(resolve, FLUSH_MS) })
    await new Promise<void>(resolve => {
      const late = setTimeout(resolve, CLOSE_TIMEOUT_MS)
      this.#stopped = () => { clearTimeout(late); resolve() }
      // A second call crashes the process, hence only here, behind the promise of `close`.
      this.#server.transportInt.stopServer()
    })
  }

  #request (library: LibraryRequest): void {
    const request = toSessionRequest(library)
    if (request === undefined) return
    this.#answer(library, request).catch((error: unknown) => {
      this.#events.log('warn', 'session request failed', { error: String(error) })
    })
  }

  async #answer (library: LibraryRequest, request: SessionRequest): Promise<void> {
    // The native library tells of a connection no earlier than this.
    const verdict = await this.#admission.ask(request, false)
    const answer = { ...library, path: this.#options.path }
    if (!verdict.accept) {
      this.#server.transportInt.finishSessionRequest({ ...answer, status: verdict.status })
      return
    }
    let held = true
    const accepted: AcceptedHttp3 = {
      request,
      release: () => {
        if (held) this.#admission.release()
        held = false
      }
    }
    try {
      this.#server.transportInt.finishSessionRequest({ ...answer, status: 200, userData: accepted })
    } catch (error) {
      accepted.release()
      throw error
    }
  }

  #visit (visit: LibraryVisit): void {
    const { request, release } = visit.userData as AcceptedHttp3
    const session = new FailsSession(visit.session, {
      id: `h3-${++this.#accepted}`,
      transport: 'webtransport',
      request,
      maxStreams: this.#options.maxStreamsPerSession,
      ready: ready => { this.#events.session(ready) }
    })
    const now = performance.now()
    this.#sessions.set(session, { bytes: 0, heardAt: now })
    this.#heard.set(peerKey(request.peer), now)
    const over = (): void => {
      release()
      this.#sessions.delete(session)
      this.#heard.delete(peerKey(request.peer))
    }
    session.closed.then(over, over)
  }

  #check (now: number): void {
    for (const [session, seen] of this.#sessions) {
      const bytes = session.stats().bytesReceived
      // A peer behind a NAT that changed its address is heard by its streams.
      const heardAt = bytes === seen.bytes ? seen.heardAt : now
      this.#sessions.set(session, { bytes, heardAt })
      const datagram = this.#heard.get(peerKey(session.request.peer)) ?? 0
      if (now - Math.max(heardAt, datagram) >= this.#options.idleTimeoutMs) session.lose('idle timeout')
    }
  }
}

function peerKey (peer: { ip: string, port: number } | undefined): string {
  return `${peer?.ip} ${peer?.port}`
}
