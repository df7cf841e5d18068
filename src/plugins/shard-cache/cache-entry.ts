import type { Leasable } from '../../storage/leased-store.ts'
import { NONE } from '../../storage/slots.ts'
import { CONFIRMED, INTACT, PINNED, VERIFIED, type EntryRows } from './entry-rows.ts'
import type { EntryRecord } from './entry.ts'

/** What an entry without a row knows itself. */
type OwnFacts = Pick<EntryRecord, 'sha256' | 'generation' | 'lastAccess' | 'hits'> & { flags: number, staleSince: number }

/** Where entries have their rows. */
export interface EntryPlaces {
  readonly rows: EntryRows
  /** From now on, every lookup gives this handle. @throws Error when there is another one that is leased */
  hold (slot: number, entry: CacheEntry): void
  letGo (slot: number): void
}

/**
 * One cached object: a handle on a row of the table, good for the turn of the event loop in which it was looked up. Whoever keeps it longer leases it:
 * there is one handle on a leased entry, which outlives the row, and knows everything when the entry has left the cache. Any other then knows no more than id,
 * size, `storedAt`, `serial`, and that it is not indexed; asked for the rest it throws.
 */
export class CacheEntry implements EntryRecord, Leasable {
  readonly id: string
  readonly size: number
  /** Tells it apart from whatever else is or was stored by this process. */
  readonly serial: number
  readonly #table: EntryPlaces
  #slot: number
  #own: OwnFacts | undefined
  #indexed: boolean
  #storedAt: number
  #leases = 0

  /** @param slot its row; NONE of one that has none yet, with `own` */
  constructor (table: EntryPlaces, facts: Pick<CacheEntry, 'id' | 'size' | 'storedAt' | 'serial'>, slot: number, own?: OwnFacts) {
    this.#table = table
    this.id = facts.id
    this.size = facts.size
    this.#storedAt = facts.storedAt
    this.serial = facts.serial
    this.#slot = slot
    this.#own = own
    this.#indexed = slot !== NONE
  }

  /** When it was stored, or super-nodes last had the same bytes, ms since the epoch. */
  get storedAt (): number { return this.#storedAt }
  set storedAt (ms: number) {
    this.#storedAt = ms
    if (this.#own === undefined) this.#table.rows.setStoredAt(this.#row, ms)
  }

  /** Readers that hold it now. Written by LeasedStore only. */
  get leases (): number { return this.#leases }
  set leases (leases: number) {
    const begins = this.#leases === 0 && leases > 0
    this.#leases = leases
    if (!this.hasRow) return
    if (begins) this.#table.hold(this.#slot, this)
    else if (leases === 0) this.#table.letGo(this.#slot)
  }

  /** Whether a lookup finds it. Written by LeasedStore only. */
  get indexed (): boolean { return this.#indexed && this.hasRow }
  set indexed (indexed: boolean) { this.#indexed = indexed }

  /** Whether it is the entry that its row is about. */
  get hasRow (): boolean { return this.#own === undefined && this.#table.rows.serialOf(this.#slot) === this.serial }

  /** SHA-256 of the body, lower-case hex. */
  get sha256 (): string { return this.#own?.sha256 ?? this.#table.rows.sha256Of(this.#row) }
  get generation (): string { return this.#own?.generation ?? this.#table.rows.generationOf(this.#row) }

  get lastAccess (): number { return this.#own?.lastAccess ?? this.#table.rows.lastAccessOf(this.#row) }
  set lastAccess (ms: number) {
    if (this.#own === undefined) this.#table.rows.setLastAccess(this.#row, ms)
    else this.#own.lastAccess = ms
  }

  get hits (): number { return this.#own?.hits ?? this.#table.rows.hitsOf(this.#row) }
  set hits (hits: number) {
    if (this.#own === undefined) this.#table.rows.setHits(this.#row, hits)
    else this.#own.hits = hits
  }

  /** When a soft purge asked for it to be fetched again, ms since the epoch in whole seconds; 0 when none did. */
  get staleSince (): number { return this.#own?.staleSince ?? this.#table.rows.staleSinceOf(this.#row) }
  set staleSince (ms: number) {
    if (this.#own === undefined) this.#table.rows.setStaleSince(this.#row, ms)
    else this.#own.staleSince = ms
  }

  /** Whether it was compared with a believed manifest. */
  get verified (): boolean { return this.#is(VERIFIED) }
  set verified (verified: boolean) { this.#let(VERIFIED, verified) }

  /** False until reconciliation has seen the file of an entry restored from the index. */
  get confirmed (): boolean { return this.#is(CONFIRMED) }
  set confirmed (confirmed: boolean) { this.#let(CONFIRMED, confirmed) }

  /** Whether this process has seen that the bytes in the file are those that were stored. */
  get intact (): boolean { return this.#is(INTACT) }
  set intact (intact: boolean) { this.#let(INTACT, intact) }

  /** Whether no eviction takes it. Written by LeasedStore only. */
  get pinned (): boolean { return this.#is(PINNED) }
  set pinned (pinned: boolean) { this.#let(PINNED, pinned) }

  get flags (): number { return this.#own?.flags ?? this.#table.rows.flagsOf(this.#row) }

  /** Super-nodes had the same bytes then. */
  renew (at: number, verified: boolean): void {
    this.staleSince = 0
    this.storedAt = at
    if (verified) this.verified = true
  }

  /** Has a row from now on, which says the same. */
  attach (slot: number): void {
    this.#slot = slot
    this.#own = undefined
    if (this.#leases > 0) this.#table.hold(slot, this)
  }

  /** Loses its row, and keeps what that says. */
  detach (): void {
    const { sha256, generation, lastAccess, hits, flags, staleSince } = this
    this.#table.letGo(this.#slot)
    this.#own = { sha256, generation, lastAccess, hits, flags, staleSince }
  }

  get #row (): number {
    if (!this.hasRow) throw new Error(`${this.id} has left the cache`)
    return this.#slot
  }

  #is (flag: number): boolean {
    return (this.flags & flag) !== 0
  }

  #let (flag: number, on: boolean): void {
    const flags = on ? this.flags | flag : this.flags & ~flag
    if (this.#own === undefined) this.#table.rows.setFlags(this.#row, flags)
    else this.#own.flags = flags
  }
}
