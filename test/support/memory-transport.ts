import { systemTimers, type Timers } from '../../src/base/clock.ts'
import { Admission } from '../../src/gateway/transports/admission.ts'
import { TransportError, type BidiStream, type ReceiveStream, type SendStream, type SessionClose, type SessionRequest, type TransportStats, type TransportSession } from '../../src/protocol/transport-session.ts'
import { createPipe, type PipeEnd } from './memory-pipe.ts'
import type { EngineSizes, ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from '../../src/gateway/transports/viewer-transport.ts'

/** Bytes a direction of a stream buffers; the stream window of the network engines, so back-pressure shows in tests. */
const WINDOW_BYTES = 65_536
/** A peer without stream credit waits this long, milliseconds, before `openBidi` rejects. */
const CREDIT_TIMEOUT_MS = 5_000

/** Knobs of the in-process engine; all have defaults. */
export interface MemoryOptions {
  readonly windowBytes?: number
  readonly creditTimeoutMs?: number
  readonly timers?: Timers
}

/** The request a dialler sends; `authority` and `peer` have loopback defaults. */
export interface MemoryDial {
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly authority?: string
  readonly peer?: { readonly ip: string, readonly port: number }
}

/** The viewer's end; `lose()` ends both ends as a broken connection does. */
export interface MemoryClient extends TransportSession {
  lose (reason?: string): void
}

/** Why `connectMemory` rejected: the HTTP status of the refusal. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  readonly status: number
  constructor (status: number) {
    super(`session refused with status ${status}`)
    this.status = status
  }
}

interface Settings { readonly windowBytes: number, readonly creditTimeoutMs: number, readonly timers: Timers }

/** One end of an in-process session; the two ends of a pair point at each other. */
class MemorySession implements MemoryClient {
  readonly id: string
  readonly transport = 'memory'
  readonly request: SessionRequest
  readonly closed: Promise<SessionClose>
  onStream: (stream: BidiStream) => void = stream => { stream.reset(0); stream.cancel(0) }
  onUni?: (stream: ReceiveStream) => void
  peer: MemorySession | undefined
  readonly #settings: Settings
  readonly #maxStreams: number
  readonly #ends = new Set<PipeEnd>()
  readonly #waiting: Array<() => void> = []
  #resolveClosed: (close: SessionClose) => void = () => {}
  #over: SessionClose | undefined
  #next = 0
  #opened = 0
  #streams = 0
  #sent = 0
  #received = 0
  #active: number

  /** @param maxStreams bidirectional streams this end may have open at the same time */
  constructor (id: string, request: SessionRequest, maxStreams: number, settings: Settings) {
    this.id = id
    this.request = request
    this.#maxStreams = maxStreams
    this.#settings = settings
    this.#active = settings.timers.now()
    this.closed = new Promise(resolve => { this.#resolveClosed = resolve })
  }

  /** When a byte last moved, on the injected clock. */
  get activeAt (): number { return this.#active }
  get openStreams (): number { return this.#streams }

  stats (): TransportStats {
    return { bytesSent: this.#sent, bytesReceived: this.#received, openStreams: this.#streams, rttMs: 0 }
  }

  async openBidi (): Promise<BidiStream> {
    while (this.#opened >= this.#maxStreams) await this.#credit()
    const peer = this.#alive()
    this.#opened += 1
    const id = `${this.id}/${this.#next++}`
    const there = createPipe(this.#settings.windowBytes, bytes => { this.#count(bytes) })
    const back = createPipe(this.#settings.windowBytes, bytes => { peer.#count(bytes) })
    this.#track([there, back])
    whenAll([there, back], () => {
      this.#opened -= 1
      this.#waiting.shift()?.()
    })
    queueMicrotask(() => { if (this.#over === undefined) peer.onStream(join(id, back.send, there.receive)) })
    return join(id, there.send, back.receive)
  }

  async openUni (): Promise<SendStream> {
    const peer = this.#alive()
    const pipe = createPipe(this.#settings.windowBytes, bytes => { this.#count(bytes) })
    this.#track([pipe])
    queueMicrotask(() => {
      if (peer.onUni === undefined) pipe.receive.cancel(0)
      else peer.onUni(pipe.receive)
    })
    return pipe.send
  }

  close (code = 0, reason = ''): void {
    const close = { code, reason: Buffer.from(reason).subarray(0, 1024).toString(), clean: true }
    this.finish(close)
    this.peer?.finish(close)
  }

  /** Loses the connection: both ends see it, not clean. */
  lose (reason = 'connection lost'): void {
    const lost = { code: 0, reason, clean: false }
    this.finish(lost)
    this.peer?.finish(lost)
  }

  /** Ends this side with the given result; idempotent. */
  finish (close: SessionClose): void {
    if (this.#over !== undefined) return
    this.#over = close
    for (const end of this.#ends) end.fail(new TransportError('session-closed', 'session closed'))
    this.#ends.clear()
    for (const wake of this.#waiting.splice(0)) wake()
    this.#resolveClosed(close)
  }

  #alive (): MemorySession {
    if (this.#over !== undefined || this.peer === undefined) throw new TransportError('session-closed', 'session closed')
    return this.peer
  }

  #count (bytes: number): void {
    const peer = this.peer
    this.#sent += bytes
    this.#active = this.#settings.timers.now()
    if (peer === undefined) return
    peer.#received += bytes
    peer.#active = this.#active
  }

  #track (ends: PipeEnd[]): void {
    const both = [this, this.peer].filter(side => side !== undefined)
    for (const side of both) {
      side.#streams += 1
      for (const end of ends) side.#ends.add(end)
    }
    whenAll(ends, () => {
      for (const side of both) {
        side.#streams -= 1
        for (const end of ends) side.#ends.delete(end)
      }
    })
  }

  #credit (): Promise<void> {
    this.#alive()
    return new Promise((resolve, reject) => {
      const wake = (): void => { cancel(); resolve() }
      const cancel = this.#settings.timers.after(this.#settings.creditTimeoutMs, () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1)
        reject(new TransportError('no-credit', `no stream credit within ${this.#settings.creditTimeoutMs} ms`))
      })
      this.#waiting.push(wake)
    })
  }
}

/** `done` never rejects, so one callback is the whole story. */
function whenAll (ends: readonly PipeEnd[], then: () => void): void {
  Promise.all(ends.map(end => end.done)).then(then, then)
}

function join (id: string, send: SendStream, receive: ReceiveStream): BidiStream {
  return {
    id,
    write: chunk => send.write(chunk),
    end: () => send.end(),
    reset: code => { send.reset(code) },
    stopped: send.stopped,
    read: () => receive.read(),
    cancel: code => { receive.cancel(code) }
  }
}

class MemoryListener implements TransportListener {
  readonly description: string
  readonly port: number
  readonly #options: ListenerOptions
  readonly #events: ListenerEvents
  readonly #settings: Settings
  readonly #admission: Admission
  readonly #sessions = new Set<MemorySession>()
  #accepted = 0
  #closing: Promise<void> | undefined

  constructor (options: ListenerOptions, events: ListenerEvents, settings: Settings) {
    this.#options = options
    this.#events = events
    this.#settings = settings
    this.#admission = new Admission(options, events, settings.timers)
    this.port = options.port
    this.description = `in-process pair, windows of ${settings.windowBytes} bytes, at most ${options.maxSessions} sessions`
  }

  setTls (): void {}

  sizes (): EngineSizes {
    let streams = 0
    for (const session of this.#sessions) streams += session.openStreams
    return { sessions: this.#sessions.size, streams, handshakes: this.#admission.pending }
  }

  async dial (dial: MemoryDial): Promise<MemoryClient> {
    const request: SessionRequest = {
      path: dial.path,
      authority: dial.authority ?? 'localhost',
      headers: dial.headers ?? {},
      peer: dial.peer ?? { ip: '127.0.0.1', port: 1 }
    }
    const verdict = await this.#admission.ask(request, false)
    if (!verdict.accept) throw new RefusedError(verdict.status)
    const id = `memory-${++this.#accepted}`
    const server = new MemorySession(id, request, this.#options.maxStreamsPerSession, this.#settings)
    const client = new MemorySession(`${id}-peer`, request, this.#options.maxStreamsPerSession, this.#settings)
    server.peer = client
    client.peer = server
    this.#sessions.add(server)
    const cancelIdle = this.#watchIdle(server)
    const release = (): void => {
      cancelIdle()
      this.#sessions.delete(server)
      this.#admission.release()
    }
    server.closed.then(release, release)
    this.#events.session(server)
    return client
  }

  close (): Promise<void> {
    this.#closing ??= (async () => {
      this.#admission.shut()
      for (const session of this.#sessions) session.close(0, 'relay is stopping')
    })()
    return this.#closing
  }

  /** Closes a session that moved no byte for the idle timeout; the check is re-armed for what is left, not per byte. */
  #watchIdle (session: MemorySession): () => void {
    let cancel = (): void => {}
    const arm = (ms: number): void => {
      cancel = this.#settings.timers.after(ms, () => {
        const left = session.activeAt + this.#options.idleTimeoutMs - this.#settings.timers.now()
        if (left > 0) { arm(left); return }
        session.lose('idle timeout')
      })
    }
    arm(this.#options.idleTimeoutMs)
    return () => { cancel() }
  }
}

/** The in-process engine: same contract as the network engines, no socket. */
export function memoryTransport (options: MemoryOptions = {}): ViewerTransport {
  const settings = {
    windowBytes: options.windowBytes ?? WINDOW_BYTES,
    creditTimeoutMs: options.creditTimeoutMs ?? CREDIT_TIMEOUT_MS,
    timers: options.timers ?? systemTimers
  }
  return { name: 'memory', listen: async (listen, events) => new MemoryListener(listen, events, settings) }
}

/**
 * Dials a listener of {@link memoryTransport} in this process; the result is the viewer's end.
 * @throws RefusedError with the HTTP status of the refusal
 */
export async function connectMemory (listener: TransportListener, dial: MemoryDial): Promise<MemoryClient> {
  if (!(listener instanceof MemoryListener)) throw new TypeError('not a listener of the in-process engine')
  return await listener.dial(dial)
}
