import { Interned } from '../../storage/interned.ts'
import { NONE, type SlotValues } from '../../storage/slots.ts'
import { sortByTime } from '../../storage/sort-by-time.ts'
import { CacheEntry, type EntryPlaces } from './cache-entry.ts'
import { CidTags } from './cid-tags.ts'
import { CONFIRMED, EntryRows, INTACT, VERIFIED } from './entry-rows.ts'
import type { EntryRecord } from './entry.ts'
import { MANIFEST_PART, PartIndex, partName, partNumber } from './part-index.ts'
import type { RecordBytes } from './record-bytes.ts'

/** Where the tags of CIDs come from and go to. */
export interface TagPlaces {
  /** Tags of a CID of which the first object comes in. */
  readonly source: (cid: string) => readonly string[]
  /** The tags of a CID have changed, or gone with its last object. */
  readonly changed: (cid: string) => void
}

/** Serial numbers begin again behind this one: no handle is kept for four thousand million stores. */
const MAX_SERIAL = 2 ** 32 - 1

/**
 * The entries of the disk cache as rows of one buffer. There are objects only for those that somebody looks at or holds, see {@link CacheEntry}.
 * A CID is kept once, whatever the number of its parts.
 */
export class EntryTable implements SlotValues<CacheEntry>, EntryPlaces {
  readonly rows = new EntryRows()
  /** Of CIDs of which there are entries. */
  readonly tags = new CidTags()
  tagPlaces: TagPlaces = { source: () => [], changed: () => {} }
  readonly #cids = new Interned()
  readonly #index = new PartIndex(this.rows)
  readonly #held = new Map<number, CacheEntry>()
  readonly #free: number[] = []
  /** The first slot that no row has had yet. */
  #unused = NONE + 1
  #serial = 0
  /** Number of the CID that was used last. */
  #lastCid = 0
  #count = 0

