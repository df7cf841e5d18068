/*
 * What a request carries so that it can be followed through several programs: an id, and its place in a trace (W3C Trace Context, level 1).
 */

/** A place in a trace, as the caller tells it. */
export interface TraceContext {
  /** 32 hexadecimal digits in lower case, not all zero. */
  readonly traceId: string
  /** Bit 0: the caller may have recorded it. */
  readonly flags: number
}

/** What goes along with a request to whoever is asked because of it. */
export interface RequestTrace {
  /** 1 to 128 characters of {@link REQUEST_ID}. */
  readonly id: string
  readonly trace: TraceContext | undefined
}

/** Characters of an id that is taken as it is: none of them means anything to a log or a field. */
export const REQUEST_ID = /^[A-Za-z0-9._~+/=-]{1,128}$/
/** Version, trace, parent, flags (§3.2.2). Later versions may have more behind a further dash. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_PARENT = '0'.repeat(16)
/** Flags that level 1 knows; others must not be sent on (§3.2.2.5). */
const SAMPLED = 0x01

/** The id that a caller gave its request; undefined when there is none that can be used. */
export function takenRequestId (field: string | string[] | undefined): string | undefined {
  return typeof field === 'string' && REQUEST_ID.test(field) ? field : undefined
}

/** What a `traceparent` field says; undefined when it says nothing valid, and then no trace is gone on with. */
export function parseTraceparent (field: string | string[] | undefined): TraceContext | undefined {
  if (typeof field !== 'string' || field.length > 512) return undefined
  const [, version, traceId, parentId, flags, more] = TRACEPARENT.exec(field) ?? []
  if (version === undefined || traceId === undefined || flags === undefined) return undefined
  if (version === 'ff' || traceId === NO_TRACE || parentId === NO_PARENT || (version === '00' && more !== undefined)) return undefined
  return { traceId, flags: Number.parseInt(flags, 16) & SAMPLED }
}

/** An id of a request of ours. @param random in [0, 1) */
function newParentId (random: () => number): string {
  const half = (): string => Math.floor(random() * 0x1_0000_0000).toString(16).padStart(8, '0')
  const id = half() + half()
  return id === NO_PARENT ? `${NO_PARENT.slice(1)}1` : id
}

/**
 * The fields of a request that is sent because of another one, with a parent of its own.
 * @param random in [0, 1)
 */
export function traceFields ({ id, trace }: RequestTrace, random: () => number): { 'x-request-id': string, traceparent?: string } {
  return {
    'x-request-id': id,
    ...trace === undefined ? {} : { traceparent: `00-${trace.traceId}-${newParentId(random)}-${trace.flags.toString(16).padStart(2, '0')}` }
  }
}
