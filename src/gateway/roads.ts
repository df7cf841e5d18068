import type { ListeningInfo } from '../channel/from-gateway.ts'
import type { TlsMaterial } from '../channel/tls-material.ts'
import type { Road } from './engine.ts'
import type { TransportListener } from './transports/viewer-transport.ts'

export type RoadName = 'http3' | 'websocket'

/** A road that could not be opened, and may be later, is tried again this often, ms. */
const RETRY_MS = 5_000
/** One whose port was ours a moment ago is tried again this often, ms. */
const REOPEN_MS = 250

export interface RoadsOptions {
  readonly open: (name: RoadName, tls: TlsMaterial) => Promise<Road>
  readonly tls: TlsMaterial
  /** Called when roads have been opened or given up; not while nothing changes. */
  readonly changed: (info: ListeningInfo) => void
  readonly certificateRefused: (road: RoadName, error: unknown) => void
  /** Moves the viewers of a road that is to be opened anew; resolves when they are gone or their time is up. Never rejects. */
  readonly empty: (road: RoadName) => Promise<void>
  readonly retryMs?: number
}

/** The ways viewers come in. One that cannot be opened does not keep the other from working. */
export class Roads {
  readonly #options: RoadsOptions
  readonly #roads = new Map<RoadName, Road>()
  /** Roads on which new viewers are not taken, since they are about to be opened anew. */
  readonly #renewing = new Set<RoadName>()
  /** Of those, the ones that still have their old listener. */
  readonly #emptying = new Set<RoadName>()
  #tls: TlsMaterial
  #timer: NodeJS.Timeout | undefined
  #opening: Promise<void> = Promise.resolve()
  #closed = false

  constructor (options: RoadsOptions) {
    this.#options = options
    this.#tls = options.tls
  }

  /** Whether the road takes no viewers for now. */
  renewing (name: RoadName): boolean { return this.#renewing.has(name) }

  /** Opens what is not open; never rejects. */
  async open (): Promise<void> {
    // One at a time: a second attempt on a port would find the first one in its way.
    await (this.#opening = this.#opening.then(async () => { await this.#open() }))
  }

  async #open (): Promise<void> {
    const told = JSON.stringify(this.#info())
    for (const name of ['http3', 'websocket'] as const) {
      const before = this.#roads.get(name)
      if (this.#closed || this.#emptying.has(name) || before?.listener !== undefined || before?.retry === false) continue
      const tls = this.#tls
      const road = await this.#options.open(name, tls)
      this.#roads.set(name, road)
      if (!road.retry) this.#renewing.delete(name)
      if (this.#closed) await road.listener?.close()
      else if (this.#tls !== tls) this.#take(name, road.listener)
    }
    if (this.#closed) return
    if (JSON.stringify(this.#info()) !== told) this.#options.changed(this.#info())
    if (Array.from(this.#roads.values()).some(road => road.retry)) {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => { void this.open() }, this.#renewing.size > 0 ? REOPEN_MS : this.#options.retryMs ?? RETRY_MS)
    }
  }

  /** A road that refuses the certificate keeps its old one; one that cannot change it is emptied and opened anew. */
  setTls (tls: TlsMaterial): void {
    this.#tls = tls
    for (const [name, { listener }] of this.#roads) this.#take(name, listener)
  }

  /** Sizes of every listener, by `<road>.<name>`. */
  sizes (): Record<string, number> {
    const sizes: Record<string, number> = {}
    for (const [road, { listener }] of this.#roads) {
      for (const [name, size] of Object.entries(listener?.sizes() ?? {})) sizes[`${road}.${name}`] = size
    }
    return sizes
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await Promise.all(Array.from(this.#roads.values(), async ({ listener }) => { await listener?.close() }))
  }

  #take (name: RoadName, listener: TransportListener | undefined): void {
    if (listener === undefined || this.#renewing.has(name)) return
    try {
      listener.checkTls?.(this.#tls)
      if (listener.setTls === undefined) void this.#renew(name, listener)
      else listener.setTls(this.#tls)
    } catch (error) {
      this.#options.certificateRefused(name, error)
    }
  }

  /** While a road is emptied nobody is sent there. */
  async #renew (name: RoadName, listener: TransportListener): Promise<void> {
    this.#renewing.add(name)
    this.#emptying.add(name)
    this.#options.changed(this.#info())
    await this.#options.empty(name)
    if (this.#closed) return
    await listener.close()
    this.#roads.set(name, { listener: undefined, note: `no ${name} while its certificate is renewed`, retry: true })
    this.#emptying.delete(name)
    await this.open()
  }

  #info (): ListeningInfo {
    const notes: string[] = []
    const info: ListeningInfo = { notes }
    for (const [name, { listener, note }] of this.#roads) {
      notes.push(note)
      if (listener !== undefined && !this.#renewing.has(name)) info[name] = { port: listener.port, description: listener.description }
    }
    return info
  }
}
