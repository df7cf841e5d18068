/** WebTransport over HTTP/3 by quinn: a UDP port and the sessions on it. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { lookup } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import { createSecureContext } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemTimers } from '../../../base/clock.ts'
import type { TlsMaterial } from '../../../channel/tls-material.ts'
import type { SessionRequest } from '../../../protocol/transport-session.ts'
import type { NapiBinding, NapiRequest, NapiServer, NapiSession } from '../../../quinn/binding.ts'
import { messageOf } from '../../../quinn/failure.ts'
import { QuinnSession } from '../../../quinn/session.ts'
import { Admission } from '../admission.ts'
import type { EngineSizes, ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from '../viewer-transport.ts'

/** Bidirectional streams a peer may have open at the same time in a session: the engine fixes 100, and CONNECT is one of them. */
const ENGINE_STREAMS = 99
/** The contract gives `close` a second; sessions get most of it to tell their peers. */
const FAREWELL_MS = 700
const PORT_FREE_MS = 950
const LOOK_MS = 50
/** Another process may take the port between the look for a free one and the bind. */
const BIND_ATTEMPTS = 5

/** @param load gives the binding, and throws where there is none for this system */
export function quinnTransport (load: () => NapiBinding): ViewerTransport {
  return {
    name: 'quinn',
    async listen (options, events) {
      const binding = load()
      const host = isIP(options.host) === 0 ? (await lookup(options.host)).address : options.host
      for (let attempt = 1; ; attempt++) {
        const port = options.port === 0 ? await freePort(host) : options.port
        try {
          return new QuinnListener(binding, bind(binding, host, port, options.tls), { host, port }, options, events)
        } catch (error) {
          if (options.port !== 0 || attempt >= BIND_ATTEMPTS) throw error
        }
      }
    }
  }
}

