import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { TraceBuilder, type Trace } from './trace.ts'

export const FORMATS = ['csv', 'oracleGeneral'] as const
export type TraceFormat = typeof FORMATS[number]

/** A trace that is not what its format says; the message names file and line or byte. */
export class TraceError extends Error {}

/** Where a CSV file has what, in the words of libCacheSim's `--trace-type-params`. Columns count from 1. */
export interface CsvColumns {
  readonly id: number
  /** 0: there are no sizes, each object has one byte. */
  readonly size: number
  readonly delimiter: string
  readonly hasHeader: boolean
}

const DEFAULT_COLUMNS: CsvColumns = { id: 2, size: 3, delimiter: ',', hasHeader: false }
/** The first line of a file of ours is no request. */
const OUR_HEADER = 'time,id,size'
const COLUMN_NAMES = ['time-col', 'obj-id-col', 'obj-size-col', 'delimiter', 'has-header', 'obj-id-is-num'] as const

/** `time-col=1,obj-id-col=2,obj-size-col=3,delimiter=;,has-header=true`; what is left out is as in `time,id,size`. @throws TraceError */
export function parseColumns (text: string): CsvColumns {
  const given = new Map<string, string>()
  // A delimiter may be the comma that is between the parts.
  for (const [, name = '', value = ''] of text.matchAll(/([^=,]+)=(,(?=,|$)|[^,]*)/g)) given.set(name.trim(), value)
  const unknown = Array.from(given.keys()).find(name => !(COLUMN_NAMES as readonly string[]).includes(name))
  if (unknown !== undefined || given.size === 0) throw new TraceError(`columns: "${unknown ?? text}" is none of ${COLUMN_NAMES.join(', ')}`)
  const column = (name: string, byDefault: number, least: number): number => {
    const value = given.get(name) ?? String(byDefault)
    if (!/^\d+$/.test(value) || Number(value) < least) throw new TraceError(`columns: ${name}=${value} is not the number of a column`)
    return Number(value)
  }
  const delimiter = given.get('delimiter') ?? ','
  return {
    id: column('obj-id-col', 2, 1),
    size: column('obj-size-col', given.has('obj-id-col') ? 0 : 3, 0),
    delimiter: delimiter === '\\t' ? '\t' : delimiter === '' ? ',' : delimiter,
    hasHeader: ['true', '1'].includes(given.get('has-header') ?? 'false')
  }
}

/** @param limit requests that are read at most */
export async function readCsv (input: Readable, name: string, columns: CsvColumns = DEFAULT_COLUMNS, limit = Infinity): Promise<Trace> {
  const builder = new TraceBuilder()
  let line = 0
  for await (const text of createInterface({ input, crlfDelay: Infinity })) {
    line++
    if (builder.count >= limit) break
    if (text === '' || (line === 1 && (columns.hasHeader || text === OUR_HEADER))) continue
    const fields = text.split(columns.delimiter)
    const id = fields[columns.id - 1]?.trim() ?? ''
    if (id === '') throw new TraceError(`${name}, line ${line}: no object in column ${columns.id}`)
    builder.add(id, columns.size === 0 ? 1 : sizeIn(fields[columns.size - 1]?.trim() ?? '', `${name}, line ${line}`))
  }
  return finished(builder, name)
}

function sizeIn (text: string, where: string): number {
  const size = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(size)) throw new TraceError(`${where}: the size "${text}" is not a whole number of bytes`)
  return size
}

/** uint32 time, uint64 object, uint32 size, int64 next access: little-endian, packed. */
const RECORD_BYTES = 24

/** libCacheSim's binary format, uncompressed. */
export async function readOracleGeneral (input: Readable, name: string, limit = Infinity): Promise<Trace> {
  const builder = new TraceBuilder()
  let rest: Buffer = Buffer.alloc(0)
  let offset = 0
  for await (const chunk of input as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    for (; at + RECORD_BYTES <= bytes.length && builder.count < limit; at += RECORD_BYTES) {
      const id = bytes.readBigUInt64LE(at + 4)
      builder.add(id <= Number.MAX_SAFE_INTEGER ? Number(id) : id, bytes.readUInt32LE(at + 12))
    }
    rest = bytes.subarray(at)
    offset += at
    if (builder.count >= limit) return finished(builder, name)
  }
  if (rest.length > 0) throw new TraceError(`${name}, byte ${offset}: a record has ${RECORD_BYTES} bytes, and the file ends after ${rest.length}`)
  return finished(builder, name)
}

function finished (builder: TraceBuilder, name: string): Trace {
  if (builder.count === 0) throw new TraceError(`${name}: there are no requests`)
  return builder.finish(name)
}

export interface ReadOptions {
  /** By the name of the file by default. */
  readonly format?: TraceFormat | undefined
  readonly columns?: CsvColumns | undefined
  readonly limit?: number | undefined
}

/** Reads a file as it comes, `.gz` too. @throws TraceError, or what the file system says */
export async function readTrace (file: string, { format, columns, limit }: ReadOptions = {}): Promise<Trace> {
  if (file.endsWith('.zst')) throw new TraceError(`${file}: zstd is not read; decompress it first (zstd -d)`)
  const packed = file.endsWith('.gz')
  const plain = packed ? file.slice(0, -3) : file
  const found = format ?? (/\.(?:csv|txt|tsv)$/i.test(plain) ? 'csv' : /oracleGeneral|\.bin$/i.test(plain) ? 'oracleGeneral' : undefined)
  if (found === undefined) throw new TraceError(`${file}: say what it is with --format ${FORMATS.join(' or ')}`)
  const source = createReadStream(file, { highWaterMark: 1024 * 1024 })
  const input = packed ? source.pipe(createGunzip()) : source
  if (packed) source.on('error', error => { input.destroy(error) })
  try {
    return found === 'csv' ? await readCsv(input, file, columns, limit) : await readOracleGeneral(input, file, limit)
  } finally {
    source.destroy()
  }
}

/** A trace in the format that {@link readOracleGeneral} reads, for other simulators; one request a second. */
export function * oracleGeneral ({ requests, sizes }: Trace, next: Uint32Array): Generator<Buffer, void> {
  for (let from = 0; from < requests.length; from += 10_000) {
    const records = requests.subarray(from, from + 10_000)
    const bytes = Buffer.alloc(records.length * RECORD_BYTES)
    for (const [n, object] of records.entries()) {
      const at = n * RECORD_BYTES
      const again = next[from + n] ?? 0
      bytes.writeUInt32LE(from + n, at)
      bytes.writeBigUInt64LE(BigInt(object), at + 4)
      bytes.writeUInt32LE(sizes[object] ?? 0, at + 12)
      // Counted from 1, as they do; -1 for never.
      bytes.writeBigInt64LE(again < requests.length ? BigInt(again + 1) : -1n, at + 16)
    }
    yield bytes
  }
}
