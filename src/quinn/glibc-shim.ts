/**
 * The engine's Linux builds ask glibc 2.38 for two functions that older ones have under other names: strtol and sscanf as C23 has them, which
 * differ in numbers with a `0b` prefix alone. Here the names of these two in a copy of the file are bound to the functions every glibc has
 * (docs/decisions/0021-glibc-shim.md). Only what the dynamic loader itself reads is looked at: program headers and dynamic section.
 */

/** The file is not what the change below is known to be right for. */
export class GlibcShimError extends Error {
  override readonly name = 'GlibcShimError'
}

/** `2.36` as [2, 36]. */
export type GlibcVersion = readonly number[]

const LIBC = 'libc.so.6'
/** Version whose two symbols get another name, and that prefix of theirs which goes. */
const NEW_VERSION = 'GLIBC_2.38'
const PREFIX = '__isoc23_'
const RENAMED: ReadonlySet<string> = new Set(['strtol', 'sscanf'])

/** ELF machine numbers, each with the version of its oldest glibc, where `strtol` and `sscanf` are. */
const BASE_VERSIONS: ReadonlyMap<number, string> = new Map([[62, 'GLIBC_2.2.5'], [183, 'GLIBC_2.17']])

const HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
const DYNAMIC_ENTRY_BYTES = 16
const SYMBOL_BYTES = 24
const VERSION_NEED_BYTES = 16
const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT = { null: 0, strtab: 5, symtab: 6, strsz: 10, syment: 11, gnuHash: 0x6ffffef5, versym: 0x6ffffff0, verneed: 0x6ffffffe, verneednum: 0x6fffffff }
const VER_FLG_WEAK = 2
/** Section of a symbol that another library defines. */
const UNDEFINED = 0
/** The rest of a symbol's version index; the highest bit hides a definition. */
const VERSION_INDEX = 0x7fff
/** No build has a hundredth of it: what a broken count would make the loops run for. */
const MAX_ENTRIES = 65_536

const fail = (what: string): never => { throw new GlibcShimError(what) }

/** `GLIBC_2.38` as [2, 38]; undefined for other names, `GLIBC_PRIVATE` among them. */
export function glibcVersion (name: string): GlibcVersion | undefined {
  const [, numbers] = /^(?:GLIBC_)?(\d{1,4}(?:\.\d{1,4}){1,3})$/.exec(name) ?? []
  return numbers?.split('.').map(Number)
}

