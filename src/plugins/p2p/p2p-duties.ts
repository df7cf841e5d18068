import type { Timers } from '../../base/clock.ts'
import type { P2pNode } from './p2p-node.ts'
import { SHOWN_PEERS, type P2pOrder, type P2pReport } from './p2p-messages.ts'

/** The node as it is used here. */
export type DutifulNode = Pick<P2pNode, 'peerId' | 'addresses' | 'peers' | 'join' | 'records' | 'provide' | 'unprovide' | 'stop'>

export interface P2pDutiesOptions {
  readonly node: DutifulNode
  readonly report: (what: P2pReport) => void
  readonly timers: Timers
}

/** Bootstrap peers whose connection is lost are connected to again after this, ms. */
export const JOIN_MS = 15_000
/** What we are advertised as is told again after this: peers come and go, and those that are closest now must know it, ms. */
export const RENEW_MS = 3_600_000
/** When nobody could be told, it is tried again after this, ms. */
export const RETRY_MS = 5_000
/** Time to tell it, ms. */
const PROVIDE_MS = 60_000
/** News of peers are gathered for so long, ms. */
const GATHER_MS = 100

/** What the thread does with its node: stays joined, advertises, looks up what it is asked for. */
export class P2pDuties {
  readonly #options: P2pDutiesOptions
  readonly #ending = new AbortController()
  readonly #lookups = new Map<number, AbortController>()
  /** Bootstrap peers that were out of reach at the latest try. */
  #missed = new Set<string>()
  #text: string | undefined
  #advertised: string | undefined
  #cancelJoin = (): void => {}
  #cancelProvide = (): void => {}
  #cancelNews: (() => void) | undefined
  /** Advertising goes on one after the other. */
  #providing: Promise<void> = Promise.resolve()

  constructor (options: P2pDutiesOptions) {
    this.#options = options
  }

  /** Lookups under way. */
  get lookups (): number { return this.#lookups.size }

  start (): { close: () => Promise<void> } {
    void this.#join()
    return { close: async () => { await this.#close() } }
  }

  take (order: Exclude<P2pOrder, { do: 'close' }>): void {
    if (this.#ending.signal.aborted) return
    if (order.do === 'cancel') this.#lookups.get(order.id)?.abort()
    else if (order.do === 'find') void this.#find(order.id, order.cid)
    else this.#advertise(order.text)
  }

  /** Peers or addresses have changed. */
  changed (): void {
    if (this.#ending.signal.aborted) return
    this.#cancelNews ??= this.#options.timers.after(GATHER_MS, () => {
      this.#cancelNews = undefined
      const { node, report } = this.#options
      const { peers } = node
      report({ is: 'state', state: { peerId: node.peerId, addresses: node.addresses, peers: peers.slice(0, SHOWN_PEERS), connected: peers.length, advertised: this.#advertised } })
    })
  }

  async #join (): Promise<void> {
    const { node, timers, report } = this.#options
    const failed = await node.join(this.#ending.signal)
    if (this.#ending.signal.aborted) return
    for (const [address, reason] of failed) if (!this.#missed.has(address)) report({ is: 'log', level: 'warn', message: 'bootstrap peer is out of reach', fields: { address, reason } })
    this.#missed = new Set(failed.keys())
    this.#cancelJoin = timers.after(JOIN_MS, () => { void this.#join() })
  }

  async #find (id: number, cid: string): Promise<void> {
    const { node, report } = this.#options
    const abort = new AbortController()
    this.#lookups.set(id, abort)
    let error: string | undefined
    try {
      for await (const { holders, issuedAt, expiresAt } of node.records(cid, abort.signal)) report({ is: 'found', id, known: { holders, issuedAt, expiresAt } })
    } catch (reason) {
      error = reason instanceof Error ? reason.message : String(reason)
    }
    this.#lookups.delete(id)
    if (!this.#ending.signal.aborted) report({ is: 'ended', id, error })
  }

  #advertise (text: string | undefined): void {
    if (text === this.#text) return
    const before = this.#text
    this.#text = text
    this.#cancelProvide()
    this.#providing = this.#providing.then(async () => {
      if (before !== undefined) await this.#options.node.unprovide(before).catch(() => {})
    })
    this.#provide()
  }

  #provide (): void {
    const { node, timers, report } = this.#options
    const text = this.#text
    if (text === undefined) {
      this.#advertised = undefined
      this.changed()
      return
    }
    this.#providing = this.#providing.then(async () => {
      if (text !== this.#text || this.#ending.signal.aborted) return
      const told = await node.provide(text, AbortSignal.any([this.#ending.signal, AbortSignal.timeout(PROVIDE_MS)])).catch(() => 0)
      if (text !== this.#text || this.#ending.signal.aborted) return
      if (told > 0 && this.#advertised !== text) report({ is: 'log', level: 'info', message: 'relay is advertised', fields: { text, peers: told } })
      this.#advertised = told > 0 ? text : undefined
      this.changed()
      this.#cancelProvide = timers.after(told > 0 ? RENEW_MS : RETRY_MS, () => { this.#provide() })
    })
  }

  async #close (): Promise<void> {
    this.#ending.abort()
    this.#cancelJoin()
    this.#cancelProvide()
    this.#cancelNews?.()
    for (const abort of this.#lookups.values()) abort.abort()
    await this.#options.node.stop()
  }
}
