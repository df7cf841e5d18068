import { addressKey } from '../../admission/address-key.ts'
import type { Timers } from '../../base/clock.ts'
import { HttpViewer, type HttpViewerDeps, type HttpViewerRow } from './http-viewer.ts'

export interface HttpViewersOptions extends Omit<HttpViewerDeps, 'now'> {
  /** Viewers with a share of their own; all others have one together. */
  readonly maxViewers: number
  readonly timers: Timers
}

/** A viewer between two requests keeps its place for so long, ms: with each request a new viewer, a chain of small ones would outrun a large one. */
const LINGER_MS = 5_000

/** Stands for all viewers beyond the bound; no address and no identity is called like that. */
export const OTHERS = 'others'

/** Who asks: the identity of its token, else its address, IPv6 by /64. */
export function httpViewerKey (identity: string | undefined, ip: string): string {
  return identity === undefined ? `ip ${addressKey(ip)}` : `id ${identity}`
}

/** Viewers over HTTP, by key, while they have responses under way and a little longer. */
export class HttpViewers {
  readonly #options: HttpViewersOptions
  readonly #deps: HttpViewerDeps
  readonly #viewers = new Map<string, HttpViewer>()
  /** Those without a response, longest first. */
  readonly #idle = new Set<HttpViewer>()
  #others: HttpViewer | undefined
  #cancel: (() => void) | undefined

  constructor (options: HttpViewersOptions) {
    this.#options = options
    this.#deps = { ...options, now: () => options.timers.now() }
  }

  get size (): number { return this.#viewers.size }
  get idle (): number { return this.#idle.size }

  /** A response to this viewer begins; to be given back with {@link release}. @param className of its token; undefined for the default class */
  acquire (key: string, className?: string): HttpViewer {
    const viewer = this.#viewers.get(key) ?? this.#admit(key, className)
    if (viewer === this.#others) {
      viewer.responses++
      return viewer
    }
    viewer.setClass(className)
    this.#idle.delete(viewer)
    viewer.responses++
    return viewer
  }

  /** The response is over. */
  release (viewer: HttpViewer): void {
    viewer.responses--
    if (viewer.responses > 0) return
    if (viewer === this.#others) {
      viewer.leave()
      this.#others = undefined
      return
    }
    viewer.idleSince = this.#deps.now()
    this.#idle.add(viewer)
    this.#arm(LINGER_MS)
  }

  /** The limits of one viewer have changed. */
  limitsChanged (): void {
    for (const viewer of [...this.#viewers.values(), ...this.#others === undefined ? [] : [this.#others]]) viewer.limitsChanged()
  }

  rows (): HttpViewerRow[] {
    return [...this.#viewers.values(), ...this.#others === undefined ? [] : [this.#others]].map(viewer => viewer.row())
  }

  close (): void {
    this.#cancel?.()
    for (const viewer of this.#idle) this.#forget(viewer)
  }

  /** A place of its own, perhaps that of the longest idle viewer; without any, the place of all others. */
  #admit (key: string, className: string | undefined): HttpViewer {
    if (this.#viewers.size >= this.#options.maxViewers) {
      const [oldest] = this.#idle
      if (oldest === undefined) return (this.#others ??= new HttpViewer(OTHERS, undefined, this.#deps))
      this.#forget(oldest)
    }
    const viewer = new HttpViewer(key, className, this.#deps)
    this.#viewers.set(key, viewer)
    return viewer
  }

  #forget (viewer: HttpViewer): void {
    this.#idle.delete(viewer)
    this.#viewers.delete(viewer.id)
    viewer.leave()
  }

  #arm (ms: number): void {
    this.#cancel ??= this.#options.timers.after(ms, () => { this.#sweep() })
  }

  #sweep (): void {
    this.#cancel = undefined
    const now = this.#deps.now()
    for (const viewer of this.#idle) {
      const left = viewer.idleSince + LINGER_MS - now
      if (left > 0) return this.#arm(left)
      this.#forget(viewer)
    }
  }
}
