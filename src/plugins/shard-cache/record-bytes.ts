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
/** Added to the hits of what was verified: an earlier version, after a rollback, reads it as hits. */
const VERIFIED = 0.5

export function encodeRecord (record: EntryRecord): Buffer {
  const out = Buffer.allocUnsafe(FIXED_BYTES + record.generation.length)
  out[0] = RECORD_VERSION
  out.writeDoubleBE(record.size, SIZE_AT)
  out.writeDoubleBE(record.storedAt, STORED_AT)
  out.writeDoubleBE(record.lastAccess, LAST_ACCESS_AT)
  out.writeDoubleBE(record.verified === true ? Math.floor(record.hits) + VERIFIED : Math.floor(record.hits), HITS_AT)
  out.write(record.sha256, SHA256_AT, 'hex')
  out.write(record.generation, FIXED_BYTES, 'latin1')
  return out
}

/** Whether another version of the relay has written it. */
export function isForeign (bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes[0] !== RECORD_VERSION
}

/** A copy of what the bytes say; undefined when they are not a record: a damaged index costs entries, never the process. */
export function decodeRecord (bytes: Buffer): EntryRecord | undefined {
  const record = new RecordBytes(bytes)
  return record.valid ? record.copy() : undefined
}

/** A record as it is stored: a million are read at a start, and hardly any of their strings is wanted. */
export class RecordBytes implements EntryRecord {
  readonly bytes: Buffer
  readonly #length: number

  constructor (bytes: Buffer) {
    this.bytes = bytes
    this.#length = bytes.length
  }

  /** Whether the bytes are a record of this version; otherwise its fields mean nothing. */
  get valid (): boolean {
    const { bytes } = this
    if (this.#length <= FIXED_BYTES || this.#length > FIXED_BYTES + MAX_GENERATION || bytes[0] !== RECORD_VERSION) return false
    if (!isCount(bytes.readDoubleBE(STORED_AT)) || !isCount(bytes.readDoubleBE(LAST_ACCESS_AT)) || !isCount(bytes.readDoubleBE(HITS_AT))) return false
    for (let at = FIXED_BYTES; at < this.#length; at++) if (!isGenerationCode(bytes[at] ?? 0)) return false
    return Number.isSafeInteger(this.size) && this.size >= 0
  }

  get size (): number { return this.bytes.readDoubleBE(SIZE_AT) }
  get storedAt (): number { return withinTime(this.bytes.readDoubleBE(STORED_AT)) }
  get lastAccess (): number { return withinTime(this.bytes.readDoubleBE(LAST_ACCESS_AT)) }
  get hits (): number { return Math.floor(this.bytes.readDoubleBE(HITS_AT)) }
  get verified (): boolean { return this.bytes.readDoubleBE(HITS_AT) % 1 === VERIFIED }
  get sha256 (): string { return this.bytes.toString('hex', SHA256_AT, FIXED_BYTES) }
  get generation (): string { return this.bytes.toString('latin1', FIXED_BYTES, this.#length) }

  /** Copies the digest. */
  sha256Into (target: Uint8Array, at: number): void {
    for (let n = 0; n < SHA256_BYTES; n++) target[at + n] = this.bytes[SHA256_AT + n] ?? 0
  }

  /** Copies the generation in ASCII, filled up with zeros. */
  generationInto (target: Uint8Array, at: number): void {
    for (let n = 0; n < MAX_GENERATION; n++) target[at + n] = FIXED_BYTES + n < this.#length ? this.bytes[FIXED_BYTES + n] ?? 0 : 0
  }

  copy (): EntryRecord {
    const { size, sha256, storedAt, lastAccess, hits, generation, verified } = this
    return { size, sha256, storedAt, lastAccess, hits, generation, ...verified ? { verified } : {} }
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
  return Math.min(ms, TIME_END - 1)
}
