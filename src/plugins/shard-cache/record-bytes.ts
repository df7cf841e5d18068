import { TIME_END, type EntryRecord } from './entry.ts'

/** First byte of every record. */
export const RECORD_VERSION = 1
/** version u8, size f64, storedAt f64, lastAccess f64, hits f64, SHA-256 32 bytes; the generation follows to the end. */
const SIZE_AT = 1
const STORED_AT = 9
const LAST_ACCESS_AT = 17
const HITS_AT = 25
const SHA256_AT = 33
export const SHA256_BYTES = 32
const FIXED_BYTES = SHA256_AT + SHA256_BYTES
/** Characters of a generation, 0-9 and a-z. */
export const MAX_GENERATION = 24
export const DIGEST_AND_GENERATION_BYTES = SHA256_BYTES + MAX_GENERATION
/** Added to the hits of what was verified: an earlier version, after a rollback, reads it as hits. */
const VERIFIED = 0.5
/** Added to the hits of what is stale, for each second since the epoch: less than half a hit until 2106. Only so many hits leave room for it. */
const STALE_SECOND = 2 ** -33
const MOST_STALE_HITS = 2 ** 20 - 1

export function encodeRecord (record: EntryRecord): Buffer {
  const out = Buffer.allocUnsafe(FIXED_BYTES + record.generation.length)
  out[0] = RECORD_VERSION
  out.writeDoubleBE(record.size, SIZE_AT)
  out.writeDoubleBE(record.storedAt, STORED_AT)
  out.writeDoubleBE(record.lastAccess, LAST_ACCESS_AT)
  const { staleSince = 0 } = record
  const hits = staleSince === 0 ? Math.floor(record.hits) : Math.min(Math.floor(record.hits), MOST_STALE_HITS) + Math.floor(staleSince / 1_000) * STALE_SECOND
  out.writeDoubleBE(record.verified === true ? hits + VERIFIED : hits, HITS_AT)
  out.write(record.sha256, SHA256_AT, 'hex')
  out.write(record.generation, FIXED_BYTES, 'latin1')
  return out
}

/** A copy of what the bytes say; undefined when they are not a record: a damaged index costs entries, never the process. */
export function decodeRecord (bytes: Buffer): EntryRecord | undefined {
  const record = new RecordBytes(bytes)
  return record.valid ? record.copy() : undefined
}

/** A record as it is stored: a million are read at a start, and hardly any of their strings is wanted. */
export class RecordBytes implements EntryRecord {
  #bytes: Buffer = Buffer.alloc(0)
  #view: DataView = new DataView(this.#bytes.buffer)
  #length = 0

  constructor (bytes?: Buffer) {
    if (bytes !== undefined) this.read(bytes)
  }

  /** Is about these bytes from now on. @returns whether they are a record of this version; otherwise its fields mean nothing */
  read (bytes: Buffer): boolean {
    if (bytes.buffer !== this.#bytes.buffer || bytes.byteOffset !== this.#bytes.byteOffset) this.#view = new DataView(bytes.buffer, bytes.byteOffset)
    this.#bytes = bytes
    this.#length = bytes.length
    return this.valid
  }

  get valid (): boolean {
    if (this.#length <= FIXED_BYTES || this.#length > FIXED_BYTES + MAX_GENERATION || this.version !== RECORD_VERSION) return false
    const view = this.#view
    if (!isCount(view.getFloat64(STORED_AT)) || !isCount(view.getFloat64(LAST_ACCESS_AT)) || !isCount(view.getFloat64(HITS_AT))) return false
    for (let at = FIXED_BYTES; at < this.#length; at++) if (!isGenerationCode(view.getUint8(at))) return false
    return Number.isSafeInteger(this.size) && this.size >= 0
  }

  /** 0 of no bytes. */
  get version (): number { return this.#length === 0 ? 0 : this.#view.getUint8(0) }
  get size (): number { return this.#view.getFloat64(SIZE_AT) }
  get storedAt (): number { return withinTime(this.#view.getFloat64(STORED_AT)) }
  get lastAccess (): number { return withinTime(this.#view.getFloat64(LAST_ACCESS_AT)) }
  get hits (): number {
    const hits = Math.floor(this.#view.getFloat64(HITS_AT))
    // More of what is stale we have not written.
    return hits > MOST_STALE_HITS && this.staleSince > 0 ? MOST_STALE_HITS : hits
  }

  get verified (): boolean { return this.#view.getFloat64(HITS_AT) % 1 >= VERIFIED }
  get staleSince (): number { return Math.floor(this.#view.getFloat64(HITS_AT) % VERIFIED / STALE_SECOND) * 1_000 }
  get sha256 (): string { return this.#bytes.toString('hex', SHA256_AT, FIXED_BYTES) }
  get generation (): string { return this.#bytes.toString('latin1', FIXED_BYTES, this.#length) }

  /** Copies the digest, and behind it the generation in ASCII, with a zero behind one that is not as long as it may be. */
  digestAndGenerationInto (target: DataView, at: number): void {
    const view = this.#view
    // Of LMDB's memory there is always more behind a record.
    if (view.byteLength >= SHA256_AT + DIGEST_AND_GENERATION_BYTES) {
      for (let n = 0; n < DIGEST_AND_GENERATION_BYTES; n += 4) target.setUint32(at + n, view.getUint32(SHA256_AT + n))
    } else {
      for (let n = 0; n < this.#length - SHA256_AT; n++) target.setUint8(at + n, view.getUint8(SHA256_AT + n))
    }
    if (this.#length < SHA256_AT + DIGEST_AND_GENERATION_BYTES) target.setUint8(at + this.#length - SHA256_AT, 0)
  }

  copy (): EntryRecord {
    const { size, sha256, storedAt, lastAccess, hits, generation, verified, staleSince } = this
    return { size, sha256, storedAt, lastAccess, hits, generation, ...verified ? { verified } : {}, ...staleSince > 0 ? { staleSince } : {} }
  }
}

function isCount (n: number): boolean {
  return Number.isFinite(n) && n >= 0
}

/** 0-9 or a-z. */
function isGenerationCode (code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a)
}

/** A time that a clock far ahead has written costs its order, and not its entry. */
function withinTime (ms: number): number {
  // Plus zero, since the bits of the negative one come after all others.
  return Math.min(ms, TIME_END - 1) + 0
}
