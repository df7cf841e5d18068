import { RelayError } from '../../base/errors.ts'
import { Serial } from '../../base/serial.ts'
import { cidOfId, keyId, keysOfCid } from '../../protocol/shard-key.ts'
import type { CacheEntry } from '../shard-cache/cache-entry.ts'
import { MAX_PINS, pinsText, type Pin } from './pin-state.ts'

/** What the cache does for pins. */
export interface PinnedStore {
  readonly pinnedBytes: number
  readonly peek: (id: string) => CacheEntry | undefined
  /** Has evictions pass over an entry, or not any more. */
  readonly keep: (entry: CacheEntry, on: boolean) => void
}

export interface PinsOptions {
  readonly store: PinnedStore
  /** Bytes that pinned objects may take now. */
  readonly quota: () => number
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** Writes the file anew. */
  readonly keep: (text: string) => Promise<void>
}

/** A pin as operators see it. */
export interface PinReport extends Pin {
  /** Objects of the CID that are pinned now. */
  readonly objects: number
  readonly bytes: number
}

/** CIDs whose objects no eviction takes, those that come later included, as far as the quota goes. What is kept in the file holds; a purge leaves pins as they are. */
export class Pins {
  readonly #options: PinsOptions
  #pins: ReadonlyMap<string, Pin>
  readonly #serial = new Serial()
  #beyond = 0

  /** @param pins of an earlier run */
  constructor (pins: readonly Pin[], options: PinsOptions) {
    this.#options = options
    this.#pins = new Map(pins.map(pin => [pin.cid, pin]))
    for (const cid of this.#pins.keys()) this.#pinAll(cid)
  }

  get count (): number { return this.#pins.size }
  /** Objects of pinned CIDs that were stored without being pinned, since the quota was used up. */
  get beyond (): number { return this.#beyond }

  /** The latest first. */
  list (limit: number): PinReport[] {
    return [...this.#pins.values()].toReversed().slice(0, limit).map(pin => this.#reportOf(pin))
  }

  /** An object was stored. */
  arrived (entry: CacheEntry): void {
    if (this.#pins.has(cidOfId(entry.id)) && !this.#pin(entry)) this.#beyond++
  }

  /**
   * Pins a CID, or changes until when.
   * @param expiresAt ms since the epoch; null for ever
   * @throws RelayError RELAY_ERR_PIN_QUOTA, RELAY_ERR_BAD_REQUEST, with nothing changed; what writing the file throws
   */
  async add (cid: string, expiresAt: number | null): Promise<PinReport> {
    const { now } = this.#options
    if (expiresAt !== null && expiresAt <= now()) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'expiresAt is in the past')
    const pin: Pin = { cid, since: now(), expiresAt }
    await this.#change(pins => {
      if (!pins.has(cid) && pins.size >= MAX_PINS) throw new RelayError('RELAY_ERR_PIN_QUOTA', `at most ${MAX_PINS} CIDs are pinned`)
      this.#refuseBeyond(cid)
      pins.delete(cid)
      pins.set(cid, pin)
    })
    this.#pinAll(cid)
    return this.#reportOf(pin)
  }

  /** @returns whether it was pinned; what writing the file throws */
  async remove (cid: string): Promise<boolean> {
    const removed = await this.#change(pins => pins.delete(cid))
    if (removed) this.#unpinAll(cid)
    return removed
  }

  /** Lets go what has expired. @returns how many pins; what writing the file throws */
  async expire (): Promise<number> {
    const now = this.#options.now()
    const over = [...this.#pins.values()].filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now).map(({ cid }) => cid)
    if (over.length === 0) return 0
    await this.#change(pins => { for (const cid of over) pins.delete(cid) })
    for (const cid of over) this.#unpinAll(cid)
    return over.length
  }

  /** One after the other. */
  async #change<T> (change: (pins: Map<string, Pin>) => T): Promise<T> {
    return await this.#serial.run(async () => {
      const next = new Map(this.#pins)
      const result = change(next)
      await this.#options.keep(pinsText([...next.values()]))
      this.#pins = next
      return result
    })
  }

  #refuseBeyond (cid: string): void {
    const { store, quota } = this.#options
    const needed = this.#entriesOf(cid).reduce((sum, { size, pinned }) => pinned ? sum : sum + size, 0)
    const free = Math.max(0, quota() - store.pinnedBytes)
    if (needed > free) throw new RelayError('RELAY_ERR_PIN_QUOTA', `the objects of ${cid} have ${needed} bytes that are not pinned, and ${free} of cache.pin_max_bytes are free`)
  }

  #pin (entry: CacheEntry): boolean {
    const { store, quota } = this.#options
    if (entry.pinned) return true
    if (store.pinnedBytes + entry.size > quota()) return false
    store.keep(entry, true)
    return true
  }

  #pinAll (cid: string): void {
    for (const entry of this.#entriesOf(cid)) this.#pin(entry)
  }

  #unpinAll (cid: string): void {
    if (this.#pins.has(cid)) return
    for (const entry of this.#entriesOf(cid)) this.#options.store.keep(entry, false)
  }

  #entriesOf (cid: string): CacheEntry[] {
    return keysOfCid(cid).flatMap(key => this.#options.store.peek(keyId(key)) ?? [])
  }

  #reportOf (pin: Pin): PinReport {
    const pinned = this.#entriesOf(pin.cid).filter(entry => entry.pinned)
    return { ...pin, objects: pinned.length, bytes: pinned.reduce((sum, { size }) => sum + size, 0) }
  }
}
