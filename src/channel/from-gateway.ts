import { Ajv, type ValidateFunction } from 'ajv'
import Type, { type Static, type TSchema } from 'typebox'
import { OUR_SCHEMA } from '../base/schema-check.ts'
import { MAX_REPORTED } from '../admission/shared-buckets.ts'
import { CLASS_NAME, IDENTITY } from '../admission/verdict.ts'
import { MAX_GROUPS, type Demand } from '../pacing/split-budget.ts'
import { MAX_HINTS } from '../protocol/prefetch-hint.ts'
import type { RangeSpec } from '../protocol/range.ts'
import { perTransport, SESSION_TRANSPORT_NAMES, type SessionTransport } from '../protocol/session-transports.ts'
import { CID } from '../protocol/shard-key.ts'
import { REQUEST_ID } from '../protocol/trace-context.ts'
import { AccessRecordSchema } from './access-record.ts'
import { CountersSchema } from './gateway-counters.ts'

/*
 * What the gateway may say. It is the process that talks to strangers and runs native code, so every message is checked against
 * these schemas before anything acts on it: labels become metric labels, numbers become counters.
 */

/** Latencies one heartbeat carries at most. */
export const MAX_LATENCIES = 4_000

/** Records of the access log in one message at most. */
export const MAX_ACCESS_RECORDS = 256

const closed = { additionalProperties: false } as const
const Id = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Count = Type.Number({ minimum: 0 })
const Text = (maxLength: number) => Type.String({ maxLength })

const TRANSPORT = `(?:${SESSION_TRANSPORT_NAMES.join('|')})`
/** One of a closed list of words. */
const oneOf = <T extends string>(...words: readonly T[]) => Type.Unsafe<T>({ type: 'string', enum: words })
const Transport = oneOf(...SESSION_TRANSPORT_NAMES)

const counts = (pattern: string) => Type.Record(Type.String({ pattern: `^${pattern}$` }), Count, closed)

const Key = Type.Object({
  cid: Type.String({ pattern: CID.source }),
  part: Type.Union([Type.Integer({ minimum: 0, maximum: 13 }), Type.Literal('manifest')])
}, closed)

/** See {@link RangeSpec}. */
const Range = Type.Union([
  Type.Object({ kind: Type.Literal('from'), first: Id, last: Type.Optional(Id) }, closed),
  Type.Object({ kind: Type.Literal('suffix'), length: Id }, closed)
])

/** See {@link RequestTrace}. */
const Trace = Type.Object({
  id: Type.String({ pattern: REQUEST_ID.source }),
  trace: Type.Optional(Type.Object({ traceId: Type.String({ pattern: '^[0-9a-f]{32}$' }), flags: Type.Integer({ minimum: 0, maximum: 255 }) }, closed))
}, closed)

const Row = Type.Object({
  id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
  address: Text(128),
  transport: Type.String({ pattern: `^${TRANSPORT}$` }),
  /** Wall clock, ms since the epoch. */
  since: Type.Integer({ minimum: 0 }),
  streams: Type.Integer({ minimum: 0 }),
  streamsTotal: Type.Integer({ minimum: 0 }),
  bytes: Type.Integer({ minimum: 0 }),
  /** Bytes per second over the last second or two. */
  rate: Type.Integer({ minimum: 0 }),
  identity: Type.Optional(Type.String({ pattern: IDENTITY.source })),
  class: Type.Optional(Type.String({ pattern: CLASS_NAME.source })),
  rttMs: Type.Optional(Count),
  /** Bits per second; absent when nothing limits it. */
  shareBps: Type.Optional(Count),
  /** Milliseconds it has waited for bandwidth. */
  waitedMs: Type.Optional(Count)
}, closed)

const Counts = Type.Object({
  counters: CountersSchema,
  /** Seconds of responses that were sent whole. */
  latencies: Type.Array(Type.Tuple([Transport, oneOf('hit', 'miss'), oneOf('first_byte', 'complete'), Count]), { maxItems: MAX_LATENCIES })
}, closed)

