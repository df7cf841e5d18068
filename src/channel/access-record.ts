import Type, { type Static } from 'typebox'
import { SESSION_TRANSPORT_NAMES } from '../protocol/session-transports.ts'

/*
 * What the access log knows of one response, over whatever transport: made by whoever sent the response, so for sessions in the gateway. The names are
 * those of a JSON line and of a template.
 */

/** Longest text of a stranger, characters: what `shortened` leaves of it, and a note. */
const MAX_TEXT = 600

const Text = (maxLength: number) => Type.String({ maxLength })
const Amount = Type.Number({ minimum: 0 })

/** What is sampled together. `other`: of viewers, and not about an object; `scrape`: health, metrics and what dashboards look at. */
export const ACCESS_KINDS = ['hit', 'miss', 'other', 'admin', 'scrape'] as const
export type AccessKind = typeof ACCESS_KINDS[number]

const Schema = Type.Object({
  /** When the response ended, wall clock, ms since the epoch. */
  time: Amount,
  kind: Type.Unsafe<AccessKind>({ type: 'string', enum: ACCESS_KINDS }),
  reqId: Text(128),
  /** Address of the viewer, as it is; who shows it makes less of it. */
  remote: Text(128),
  /** Of the token. */
  subject: Type.Optional(Text(256)),
  transport: Type.String({ pattern: `^(?:http|${SESSION_TRANSPORT_NAMES.join('|')})$` }),
  /** Of HTTP, `1.1` or `2.0`; of WebTransport the one below it. */
  version: Type.Optional(Text(8)),
  method: Text(MAX_TEXT),
  /** Without secrets. */
  url: Text(MAX_TEXT),
  /** CID and part. */
  object: Type.Optional(Text(160)),
  /** As it was asked for. */
  range: Type.Optional(Text(MAX_TEXT)),
  /** 0 when no response was begun. */
  status: Type.Integer({ minimum: 0, maximum: 999 }),
  code: Type.Optional(Type.String({ pattern: '^RELAY_ERR_[A-Z_]{1,64}$' })),
  /** False when the response was broken off. */
  complete: Type.Boolean(),
  /** Of the body, as far as it went out. */
  bytes: Amount,
  /** In the words of RFC 9211. */
  cache: Type.Optional(Text(64)),
  /** Who sent what was not in the cache. */
  superNode: Type.Optional(Text(300)),
  /** From the request to the first byte of the body. */
  firstByteMs: Type.Optional(Amount),
  /** From the request to the end of the response. */
  ms: Amount,
  userAgent: Type.Optional(Text(MAX_TEXT)),
  /** Without secrets. */
  referer: Type.Optional(Text(MAX_TEXT)),
  traceId: Type.Optional(Type.String({ pattern: '^[0-9a-f]{32}$' }))
}, { additionalProperties: false })

type KnownProperties = Static<typeof Schema>

/** One response. What is not known may be undefined, too. */
export type AccessRecord = { readonly [K in keyof KnownProperties]: Record<never, never> extends Pick<KnownProperties, K> ? KnownProperties[K] | undefined : KnownProperties[K] }

/** A record as it is checked. */
export const AccessRecordSchema = Type.Unsafe<AccessRecord>(Schema)