  get count (): number { return this.#count }
  /** Entries that are leased. */
  get held (): number { return this.#held.size }

  /** When the one that was used last was, ms since the epoch; 0 of none. */
  get lastAccess (): number {
    let last = 0
    for (let slot = 1; slot < this.#unused; slot++) if (this.rows.serialOf(slot) !== 0) last = Math.max(last, this.rows.lastAccessOf(slot))
    return last
  }

  slotOf (id: string): number {
    const slash = id.lastIndexOf('/')
    const part = partNumber(id, slash + 1)
    const cid = part === undefined ? 0 : this.#cids.numberOf(id.slice(0, slash))
    return part === undefined || cid === 0 ? NONE : this.#index.slotOf(cid, part)
  }

  tagsOf (cid: string): readonly string[] {
    return this.tags.of(this.#cids.numberOf(cid))
  }

  /** Adds tags to those of a CID; of one without entries nothing is kept. */
  addTags (cid: string, tags: readonly string[]): void {
    const number = this.#cids.numberOf(cid)
    if (number !== 0 && this.tags.add(number, tags)) this.tagPlaces.changed(cid)
  }

  /** CIDs with tags; the table must not change while iterating. */
  * taggedCids (): Generator<string> {
    for (const [cid, number] of this.#cids.all()) if (this.tags.of(number).length > 0) yield cid
  }

  /**
   * Ids of entries whose CIDs match, some at a time: what comes in meanwhile may be left out.
   * @param from slot to go on at; 1 at first
   * @param most slots to look at
   * @returns where to go on; undefined at the end
   */
  matching (from: number, most: number, matches: (cid: string) => boolean): { readonly ids: string[], readonly next: number | undefined } {
    const { rows } = this
    const end = Math.min(this.#unused, from + most)
    const ids: string[] = []
    let last = 0
    let verdict = false
    for (let slot = from; slot < end; slot++) {
      if (rows.serialOf(slot) === 0) continue
      // Most parts of a CID came one after the other.
      if (rows.cidOf(slot) !== last) verdict = matches(this.#cids.stringOf(last = rows.cidOf(slot)))
      if (verdict) ids.push(this.idAt(slot))
    }
    return { ids, next: end < this.#unused ? end : undefined }
  }

  valueAt (slot: number): CacheEntry {
    const held = this.#held.get(slot)
    if (held !== undefined) return held
    const { rows } = this
    const serial = rows.serialOf(slot)
    if (serial === 0) throw new Error(`slot ${slot} is empty`)
    return new CacheEntry(this, { id: this.idAt(slot), size: rows.sizeOf(slot), storedAt: rows.storedAtOf(slot), serial }, slot)
  }

  idAt (slot: number): string {
    return `${this.#cids.stringOf(this.rows.cidOf(slot))}/${partName(this.rows.partOf(slot))}`
  }

  isManifest (slot: number): boolean {
    return this.rows.partOf(slot) === MANIFEST_PART
  }

  sizeAt (slot: number): number {
    return this.rows.sizeOf(slot)
  }

  hitsAt (slot: number): number {
    return this.rows.hitsOf(slot)
  }

  /**
   * An entry that is not in the table yet.
   * @param confirmed whether its file is there and its bytes were hashed by this process, as of all but those restored from the index
   */
  make (id: string, record: EntryRecord, confirmed: boolean): CacheEntry {
    const { size, storedAt, sha256, generation, lastAccess, hits } = record
    return new CacheEntry(this, { id, size, storedAt, serial: this.#nextSerial() }, NONE, { sha256, generation, lastAccess, hits, flags: flagsOf(record, confirmed), staleSince: record.staleSince ?? 0 })
  }

  open (entry: CacheEntry): number {
    const cids = this.#cids.count
    const slot = this.#openRow(entry.id, entry, entry.flags, entry.serial)
    entry.attach(slot)
    const cid = this.#cids.stringOf(this.rows.cidOf(slot))
    if (this.#cids.count > cids) this.addTags(cid, this.tagPlaces.source(cid))
    return slot
  }

  close (slot: number, entry: CacheEntry): void {
    entry.detach()
    this.#closeRow(slot)
  }

  hold (slot: number, entry: CacheEntry): void {
    const other = this.#held.get(slot)
    if (other !== undefined && other !== entry) throw new Error(`${entry.id} is leased by another handle`)
    this.#held.set(slot, entry)
  }

  letGo (slot: number): void {
    this.#held.delete(slot)
  }

  /** Makes room for the rows of so many entries. */
  fit (entries: number): void {
    this.rows.fit(this.#unused + entries)
  }

  /** Writes a row from a record of an earlier run, whose id is not there. Times later than `now` count as now. */
  restore (id: string, record: RecordBytes, now: number): number {
    const slot = this.#openRow(id, record, flagsOf(record, false), this.#nextSerial())
    this.rows.limitTimes(slot, now)
    return slot
  }

  /** All entries, from the least to the most recently used; those that leave meanwhile are left out. */
  * byLastAccess (): Generator<CacheEntry, void> {
    const { rows } = this
    const slots = new Uint32Array(this.#count)
    const times = new Float64Array(this.#count)
    let filled = 0
    for (let slot = 1; slot < this.#unused; slot++) {
      if (rows.serialOf(slot) === 0) continue
      slots[filled] = slot
      times[filled++] = rows.lastAccessOf(slot)
    }
    const steps = sortByTime(times)
    let step = steps.next()
    while (step.done !== true) step = steps.next()
    const serials = slots.map(slot => rows.serialOf(slot))
    for (const position of step.value) {
      const slot = slots[position] ?? NONE
      if (rows.serialOf(slot) === serials[position]) yield this.valueAt(slot)
    }
  }

  #openRow (id: string, record: EntryRecord, flags: number, serial: number): number {
    const slash = id.lastIndexOf('/')
    const part = partNumber(id, slash + 1)
    if (part === undefined) throw new Error(`not a key: ${id}`)
    const slot = this.#free.pop() ?? this.#unused++
    const cid = this.#useCid(id, slash)
    this.rows.open(slot, serial, cid, part, record, flags)
    this.#index.set(cid, part, slot)
    this.#count++
    return slot
  }

  /** Those that come in the order of their ids, as from the index, have the CID of the one before more often than not. */
  #useCid (id: string, length: number): number {
    const last = this.#cids.stringOf(this.#lastCid)
    if (last !== '' && last.length === length && id.startsWith(last)) this.#cids.useAgain(this.#lastCid)
    else this.#lastCid = this.#cids.use(id.slice(0, length))
    return this.#lastCid
  }

  #closeRow (slot: number): void {
    this.#index.delete(this.rows.cidOf(slot), this.rows.partOf(slot))
    this.#count--
    this.rows.close(slot)
    const cid = this.rows.cidOf(slot)
    const name = this.#cids.stringOf(cid)
    if (this.#cids.leave(cid) && this.tags.forget(cid)) this.tagPlaces.changed(name)
    this.#free.push(slot)
  }

  #nextSerial (): number {
    this.#serial = this.#serial === MAX_SERIAL ? 1 : this.#serial + 1
    return this.#serial
  }
}

function flagsOf (record: EntryRecord, confirmed: boolean): number {
  return (record.verified === true ? VERIFIED : 0) | (confirmed ? CONFIRMED | INTACT : 0)
}