const Stats = Type.Object({
  /** By transport. */
  sessions: counts(TRANSPORT),
  /** Sizes of every map and queue, by `<owner>.<name>`. */
  sizes: Type.Record(Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$' }), Type.Number(), { ...closed, maxProperties: 200 }),
  rssBytes: Count,
  /** Seconds of CPU since the last heartbeat. */
  cpu: Type.Optional(Type.Object({ user: Count, system: Count }, closed)),
  /** Requests of addresses since the last heartbeat. */
  spent: Type.Optional(Type.Array(Type.Tuple([Text(64), Type.Integer({ minimum: 1, maximum: 10_000_000 })]), { maxItems: MAX_REPORTED })),
  /** 99th percentile of the event-loop delay since the last heartbeat, ms. */
  loopDelayMs: Type.Optional(Count),
  /** What happened since the last heartbeat. */
  counts: Counts
}, closed)

const ListenerInfo = Type.Object({ port: Type.Integer({ minimum: 1, maximum: 65_535 }), description: Text(1_000) }, closed)

const Listening = Type.Object({
  open: Type.Unsafe<Partial<Record<SessionTransport, Static<typeof ListenerInfo>>>>(Type.Object(perTransport(() => Type.Optional(ListenerInfo)), closed)),
  /** Why a transport is missing, and which engine was chosen. */
  notes: Type.Array(Text(2_000), { maxItems: 8 })
}, closed)

/** Sums over viewers that are alike. */
const DemandGroup = Type.Object({
  viewers: Type.Integer({ minimum: 1 }),
  weight: Type.Number({ exclusiveMinimum: 0 }),
  floorBps: Count,
  limitBps: Type.Optional(Count),
  ceilingBps: Type.Optional(Count)
}, closed)

const SCHEMAS = {
  /** Again whenever that has changed. */
  listening: Type.Object({ type: Type.Literal('listening'), info: Listening }, closed),
  /** It could not start, and ends. */
  failed: Type.Object({ type: Type.Literal('failed'), detail: Text(4_000) }, closed),
  /** For a viewer at `address`, whose responses are counted with those over HTTP; `next` is what it will ask for next, and may have. */
  resolve: Type.Object({ type: Type.Literal('resolve'), id: Id, key: Key, address: Text(128), request: Type.Optional(Trace), range: Type.Optional(Type.Unsafe<RangeSpec>(Range)), next: Type.Optional(Type.Array(Key, { maxItems: MAX_HINTS })) }, closed),
  /** The viewer is gone: whatever comes of the question is released. */
  cancel: Type.Object({ type: Type.Literal('cancel'), id: Id }, closed),
  read: Type.Object({ type: Type.Literal('read'), id: Id, lease: Id, position: Id, length: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), end: Type.Optional(Id) }, closed),
  release: Type.Object({ type: Type.Literal('release'), lease: Id }, closed),
  /** What viewers ask for, every 100 ms while anything is limited. */
  demand: Type.Object({
    type: Type.Literal('demand'),
    demand: Type.Unsafe<Demand>(Type.Object({ groups: Type.Array(DemandGroup, { maxItems: MAX_GROUPS }), joinedWeight: Count }, closed))
  }, closed),
  heartbeat: Type.Object({ type: Type.Literal('heartbeat'), stats: Stats }, closed),
  sessions: Type.Object({ type: Type.Literal('sessions'), id: Id, rows: Type.Array(Row) }, closed),
  /** Responses since the last one; `written`: as a line. `leftOut`: failed requests without one, `missed`: records that did not fit. */
  access: Type.Object({
    type: Type.Literal('access'),
    records: Type.Array(Type.Tuple([AccessRecordSchema, Type.Boolean()]), { maxItems: MAX_ACCESS_RECORDS }),
    leftOut: Id,
    missed: Id
  }, closed),
  disconnected: Type.Object({ type: Type.Literal('disconnected'), id: Id, found: Type.Boolean() }, closed),
  log: Type.Object({
    type: Type.Literal('log'),
    level: Type.Union([Type.Literal('debug'), Type.Literal('info'), Type.Literal('warn'), Type.Literal('error')]),
    message: Text(4_000),
    fields: Type.Record(Type.String(), Type.Unknown(), { maxProperties: 32 })
  }, closed)
} as const satisfies Record<string, TSchema>

type Schemas = typeof SCHEMAS
export type FromGateway = { [T in keyof Schemas]: Static<Schemas[T]> }[keyof Schemas]
/** Sends one message; `sent` is called once, when the channel has taken it or is gone. Never throws. */
export type SendToRelay = (message: FromGateway, sent?: () => void) => void
/** A session as operators see it. */
export type SessionRow = Static<typeof Row>
export type GatewayCounts = Static<typeof Counts>
export type GatewayStats = Static<typeof Stats>
export type ListeningInfo = Static<typeof Listening>

/** A check of each type, made when a gateway begins to speak and not before: processes without one need none, and none waits for it later. */
const checks = (() => {
  let made: ReadonlyMap<string, ValidateFunction<FromGateway>> | undefined
  return () => {
    if (made !== undefined) return made
    const ajv = new Ajv({ strict: false, strictNumbers: true, allErrors: false, ...OUR_SCHEMA })
    made = new Map(Object.entries(SCHEMAS).map(([type, schema]) => [type, ajv.compile<FromGateway>(schema)]))
    return made
  }
})()

/** The message, or in words why it is none; never throws. */
export function checkFromGateway (value: unknown): FromGateway | string {
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  const validate = typeof type === 'string' ? checks().get(type) : undefined
  if (validate === undefined) return 'a message of unknown type'
  if (validate(value)) return value
  return `${String(type)}${new Ajv().errorsText(validate.errors, { dataVar: '' })}`.slice(0, 500)
}
