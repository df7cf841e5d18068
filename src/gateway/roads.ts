import type { ListeningInfo } from './from-gateway.ts'
import type { Road } from './engine.ts'
import type { TlsMaterial, TransportListener } from './transports/viewer-transport.ts'

export type RoadName = 'http3' | 'websocket'

/** A road that could not be opened, and may be later, is tried again this often, ms. */
const RETRY_MS = 5_000

export interface RoadsOptions {
  readonly open: (name: RoadName, tls: TlsMaterial) => Promise<Road>
  readonly tls: TlsMaterial
  /** Called when roads have been opened or given up; not while nothing changes. */
  readonly changed: (info: ListeningInfo) => void
  readonly certificateRefused: (road: RoadName, error: unknown) => void
  readonly retryMs?: number
}

/** The ways viewers come in. One that cannot be opened does not keep the other from working. */
export class Roads {
  readonly #options: RoadsOptions
  readonly #roads = new Map<RoadName, Road>()
  #tls: TlsMaterial
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: RoadsOptions) {
    this.#options = options
    this.#tls = options.tls
  }

  /** Opens what is not open; never rejects. */
  async open (): Promise<void> {
    const told = JSON.stringify(this.#info())
    for (const name of ['http3', 'websocket'] as const) {
      const before = this.#roads.get(name)
      if (this.#closed || before?.listener !== undefined || before?.retry === false) continue
      const tls = this.#tls
      const road = await this.#options.open(name, tls)
      this.#roads.set(name, road)
      if (this.#closed) await road.listener?.close()
      else if (this.#tls !== tls) this.#take(name, road.listener)
    }
    if (this.#closed) return
    if (JSON.stringify(this.#info()) !== told) this.#options.changed(this.#info())
    if (Array.from(this.#roads.values()).some(road => road.retry)) {
      this.#timer = setTimeout(() => { void this.open() }, this.#options.retryMs ?? RETRY_MS)
    }
  }

  /** A road that refuses the certificate keeps its old one. */
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
    try {
      listener?.setTls(this.#tls)
    } catch (error) {
      this.#options.certificateRefused(name, error)
    }
  }

  #info (): ListeningInfo {
    const notes: string[] = []
    const info: ListeningInfo = { notes }
    for (const [name, { listener, note }] of this.#roads) {
      notes.push(note)
      if (listener !== undefined) info[name] = { port: listener.port, description: listener.description }
    }
    return info
  }
}
