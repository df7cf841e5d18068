import { lengthened } from '../../storage/slots.ts'
import type { EntryRecord } from './entry.ts'
import { DIGEST_AND_GENERATION_BYTES, MAX_GENERATION, RecordBytes, SHA256_BYTES } from './record-bytes.ts'

/** What is true or not of an entry. */
export const VERIFIED = 1
export const CONFIRMED = 2
export const INTACT = 4
export const PINNED = 8

/*
 * A row: size f64, storedAt f64, lastAccess f64, hits u32, number of the CID u32, serial u32, flags u8, number of the part u8, two bytes free, SHA-256,
 * generation in ASCII with a zero behind it. In one piece, since a look-up then waits for memory once or twice, and not for each field.
 */
const SIZE_AT = 0
const STORED_AT = 8
const LAST_ACCESS_AT = 16
const HITS_AT = 24
const CID_AT = 28
const SERIAL_AT = 32
const FLAGS_AT = 36
const PART_AT = 37
const SHA256_AT = 40
const GENERATION_AT = SHA256_AT + SHA256_BYTES
export const ROW_BYTES = SHA256_AT + DIGEST_AND_GENERATION_BYTES

const FIRST_ROWS = 64
const MAX_HITS = 2 ** 32 - 1

/** What is known of each entry, by slot, in one buffer: 96 bytes, where an object with its strings takes 357. */
export class EntryRows {
  #rows = 0
  #bytes: Buffer = Buffer.alloc(0)
  #view: DataView = new DataView(this.#bytes.buffer)
  #doubles = new Float64Array()
  #words = new Uint32Array()
  /** Seconds since the epoch; there are none until something is stale. */
  #staleSince: Uint32Array | undefined

  constructor () {
    this.fit(FIRST_ROWS)
  }

  /** Makes room for so many rows. Memory that no row has used yet is not resident. */
  fit (rows: number): void {
    if (rows <= this.#rows) return
    this.#rows = Math.max(rows, this.#rows * 2)
    const buffer = new ArrayBuffer(this.#rows * ROW_BYTES)
    const bytes = Buffer.from(buffer)
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(buffer)
    this.#doubles = new Float64Array(buffer)
    this.#words = new Uint32Array(buffer)
    if (this.#staleSince !== undefined) this.#staleSince = lengthened(this.#staleSince, new Uint32Array(this.#rows))
  }

  sizeOf (slot: number): number { return this.#doubles[slot * (ROW_BYTES / 8) + SIZE_AT / 8] ?? 0 }
  storedAtOf (slot: number): number { return this.#doubles[slot * (ROW_BYTES / 8) + STORED_AT / 8] ?? 0 }
  lastAccessOf (slot: number): number { return this.#doubles[slot * (ROW_BYTES / 8) + LAST_ACCESS_AT / 8] ?? 0 }
  hitsOf (slot: number): number { return this.#words[slot * (ROW_BYTES / 4) + HITS_AT / 4] ?? 0 }
  cidOf (slot: number): number { return this.#words[slot * (ROW_BYTES / 4) + CID_AT / 4] ?? 0 }
  /** Tells the entries apart that one slot has had after each other; 0 for none. */
  serialOf (slot: number): number { return this.#words[slot * (ROW_BYTES / 4) + SERIAL_AT / 4] ?? 0 }
  flagsOf (slot: number): number { return this.#bytes[slot * ROW_BYTES + FLAGS_AT] ?? 0 }
  partOf (slot: number): number { return this.#bytes[slot * ROW_BYTES + PART_AT] ?? 0 }

  /** ms since the epoch, in whole seconds; 0 when it is not stale. */
  staleSinceOf (slot: number): number { return (this.#staleSince?.[slot] ?? 0) * 1_000 }

  sha256Of (slot: number): string {
    return this.#bytes.toString('hex', slot * ROW_BYTES + SHA256_AT, slot * ROW_BYTES + GENERATION_AT)
  }

  generationOf (slot: number): string {
    const first = slot * ROW_BYTES + GENERATION_AT
    let end = first
    while (end < first + MAX_GENERATION && this.#bytes[end] !== 0) end++
    return this.#bytes.toString('latin1', first, end)
  }

  /** Writes a row. @param cid number of it @param part number of it */
  open (slot: number, serial: number, cid: number, part: number, record: EntryRecord | RecordBytes, flags: number): void {
    this.fit(slot + 1)
    this.#words[slot * (ROW_BYTES / 4) + CID_AT / 4] = cid
    this.#words[slot * (ROW_BYTES / 4) + SERIAL_AT / 4] = serial
    this.#bytes[slot * ROW_BYTES + PART_AT] = part
    this.#doubles[slot * (ROW_BYTES / 8) + SIZE_AT / 8] = record.size
    this.#doubles[slot * (ROW_BYTES / 8) + STORED_AT / 8] = record.storedAt
    this.setLastAccess(slot, record.lastAccess)
    this.setHits(slot, record.hits)
    this.setFlags(slot, flags)
    this.setStaleSince(slot, record.staleSince ?? 0)
    const at = slot * ROW_BYTES + SHA256_AT
    if (record instanceof RecordBytes) {
      record.digestAndGenerationInto(this.#view, at)
    } else {
      this.#bytes.write(record.sha256, at, 'hex')
      this.#bytes.fill(0, at + SHA256_BYTES, at + DIGEST_AND_GENERATION_BYTES)
      this.#bytes.write(record.generation, at + SHA256_BYTES, 'latin1')
    }
  }

  /** The slot has no entry any more. */
  close (slot: number): void {
    this.#words[slot * (ROW_BYTES / 4) + SERIAL_AT / 4] = 0
  }

  setLastAccess (slot: number, ms: number): void {
    this.#doubles[slot * (ROW_BYTES / 8) + LAST_ACCESS_AT / 8] = ms
  }

  setHits (slot: number, hits: number): void {
    this.#words[slot * (ROW_BYTES / 4) + HITS_AT / 4] = Math.min(hits, MAX_HITS)
  }

  setFlags (slot: number, flags: number): void {
    this.#bytes[slot * ROW_BYTES + FLAGS_AT] = flags
  }

  /** Memory for it, 4 bytes a row, is taken with the first that is stale. */
  setStaleSince (slot: number, ms: number): void {
    if (ms > 0) this.#staleSince ??= new Uint32Array(this.#rows)
    if (this.#staleSince !== undefined) this.#staleSince[slot] = Math.floor(ms / 1_000)
  }

  /** When it was last stored, or known to be what super-nodes have. */
  setStoredAt (slot: number, ms: number): void {
    this.#doubles[slot * (ROW_BYTES / 8) + STORED_AT / 8] = ms
  }

  /** Times later than `now` become that. */
  limitTimes (slot: number, now: number): void {
    this.#doubles[slot * (ROW_BYTES / 8) + STORED_AT / 8] = Math.min(this.storedAtOf(slot), now)
    this.setLastAccess(slot, Math.min(this.lastAccessOf(slot), now))
  }
}