/** Whether `a` is a later glibc than `b`. */
export function isNewer (a: GlibcVersion, b: GlibcVersion): boolean {
  for (let position = 0; position < Math.max(a.length, b.length); position++) {
    const difference = (a[position] ?? 0) - (b[position] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return false
}

/** Reads of a file that may be cut off or say anything; each names what it read. */
class ElfBytes {
  readonly #file: Buffer

  constructor (file: Buffer) {
    this.#file = file
  }

  at (offset: number, length: number, what: string): number {
    if (offset < 0 || offset + length > this.#file.length) fail(`${what}: outside of the file`)
    return offset
  }

  u16 (offset: number, what: string): number {
    return this.#file.readUInt16LE(this.at(offset, 2, what))
  }

  u32 (offset: number, what: string): number {
    return this.#file.readUInt32LE(this.at(offset, 4, what))
  }

  u64 (offset: number, what: string): number {
    const value = this.#file.readBigUInt64LE(this.at(offset, 8, what))
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : fail(`${what}: out of range`)
  }

  /** The string that ends with a zero byte before `end`. */
  text (offset: number, end: number, what: string): string {
    const zero = offset < end ? this.#file.subarray(0, end).indexOf(0, offset) : -1
    return zero === -1 ? fail(`${what}: outside of the string table`) : this.#file.toString('latin1', offset, zero)
  }
}

interface Segment {
  readonly type: number
  readonly offset: number
  readonly address: number
  readonly bytes: number
}

function segments (bytes: ElfBytes): Segment[] {
  const start = bytes.u64(32, 'the place of the program headers')
  const size = bytes.u16(54, 'the size of a program header')
  if (size !== PROGRAM_HEADER_BYTES) fail(`a program header has ${size} bytes, not ${PROGRAM_HEADER_BYTES}`)
  return Array.from({ length: bytes.u16(56, 'the number of program headers') }, (_, index) => {
    const at = bytes.at(start + index * size, size, `program header ${index}`)
    const read = (offset: number): number => bytes.u64(at + offset, `program header ${index}`)
    const segment = { type: bytes.u32(at, `program header ${index}`), offset: read(8), address: read(16), bytes: read(32) }
    bytes.at(segment.offset, segment.bytes, `segment ${index}`)
    return segment
  })
}

/** Where the tables of the dynamic section lie in the file. */
interface Tables {
  readonly symbols: number
  readonly symbolCount: number
  readonly strings: number
  readonly stringsEnd: number
  readonly symbolVersions: number
  readonly needs: number
  readonly needCount: number
}

function tables (bytes: ElfBytes): Tables {
  const all = segments(bytes)
  const dynamic = all.find(({ type }) => type === PT_DYNAMIC) ?? fail('it has no dynamic section')
  const values = new Map<number, number>()
  for (let at = dynamic.offset, end = dynamic.offset + dynamic.bytes; ; at += DYNAMIC_ENTRY_BYTES) {
    if (at + DYNAMIC_ENTRY_BYTES > end) fail('the dynamic section has no end')
    const tag = bytes.u64(at, 'a tag of the dynamic section')
    if (tag === DT.null) break
    values.set(tag, bytes.u64(at + 8, 'a value of the dynamic section'))
  }
  const value = (tag: number, what: string): number => values.get(tag) ?? fail(`the dynamic section names no ${what}`)
  const place = (tag: number, what: string): number => {
    const address = value(tag, what)
    const segment = all.find(({ type, address: start, bytes: length }) => type === PT_LOAD && address >= start && address < start + length)
    return segment === undefined ? fail(`the ${what} lies in no segment`) : segment.offset + address - segment.address
  }
  const strings = place(DT.strtab, 'string table')
  if (value(DT.syment, 'size of a symbol') !== SYMBOL_BYTES) fail(`a symbol has not ${SYMBOL_BYTES} bytes`)
  const stringsEnd = strings + value(DT.strsz, 'size of the string table')
  bytes.at(strings, stringsEnd - strings, 'the string table')
  const needCount = value(DT.verneednum, 'number of needed libraries')
  if (needCount > MAX_ENTRIES) fail('too many libraries are needed')
  return {
    symbols: place(DT.symtab, 'symbol table'),
    symbolCount: symbolCount(bytes, place(DT.gnuHash, 'hash table')),
    strings,
    stringsEnd,
    symbolVersions: place(DT.versym, 'table of symbol versions'),
    needs: place(DT.verneed, 'table of needed versions'),
    needCount
  }
}

/** The hash table covers the defined symbols, which come last: the end of its longest chain is the end of the symbols. */
function symbolCount (bytes: ElfBytes, at: number): number {
  const [buckets, firstHashed, bloomWords] = [0, 4, 8].map(offset => bytes.u32(at + offset, 'the head of the hash table')) as [number, number, number]
  if (buckets > MAX_ENTRIES || firstHashed > MAX_ENTRIES || bloomWords > MAX_ENTRIES) fail('the hash table is too large')
  const bucketsAt = at + 16 + bloomWords * 8
  let last = 0
  for (let bucket = 0; bucket < buckets; bucket++) last = Math.max(last, bytes.u32(bucketsAt + bucket * 4, 'a bucket of the hash table'))
  if (last < firstHashed) return firstHashed
  for (const chains = bucketsAt + buckets * 4; ; last++) {
    if (last > MAX_ENTRIES) fail('a chain of the hash table has no end')
    if ((bytes.u32(chains + (last - firstHashed) * 4, 'a chain of the hash table') & 1) === 1) return last + 1
  }
}

/** A version of a library that the file needs. */
interface NeededVersion {
  readonly library: string
  readonly name: string
  readonly index: number
  readonly flagsAt: number
}

function neededVersions (bytes: ElfBytes, { strings, stringsEnd, needs, needCount }: Tables): NeededVersion[] {
  const found: NeededVersion[] = []
  for (let at = needs, need = 0; need < needCount; need++) {
    bytes.at(at, VERSION_NEED_BYTES, 'a needed library')
    const library = bytes.text(strings + bytes.u32(at + 4, 'a needed library'), stringsEnd, 'the name of a needed library')
    const count = bytes.u16(at + 2, 'a needed library')
    let entry = at + bytes.u32(at + 8, 'a needed library')
    for (let position = 0; position < count; position++) {
      bytes.at(entry, VERSION_NEED_BYTES, 'a needed version')
      found.push({
        library,
        name: bytes.text(strings + bytes.u32(entry + 8, 'a needed version'), stringsEnd, 'the name of a needed version'),
        index: bytes.u16(entry + 6, 'a needed version') & VERSION_INDEX,
        flagsAt: entry + 4
      })
      if (found.length > MAX_ENTRIES) fail('too many versions are needed')
      entry += bytes.u32(entry + 12, 'a needed version')
    }
    at += bytes.u32(at + 12, 'a needed library')
  }
  return found
}

/** The version that the oldest glibc of the file's machine has. */
function baseVersion (file: Buffer, bytes: ElfBytes): string {
  bytes.at(0, HEADER_BYTES, 'the ELF header')
  if (file.toString('latin1', 0, 4) !== '\x7fELF') fail('it is not an ELF file')
  if (file[4] !== 2 || file[5] !== 1) fail('it is not a 64-bit little-endian ELF file')
  // Section headers come last, so a file that was cut off anywhere lacks some.
  bytes.at(bytes.u64(40, 'the place of the section headers'), bytes.u16(58, 'the size of a section header') * bytes.u16(60, 'the number of section headers'), 'the section headers')
  const machine = bytes.u16(18, 'the machine')
  return BASE_VERSIONS.get(machine) ?? fail(`it is for machine ${machine}, neither x86-64 nor arm64`)
}

/**
 * A copy of the file that loads with the glibc named.
 * @throws GlibcShimError when the file needs anything else of a newer glibc, or is broken
 */
export function withOldGlibc (file: Buffer, running: GlibcVersion): Buffer {
  const bytes = new ElfBytes(file)
  const oldest = baseVersion(file, bytes)
  const found = tables(bytes)
  const versions = neededVersions(bytes, found)
  const base = versions.find(({ library, name }) => library === LIBC && name === oldest) ?? fail(`it needs no ${oldest} of ${LIBC}`)
  if (new Set(versions.map(({ index }) => index)).size !== versions.length) fail('two needed versions have one index')
  const newer = new Map(versions.filter(version => isNewerNeed(version, running)).map(version => [version.index, version]))

  const patched = Buffer.from(file)
  const renamed: string[] = []
  for (let symbol = 1; symbol < found.symbolCount; symbol++) {
    const what = `symbol ${symbol}`
    const entry = bytes.at(found.symbols + symbol * SYMBOL_BYTES, SYMBOL_BYTES, what)
    const versionAt = found.symbolVersions + symbol * 2
    const version = newer.get(bytes.u16(versionAt, `the version of ${what}`) & VERSION_INDEX)
    if (version === undefined) continue
    const nameAt = bytes.u32(entry, what)
    const name = bytes.text(found.strings + nameAt, found.stringsEnd, `the name of ${what}`)
    const plain = name.slice(PREFIX.length)
    if (!isRenamable(version) || !name.startsWith(PREFIX) || !RENAMED.has(plain)) fail(`it needs ${name} of ${version.name}`)
    if (bytes.u16(entry + 6, what) !== UNDEFINED) fail(`it has ${name} itself`)
    patched.writeUInt32LE(nameAt + PREFIX.length, entry)
    patched.writeUInt16LE(base.index, versionAt)
    renamed.push(plain)
  }
  for (const version of newer.values()) {
    if (!isRenamable(version)) fail(`it needs ${version.name} of ${version.library}`)
    patched.writeUInt16LE(bytes.u16(version.flagsAt, 'a needed version') | VER_FLG_WEAK, version.flagsAt)
  }
  if (renamed.length !== RENAMED.size || new Set(renamed).size !== RENAMED.size) fail(`of ${NEW_VERSION} it needs ${renamed.join(' and ') || 'nothing'}, not ${[...RENAMED].join(' and ')}`)
  return patched
}

const isRenamable = ({ library, name }: NeededVersion): boolean => library === LIBC && name === NEW_VERSION

function isNewerNeed ({ name, library }: NeededVersion, running: GlibcVersion): boolean {
  if (!name.startsWith('GLIBC_')) return false
  return isNewer(glibcVersion(name) ?? fail(`it needs ${name} of ${library}`), running)
}
