import { RelayError } from '../base/errors.ts'
import { trimOws } from './ows.ts'

/**
 * One requested range before the size of the object is known (RFC 9110 §14.1.2).
 * `last` is inclusive, as sent; undefined means up to the end. Positions beyond 2^53-1 are held as 2^53-1.
 */
export type RangeSpec =
  | { readonly kind: 'from'; readonly first: number; readonly last: number | undefined }
  | { readonly kind: 'suffix'; readonly length: number }

/** Bytes of an object: `start` inclusive, `end` exclusive, `0 <= start < end <= size`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

const UNIT = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(.*)$/s
const SPEC = /^(\d*)-(\d*)$/

/** No object has 2^53 bytes, so a larger position means the same as 2^53-1. */
function position (digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER)
}

function parseSpec (text: string): RangeSpec {
  const match = SPEC.exec(text)
  const first = match?.[1] ?? ''
  const last = match?.[2] ?? ''
  if (match === null || (first === '' && last === '')) {
    throw new RelayError('RELAY_ERR_RANGE_SYNTAX', 'a range has the form bytes=<first>-<last>, bytes=<first>- or bytes=-<length>')
  }
  if (first === '') return { kind: 'suffix', length: position(last) }
  if (last === '') return { kind: 'from', first: position(first), last: undefined }
  const spec = { kind: 'from', first: position(first), last: position(last) } as const
  // RFC 9110 §14.1.1: an int-range with last-pos less than first-pos is invalid.
  if (spec.last < spec.first) throw new RelayError('RELAY_ERR_RANGE_SYNTAX', 'the last byte of the range comes before the first')
  return spec
}

/**
 * Parses a `Range` field value; undefined when the whole object is to be sent: no header, a unit other than bytes
 * (RFC 9110 §14.2: ignored), or several ranges (§14.2 lets a server ignore the field; we never send multipart bodies).
 * @throws RelayError RELAY_ERR_RANGE_SYNTAX
 */
export function parseRangeHeader (header: string | undefined): RangeSpec | undefined {
  if (header === undefined) return undefined
  const match = UNIT.exec(trimOws(header))
  if (match === null) throw new RelayError('RELAY_ERR_RANGE_SYNTAX', 'a range has the form <unit>=<ranges>')
  // RFC 9110 §14.1: range units are case-insensitive.
  if (match[1]?.toLowerCase() !== 'bytes') return undefined
  // RFC 9110 §5.6.1.2: empty list elements are parsed and ignored.
  const specs = (match[2] ?? '').split(',').map(trimOws).filter(text => text !== '').map(parseSpec)
  const [only] = specs
  if (only === undefined) throw new RelayError('RELAY_ERR_RANGE_SYNTAX', 'the range list is empty')
  return specs.length === 1 ? only : undefined
}

/**
 * The bytes a range means in an object of `size` bytes (RFC 9110 §14.1.2).
 * @throws RelayError RELAY_ERR_RANGE_UNSATISFIABLE; the response then carries {@link unsatisfiedContentRange}
 */
export function resolveRange (spec: RangeSpec, size: number): ByteRange {
  const start = spec.kind === 'from' ? spec.first : Math.max(0, size - spec.length)
  const end = spec.kind === 'from' && spec.last !== undefined ? Math.min(spec.last + 1, size) : size
  if (start >= end) throw new RelayError('RELAY_ERR_RANGE_UNSATISFIABLE', `the range starts beyond the object, which has ${size} bytes`)
  return { start, end }
}

/**
 * Both steps in one call, for a caller that knows the size.
 * @throws RelayError RELAY_ERR_RANGE_SYNTAX, RELAY_ERR_RANGE_UNSATISFIABLE
 */
export function parseRange (header: string | undefined, size: number): ByteRange | undefined {
  const spec = parseRangeHeader(header)
  return spec === undefined ? undefined : resolveRange(spec, size)
}

/** `Content-Range` of a 206 (RFC 9110 §14.4). */
export function contentRange (range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`
}

/** `Content-Range` of a 416 (RFC 9110 §14.4). */
export function unsatisfiedContentRange (size: number): string {
  return `bytes */${size}`
}
