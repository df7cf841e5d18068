import type { ListeningInfo } from '../channel/from-gateway.ts'
import type { TlsMaterial } from '../channel/tls-material.ts'
import { SESSION_TRANSPORTS, type SessionTransport } from '../protocol/session-transports.ts'
import type { OpenedTransport } from './transports/open.ts'
import type { TransportListener } from './transports/viewer-transport.ts'

/** A transport that could not be opened, and may be later, is tried again this often, ms. */
const RETRY_MS = 5_000
/** One whose port was ours a moment ago is tried again this often, ms. */
const REOPEN_MS = 250

export interface ListenersOptions {
  readonly open: (name: SessionTransport, tls: TlsMaterial) => Promise<OpenedTransport>
  readonly tls: TlsMaterial
  /** Called when transports have been opened or given up; not while nothing changes. */
  readonly changed: (info: ListeningInfo) => void
  readonly certificateRefused: (transport: SessionTransport, error: unknown) => void
  /** Moves the viewers of a transport that is to be opened anew; resolves when they are gone or their time is up. Never rejects. */
  readonly empty: (transport: SessionTransport) => Promise<void>
  readonly retryMs?: number
}

/** What sessions come in by. One transport that cannot be opened does not keep the others from working. */
export class Listeners {
  readonly #options: ListenersOptions
  readonly #openings = new Map<SessionTransport, OpenedTransport>()
  /** Transports on which new viewers are not taken, since they are about to be opened anew. */
  readonly #renewing = new Set<SessionTransport>()
  /** Of those, the ones that still have their old listener. */
  readonly #emptying = new Set<SessionTransport>()
  #tls: TlsMaterial
  #timer: NodeJS.Timeout | undefined
  #opening: Promise<void> = Promise.resolve()
  #closed = false

  constructor (options: ListenersOptions) {
    this.#options = options
    this.#tls = options.tls
  }

  /** Whether the transport takes no viewers for now. */
  renewing (name: SessionTransport): boolean { return this.#renewing.has(name) }

  /** Opens what is not open; never rejects. */
  async open (): Promise<void> {
    // One at a time: a second attempt on a port would find the first one in its way.
    await (this.#opening = this.#opening.then(async () => { await this.#open() }))
  }

  async #open (): Promise<void> {
    const told = JSON.stringify(this.#info())
    for (const { name } of SESSION_TRANSPORTS) {
      const before = this.#openings.get(name)
      if (this.#closed || this.#emptying.has(name) || before?.listener !== undefined || before?.retry === false) continue
      const tls = this.#tls
      const opening = await this.#options.open(name, tls)
      this.#openings.set(name, opening)
      if (!opening.retry) this.#renewing.delete(name)
      if (this.#closed) await opening.listener?.close()
      else if (this.#tls !== tls) this.#take(name, opening.listener)
    }
    if (this.#closed) return
    if (JSON.stringify(this.#info()) !== told) this.#options.changed(this.#info())
    if (Array.from(this.#openings.values()).some(({ retry }) => retry)) {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => { void this.open() }, this.#renewing.size > 0 ? REOPEN_MS : this.#options.retryMs ?? RETRY_MS)
    }
  }

  /** A transport that refuses the certificate keeps its old one; one that cannot change it is emptied and opened anew. */
  setTls (tls: TlsMaterial): void {
    this.#tls = tls
    for (const [name, { listener }] of this.#openings) this.#take(name, listener)
  }

  /** Sizes of every listener, by `<transport>.<name>`. */
  sizes (): Record<string, number> {
    const sizes: Record<string, number> = {}
    for (const [transport, { listener }] of this.#openings) {
      for (const [name, size] of Object.entries(listener?.sizes() ?? {})) sizes[`${transport}.${name}`] = size
    }
    return sizes
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await Promise.all(Array.from(this.#openings.values(), async ({ listener }) => { await listener?.close() }))
  }

  #take (name: SessionTransport, listener: TransportListener | undefined): void {
    if (listener === undefined || this.#renewing.has(name)) return
    try {
      listener.checkTls?.(this.#tls)
      if (listener.setTls === undefined) void this.#renew(name, listener)
      else listener.setTls(this.#tls)
    } catch (error) {
      this.#options.certificateRefused(name, error)
    }
  }

  /** While a transport is emptied nobody is sent there. */
  async #renew (name: SessionTransport, listener: TransportListener): Promise<void> {
    this.#renewing.add(name)
    this.#emptying.add(name)
    this.#options.changed(this.#info())
    await this.#options.empty(name)
    if (this.#closed) return
    await listener.close()
    this.#openings.set(name, { listener: undefined, note: `no ${name} while its certificate is renewed`, retry: true })
    this.#emptying.delete(name)
    await this.open()
  }

  #info (): ListeningInfo {
    const notes: string[] = []
    const open: ListeningInfo['open'] = {}
    for (const [name, { listener, note }] of this.#openings) {
      notes.push(note)
      if (listener !== undefined && !this.#renewing.has(name)) open[name] = { port: listener.port, description: listener.description }
    }
    return { open, notes }
  }
}