function address (host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** @throws Error with the system's code in its message, or when certificate or key cannot be used */
function bind (binding: NapiBinding, host: string, port: number, { cert, key }: TlsMaterial): NapiServer {
  // Says more clearly than the engine what is wrong with a certificate.
  createSecureContext({ cert, key })
  try {
    return binding.NapiServer.bind(address(host, port), Buffer.from(cert), Buffer.from(key))
  } catch (error) {
    // The system's name for "address in use", as Node's own listeners report it.
    throw /os error 98|in use/i.test(messageOf(error)) ? new Error(`EADDRINUSE: ${messageOf(error)}`) : error
  }
}

/** A UDP port that is free now: the engine does not tell which one it got for 0. */
async function freePort (host: string): Promise<number> {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' })
  socket.bind(0, host)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

async function isFree (host: string, port: number): Promise<boolean> {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' })
  return await new Promise(resolve => {
    socket.once('error', () => { resolve(false); socket.close() })
    socket.bind({ address: host, port, exclusive: true }, () => { socket.close(() => { resolve(true) }) })
  })
}

/** V8 hides its collector unless it is told otherwise; contexts made after that have it. */
function collectGarbage (): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}

let serial = 0

class QuinnListener implements TransportListener {
  readonly port: number
  readonly #binding: NapiBinding
  readonly #server: NapiServer
  readonly #host: string
  readonly #options: ListenerOptions
  readonly #events: ListenerEvents
  readonly #admission: Admission
  readonly #sessions = new Set<QuinnSession>()
  /** Settles when no request is awaited any more, after which the server may be closed. */
  readonly #accepting: Promise<void>
  #closing: Promise<void> | undefined

  constructor (binding: NapiBinding, server: NapiServer, { host, port }: { host: string, port: number }, options: ListenerOptions, events: ListenerEvents) {
    this.#binding = binding
    this.#server = server
    this.#host = host
    this.port = port
    this.#options = options
    this.#events = events
    this.#admission = new Admission(options, events)
    this.#accepting = this.#accept()
  }

  get description (): string {
    const { maxSessions, maxStreamsPerSession } = this.#options
    return `quinn-proto 0.11.16 (@moq/web-transport 0.1.4, CUBIC); at most ${maxSessions} sessions, ${Math.min(ENGINE_STREAMS, maxStreamsPerSession)} streams each`
  }

  sizes (): EngineSizes {
    let streams = 0
    let lingering = 0
    for (const session of this.#sessions) {
      streams += session.stats().openStreams
      lingering += session.lingering
    }
    return { sessions: this.#sessions.size, deciding: this.#admission.pending, streams, lingering }
  }

  /** @throws Error when this engine could not serve with it; it takes a certificate at bind only */
  checkTls (tls: TlsMaterial): void {
    bind(this.#binding, '127.0.0.1', 0, tls).close()
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    this.#admission.shut()
    const started = systemTimers.now()
    const left = (until: number): number => Math.max(0, started + until - systemTimers.now())
    for (const session of this.#sessions) session.close(0, 'the relay is stopping')
    await within(left(FAREWELL_MS), Promise.all(Array.from(this.#sessions, async session => { await session.gone })))
    await within(left(PORT_FREE_MS), this.#endAccept())
    while (left(PORT_FREE_MS) > 0 && !await isFree(this.#host, this.port)) {
      // Sessions that are over keep the port until the collector has found out.
      collectGarbage()
      await new Promise(resolve => { setTimeout(resolve, LOOK_MS) })
    }
  }

  /**
   * The engine's `close` waits, with the whole thread, for an `accept` under way, and nothing but a request ends that: so we send one.
   * Whoever listens on all addresses is reached by loopback.
   */
  async #endAccept (): Promise<void> {
    const host = this.#host === '0.0.0.0' ? '127.0.0.1' : this.#host === '::' ? '::1' : this.#host
    this.#binding.NapiClient.disableVerify().connect(`https://${address(host, this.port)}/`).catch(() => {})
    await this.#accepting
    this.#server.close()
  }

  async #accept (): Promise<void> {
    for (;;) {
      const request = await this.#server.accept()
      if (request === null) return
      if (this.#closing !== undefined) {
        request.reject(503).catch(() => {})
        return
      }
      this.#consider(request).catch((error: unknown) => { this.#events.handshakeFailed('protocol', messageOf(error)) })
    }
  }

  async #consider (native: NapiRequest): Promise<void> {
    const { pathname, search, host } = new URL(await native.url)
    const request: SessionRequest = { path: pathname + search, authority: host, headers: {}, peer: undefined }
    const verdict = await this.#admission.ask(request, true)
    if (!verdict.accept) return await native.reject(verdict.status)
    try {
      this.#open(await this.#accepted(native), request)
    } catch (error) {
      this.#admission.release()
      throw error
    }
  }

  /** Answers with 200; a session that opens too late is closed. @throws Error */
  async #accepted (native: NapiRequest): Promise<NapiSession> {
    const opening = native.ok()
    const session = await within(this.#options.handshakeTimeoutMs, opening)
    if (session !== undefined) return session
    opening.then(late => { late.close(0, 'too late') }, () => {})
    throw new Error('the answer was not taken in time')
  }

  #open (native: NapiSession, request: SessionRequest): void {
    const session = new QuinnSession(native, { id: `quinn-${++serial}`, request, maxStreams: this.#options.maxStreamsPerSession })
    this.#sessions.add(session)
    session.closed.then(() => { this.#admission.release() }, () => {})
    session.gone.then(() => { this.#sessions.delete(session) }, () => {})
    if (this.#closing !== undefined) return session.close(0, 'the relay is stopping')
    try {
      this.#events.session(session)
    } catch (error) {
      this.#events.log('error', 'session handler failed', { error: messageOf(error) })
      return session.close(0, 'internal error')
    }
    session.start()
  }
}

/** The value, or undefined when it has not come in time. */
async function within<T> (ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([promise, new Promise<undefined>(resolve => { timer = setTimeout(() => { resolve(undefined) }, ms) })])
  } finally {
    clearTimeout(timer)
  }
}
