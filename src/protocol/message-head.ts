import { trimOws } from './ows.ts'

/** Why a message head was refused. */
export type HeadFault = 'malformed' | 'too-large'

/** A message head that breaks the syntax or the limits; the text never repeats what the peer sent. */
export class HeadError extends Error {
  override readonly name = 'HeadError'
  readonly fault: HeadFault

  constructor (fault: HeadFault, message: string) {
    super(message)
    this.fault = fault
  }
}

/** A complete head: start lines and field lines without line ends, and the bytes that came after it. */
export interface RawHead {
  readonly lines: readonly string[]
  readonly rest: Uint8Array
}

const LF = 0x0a
const CR = 0x0d
const TAB = 0x09
const EMPTY = new Uint8Array(0)

/**
 * Collects the head of an HTTP/1.1 message (RFC 9112 §2.1) from chunks of any size. Lines end with CRLF or bare LF
 * (RFC 9112 §2.2); bytes are octets, so a line is text in ISO 8859-1. The outcome depends on the bytes alone, not on the chunks.
 */
export class HeadReader {
  readonly #maxBytes: number
  readonly #lines: string[] = []
  #line = ''
  #bytes = 0
  #afterCr = false

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Takes the next bytes; the head once its empty line is there. Not to be called again after that or after an error.
   * @throws HeadError
   */
  push (chunk: Uint8Array): RawHead | undefined {
    let start = 0
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index] ?? 0
      if (++this.#bytes > this.#maxBytes) throw new HeadError('too-large', `the message head exceeds ${this.#maxBytes} bytes`)
      if (byte === LF) {
        const line = this.#line + latin1(chunk, start, this.#afterCr ? index - 1 : index)
        this.#afterCr = false
        this.#line = ''
        start = index + 1
        if (line === '') return { lines: this.#lines, rest: chunk.subarray(start) }
        this.#lines.push(line)
      } else if (this.#afterCr || (byte < 0x20 && byte !== TAB && byte !== CR) || byte === 0x7f) {
        // RFC 9112 §2.2 and RFC 9110 §5.5: a bare CR and control characters invite request smuggling.
        throw new HeadError('malformed', 'the message head contains a control character')
      } else {
        this.#afterCr = byte === CR
      }
    }
    this.#line += latin1(chunk, start, this.#afterCr ? chunk.length - 1 : chunk.length)
    return undefined
  }

  /**
   * The peer sent FIN before an empty line; a last line without line end counts.
   * @throws HeadError
   */
  end (): RawHead {
    if (this.#afterCr) throw new HeadError('malformed', 'the message head ends within a line end')
    if (this.#line !== '') this.#lines.push(this.#line)
    return { lines: this.#lines, rest: EMPTY }
  }
}

/** Octets to text, one to one; `end` may lie before `start` when a CR came in an earlier chunk. */
function latin1 (bytes: Uint8Array, start: number, end: number): string {
  return end > start ? String.fromCharCode(...bytes.subarray(start, end)) : ''
}

const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):(.*)$/
/** Two values of these would make two readers of one message disagree, so a repetition is an error. */
const SINGLETONS = new Set(['authorization', 'content-length', 'content-range', 'etag', 'host', 'if-range', 'range', 'transfer-encoding'])

/** Fields of a message by lower-case name. */
export type Fields = ReadonlyMap<string, string>

/**
 * Parses field lines (RFC 9112 §5); repeated fields are joined with a comma (RFC 9110 §5.3), obs-fold is refused (RFC 9112 §5.2).
 * @throws HeadError
 */
export function parseFields (lines: readonly string[], maxFields: number): Fields {
  if (lines.length > maxFields) throw new HeadError('too-large', `the message has more than ${maxFields} header fields`)
  const fields = new Map<string, string>()
  for (const line of lines) {
    const match = FIELD.exec(line)
    const name = match?.[1]?.toLowerCase()
    if (name === undefined) throw new HeadError('malformed', 'a header line is not of the form <name>: <value>')
    const value = trimOws(match?.[2] ?? '')
    const earlier = fields.get(name)
    if (earlier !== undefined && SINGLETONS.has(name)) throw new HeadError('malformed', `the field ${name} is repeated`)
    // Empty values would leave white space at the end.
    fields.set(name, earlier === undefined ? value : trimOws(`${earlier}, ${value}`))
  }
  return fields
}

export type FieldLine = readonly [name: string, value: string]

/**
 * Writes a head with its empty line. Values must be ISO 8859-1 without control characters.
 * @throws HeadError
 */
export function encodeHead (startLine: string, fields: readonly FieldLine[]): Uint8Array {
  let text = `${startLine}\r\n`
  for (const [name, value] of fields) text += `${name}: ${value}\r\n`
  text += '\r\n'
  const bytes = new Uint8Array(text.length)
  let ends = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === LF) ends++
    if (code > 0xff || code === 0x7f || (code < 0x20 && code !== TAB && code !== CR && code !== LF)) {
      throw new HeadError('malformed', 'a header value has a character that cannot be sent')
    }
    bytes[index] = code
  }
  // A line end inside a value would let it forge fields.
  if (ends !== fields.length + 2) throw new HeadError('malformed', 'a header value contains a line end')
  return bytes
}

/** Status line and fields of a response. */
export interface ResponseHead {
  readonly status: number
  readonly fields: Fields
}

const STATUS_LINE = /^HTTP\/1\.[01] ([1-9][0-9]{2})(?: .*)?$/

/**
 * Parses the head of a response (RFC 9112 §4).
 * @throws HeadError
 */
export function parseResponseHead (lines: readonly string[], maxFields: number): ResponseHead {
  const status = STATUS_LINE.exec(lines[0] ?? '')?.[1]
  if (status === undefined) throw new HeadError('malformed', 'the response has no valid status line')
  return { status: Number(status), fields: parseFields(lines.slice(1), maxFields) }
}
