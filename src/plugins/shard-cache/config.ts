import Type from 'typebox'
import { bytes, CidPrefix, live, ms, section, Tag } from '../../config/parts.ts'

/** As RFC 9111 caches count: whole seconds, a year at most. */
const Ttl = Type.Optional(Type.Integer({ minimum: 1_000, maximum: 31_536_000_000, unit: 'time' }))
const Beyond = Type.Optional(Type.Integer({ minimum: 0, maximum: 31_536_000_000, unit: 'time' }))

const TtlRule = Type.Object({
  cid_prefix: Type.Optional(CidPrefix),
  tag: Type.Optional(Tag),
  media_type: Type.Optional(Type.Union([Type.Literal('application/json'), Type.Literal('application/octet-stream')])),
  ttl_ms: Ttl,
  stale_while_revalidate_ms: Beyond,
  stale_if_error_ms: Beyond
}, { additionalProperties: false })

/** Rules that a configuration may have: each look-up asks them in turn. */
const MAX_TTL_RULES = 64

/** Keys of `[cache]`. */
export const cacheConfig = section({
  path: Type.String({ minLength: 1, default: './cache', description: 'directory of the cache' }),
  max_bytes: live(bytes(1_099_511_627_776, 1, 'disk space for cached objects and for objects being filled')),
  eviction: Type.Union([Type.Literal('lru'), Type.Literal('s3-fifo'), Type.Literal('sieve'), Type.Literal('w-tinylfu')], { default: 's3-fifo', description: 'which objects leave the disk when it is full: with `lru` those used longest ago; the others keep what is asked for once from pushing out the rest (decision 37)' }),
  ram_bytes: live(bytes(268_435_456, 0, 'memory for hot objects; 0 switches the memory tier off')),
  pass_through_bytes: bytes(134_217_728, 16_777_216, 'memory for objects that pass through because the disk cannot store them'),
  min_free_bytes: bytes(268_435_456, 0, 'free space of the disk that is left to others: below it the cache keeps less than max_bytes; 0 leaves none'),
  sync: Type.Union([Type.Literal('none'), Type.Literal('data'), Type.Literal('full')], { default: 'data', description: 'what is on the disk, and not only with the operating system, before an object counts as stored: `none` of it, its bytes (`data`), or its bytes and its name (`full`); what a power cut loses of each is in `docs/operations.md` (decision 45)' }),
  io_timeout_ms: ms(2_000, 'time the disk has to open or read; then the object comes from a super-node. Writing gets five times as much'),
  verify_reads: Type.Union([Type.Literal('first'), Type.Literal('always'), Type.Literal('never')], { default: 'first', description: 'when a hit from disk is compared with its SHA-256: the first of an object since the relay started, each, block by block before it goes out, or none' }),
  integrity: Type.Union([Type.Literal('manifest'), Type.Literal('digest'), Type.Literal('none')], { default: 'manifest', description: 'what an object is compared with before its last byte goes out: `manifest`, the manifest of its CID that is believed (see `[trust]`) and the `repr-digest` of its sender; `digest`, the latter only; `none`, nothing' }),
  max_stale_ms: Type.Integer({ minimum: 1, maximum: 31_536_000_000, default: 86_400_000, unit: 'time', description: 'how long an object is served after a soft purge until it was fetched again; then it is a miss, milliseconds' }),
  ttl: live(Type.Array(TtlRule, { default: [{ media_type: 'application/json', ttl_ms: 3_600_000, stale_while_revalidate_ms: 86_400_000, stale_if_error_ms: 604_800_000 }], maxItems: MAX_TTL_RULES, description: 'how long objects are fresh, by class: of `{ cid_prefix, tag, media_type, ttl_ms, stale_while_revalidate_ms, stale_if_error_ms }` the first counts of which all conditions fit; `application/json` are manifests, `application/octet-stream` shards. Without `ttl_ms`, or where no rule fits, an object never changes; see `docs/freshness.md`' })),
  pin_max_bytes: bytes(0, 0, 'what objects of pinned CIDs may take; 0 is a quarter of what the cache may'),
  flush_interval_ms: ms(1_000, 'longest time a change of the index stays unwritten')
}, 'The shard cache.')
