import Type from 'typebox'
import { MAX_TAGS, TAG } from '../../protocol/manifest.ts'
import { CID } from '../../protocol/shard-key.ts'

/* Schemas of the admin API: validation, serialisation and `openapi.yaml` come from these. */

export const Problem = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String({ pattern: '^RELAY_ERR_' }),
  retryable: Type.Boolean()
}, { description: 'RFC 9457 problem document' })

/** Error responses of a route, for its `response` schema. */
export function problems <S extends number> (...statuses: S[]): Record<S, { description: string, content: { 'application/problem+json': { schema: typeof Problem } } }> {
  const texts: Record<number, string> = {
    400: 'Malformed request',
    401: 'Missing or wrong token',
    403: 'Token lacks the scope, or not on loopback',
    404: 'No such entry',
    409: 'Not in a state for that',
    412: 'The settings are not those that if-match names',
    413: 'Body too large',
    415: 'Body is not JSON by its content-type',
    422: 'The configuration is not valid, nothing has changed',
    429: 'Too many requests',
    503: 'Gateway not available, or the relay is stopping'
  }
  return Object.fromEntries(statuses.map(status => [status, {
    description: texts[status] ?? 'Error',
    content: { 'application/problem+json': { schema: Problem } }
  }])) as ReturnType<typeof problems<S>>
}

const State = (description: string) => Type.Union([Type.Literal('normal'), Type.Literal('degraded'), Type.Literal('shedding')], { description })
export const Bytes = (description: string) => Type.Integer({ minimum: 0, description })
export const Millis = (description: string) => Type.Integer({ description: `${description}, milliseconds since the epoch` })

export const Part = Type.Union([Type.Integer({ minimum: 0, maximum: 13 }), Type.Literal('manifest')], { description: 'shard number, or "manifest"' })

export const Cid = Type.String({ pattern: CID.source, description: 'content identifier' })

export const Tag = Type.String({ pattern: TAG.source, description: 'name of a group of videos' })

export const PartParam = Type.String({ pattern: '^([0-9]|1[0-3]|manifest)$', description: 'shard number 0 to 13, or "manifest"' })

export const Entry = Type.Object({
  cid: Cid,
  part: Part,
  size: Bytes('bytes of the object'),
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  verified: Type.Boolean({ description: 'whether it was compared with a believed manifest' }),
  storedAt: Millis('when super-nodes had it last: when it was stored, or they were asked whether it is the same still, less the `age` with which it came'),
  lastAccess: Millis('when it was last read'),
  hits: Type.Integer({ minimum: 0 }),
  readers: Type.Integer({ minimum: 0, description: 'viewers reading it from disk now' }),
  staleSince: Type.Union([Millis('when a soft purge asked for it to be fetched again'), Type.Null()], { description: 'null when none did' }),
  freshUntil: Type.Union([Millis('when it is stale, by the rules of `cache.ttl`'), Type.Null()], { description: 'null when it never changes' }),
  tags: Type.Array(Tag, { maxItems: MAX_TAGS, description: 'of its CID: from the manifest and from warm jobs' })
})

export const EntryPage = Type.Object({
  entries: Type.Array(Entry),
  next: Type.Optional(Type.String({ description: 'cursor of the next page; absent on the last' }))
})

const Time = (description: string) => Type.Number({ minimum: 0, exclusiveMaximum: 2 ** 43, description: `${description}, milliseconds since the epoch` })

export const CacheManifest = Type.Object({
  version: Type.Literal(1),
  entries: Type.Array(Type.Object({
    cid: Cid,
    part: Part,
    size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'bytes of the object' }),
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    storedAt: Time('when it was stored'),
    lastAccess: Time('when it was last read'),
    hits: Type.Number({ minimum: 0 }),
    generation: Type.String({ pattern: '^[0-9a-z]{1,24}$', description: 'end of the name of its file' })
  }))
}, { additionalProperties: false, description: '`cache_manifest.json`: what the cache holds, to move it to another machine together with its files' })

export const CacheStats = Type.Object({
  maxBytes: Bytes('bound of the disk cache in force'),
  ramBytes: Bytes('bound of the memory tier'),
  eviction: Type.String({ description: 'eviction policy of the disk cache' }),
  disk: Type.Object({
    usedBytes: Bytes('stored, reserved and condemned bytes together; above the bound only while viewers read what a smaller bound has removed'),
    sizeBytes: Bytes('bytes of objects a lookup finds'),
    reservedBytes: Bytes('bytes promised to objects being filled'),
    condemnedBytes: Bytes('bytes of removed objects that viewers still read'),
    entries: Type.Integer({ minimum: 0 }),
    openFiles: Type.Integer({ minimum: 0 })
  }),
  ram: Type.Object({
    usedBytes: Bytes('bytes in use'),
    entries: Type.Integer({ minimum: 0 })
  }),
  fills: Type.Integer({ minimum: 0, description: 'objects being fetched' }),
  indexPending: Type.Integer({ minimum: 0, description: 'index changes not written yet' }),
  reconciled: Type.Boolean({ description: 'whether index and directory have been compared since the start' })
})

export const Capacity = Type.Object({
  maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'bound of the disk cache' })),
  ramBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'bound of the memory tier' }))
}, { additionalProperties: false, minProperties: 1 })

export const Purged = Type.Object({ purged: Type.Integer({ minimum: 0, description: 'objects removed' }) })

export const Imported = Type.Object({
  adopted: Type.Integer({ minimum: 0, description: 'files taken over' }),
  known: Type.Integer({ minimum: 0, description: 'objects that were cached already' }),
  rejected: Type.Integer({ minimum: 0, description: 'entries without a file of that size and digest' })
})

const HEALTH = [Type.Literal('up'), Type.Literal('probing'), Type.Literal('open'), Type.Literal('ejected')] as const

export const UpstreamNode = Type.Object({
  id: Type.String(),
  url: Type.String(),
  region: Type.String(),
  state: Type.Union([...HEALTH, Type.Literal('draining'), Type.Literal('disabled')], { description: 'open: failed too often and asked last; ejected: much worse than the others; draining and disabled by an operator' }),
  health: Type.Union([...HEALTH, Type.Null()], { description: 'the state it has once it is enabled; null while it is disabled and nobody looks' }),
  latencyMs: Type.Union([Type.Number(), Type.Null()], { description: 'smoothed time to response head' }),
  p95Ms: Type.Union([Type.Number(), Type.Null()], { description: '95th percentile of that time; null with too few samples' }),
  failures: Type.Integer({ minimum: 0, description: 'failures since the last success' }),
  connections: Type.Object({
    connected: Type.Integer(),
    free: Type.Integer(),
    pending: Type.Integer(),
    queued: Type.Integer()
  })
})

export const Upstreams = Type.Object({
  region: Type.String(),
  nodes: Type.Array(UpstreamNode),
  siblings: Type.Array(UpstreamNode, { description: 'the relays of upstream.siblings without this one; one that is not `up` is not asked' })
})

export const Override = Type.Object({
  override: Type.Union([Type.String({ maxLength: 32, description: 'one of region.regions' }), Type.Null()], { description: 'null: the detected region' })
}, { additionalProperties: false })

export const RegionReport = Type.Object({
  current: Type.String({ description: 'region in force; empty when unknown' }),
  source: Type.Union([Type.Literal('override'), Type.Literal('detected'), Type.Literal('default'), Type.Literal('unknown')], { description: 'default: nothing was measured yet, and all super-nodes are in this one region' }),
  override: Type.Union([Type.String(), Type.Null()]),
  detected: Type.Union([Type.String(), Type.Null()], { description: 'what detections have led to, also while an override is in force' }),
  measuredAt: Type.Union([Millis('end of the latest detection'), Type.Null()]),
  tookMs: Type.Union([Type.Number(), Type.Null()], { description: 'how long it took, milliseconds' }),
  outcome: Type.Union([Type.Literal('first'), Type.Literal('kept'), Type.Literal('pending'), Type.Literal('changed'), Type.Literal('unreachable'), Type.Null()], { description: 'pending: another region was clearly better, but not in enough detections yet' }),
  regions: Type.Array(Type.Object({
    region: Type.String(),
    latencyMs: Type.Union([Type.Number(), Type.Null()], { description: 'lowest median of its super-nodes; null when none is in reach' })
  })),
  nodes: Type.Array(Type.Object({
    id: Type.String(),
    region: Type.String(),
    samplesMs: Type.Array(Type.Union([Type.Number(), Type.Null()]), { description: 'null: failed, or not done in time' }),
    medianMs: Type.Union([Type.Number(), Type.Null()]),
    reachable: Type.Boolean()
  }))
})

const Hex = (description: string) => Type.String({ pattern: '^[0-9a-f]{64}$', description })

export const IntegrityReport = Type.Object({
  mode: Type.Union([Type.Literal('manifest'), Type.Literal('digest'), Type.Literal('none')], { description: 'cache.integrity' }),
  publishers: Type.Integer({ minimum: 0, description: 'keys in trust.publishers' }),
  quorum: Type.Integer({ minimum: 1 }),
  unverified: Type.Union([Type.Literal('serve'), Type.Literal('refuse')]),
  manifests: Type.Integer({ minimum: 0, description: 'believed manifests in memory' }),
  asking: Type.Integer({ minimum: 0, description: 'manifests that super-nodes are being asked for' }),
  quarantined: Type.Integer({ minimum: 0, description: 'pairs of super-node and object of which the one is not asked for the other' }),
  offenders: Type.Array(Type.Object({
    node: Type.String(),
    wrong: Type.Integer({ minimum: 1, description: 'wrong objects since the start' }),
    lastAt: Millis('when it sent the latest')
  }), { description: 'super-nodes that sent wrong objects, the latest first' }),
  evidence: Type.Array(Type.Object({
    nodes: Type.Array(Type.String(), { description: 'who sent the body; more than one when it went on from another, and then it cannot be told whose bytes were wrong' }),
    cid: Cid,
    part: Part,
    expected: Hex('SHA-256 that the believed manifest says'),
    received: Type.Union([Hex('SHA-256 of what came, or was announced'), Type.Null()], { description: 'null when the length alone was wrong' }),
    by: Type.Union([Type.Literal('publisher'), Type.Literal('quorum')], { description: 'why the manifest is believed' }),
    at: Millis('when')
  }), { description: 'the latest 100, the latest first' })
})

export const OverloadOverride = Type.Object({
  override: Type.Union([Type.Literal('normal'), Type.Literal('degraded'), Type.Literal('shedding'), Type.Literal('auto')], { description: 'auto: what the signals say' })
}, { additionalProperties: false })

const Band = Type.Object({ enter: Type.Number(), leave: Type.Number() })

export const OverloadReport = Type.Object({
  state: State('in force'),
  since: Millis('when it became that'),
  override: Type.Union([State('set by an operator'), Type.Null()]),
  measured: State('what the signals say, whether or not it is in force'),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'the signal behind the state, or "override"; null in peace' }),
  redirectTo: Type.Array(Type.String(), { description: 'where new sessions are sent, in turn, while shedding; refused when empty' }),
  signals: Type.Array(Type.Object({
    signal: Type.String(),
    value: Type.Union([Type.Number(), Type.Null()], { description: 'delays in milliseconds, the others as a share of their bound; null when there is none' }),
    ratio: Type.Number({ description: 'of where degraded begins' }),
    state: State('what this signal alone makes of it'),
    thresholds: Type.Object({ degraded: Band, shedding: Band })
  })),
  transitions: Type.Array(Type.Object({
    at: Millis('when'),
    from: State('before'),
    to: State('after'),
    signal: Type.String({ description: 'what led into the worse of the two, or "override"' }),
    value: Type.Union([Type.Number(), Type.Null()])
  }), { description: 'the latest 50, oldest first' })
})

const SCRUB_COUNTS = {
  startedAt: Type.Number({ description: 'when it began, milliseconds since the epoch' }),
  bytes: Bytes('bytes of files that were right'),
  verified: Type.Integer({ minimum: 0, description: 'objects whose files were right' }),
  rotted: Type.Integer({ minimum: 0, description: 'objects evicted since their bytes had changed' }),
  unreadable: Type.Integer({ minimum: 0, description: 'objects evicted since their files were missing, of another size or not readable' }),
  skipped: Type.Integer({ minimum: 0, description: 'objects whose files could not be read in time' })
}

export const ScrubReport = Type.Object({
  status: Type.Union([Type.Literal('off'), Type.Literal('paused'), Type.Literal('running'), Type.Literal('waiting')], { description: 'waiting: for the next pass, or until load or a drain allow it' }),
  bytesPerSecond: Bytes('what it may read in a second, bytes'),
  coverage: Type.Number({ minimum: 0, maximum: 1, description: 'share of the bytes of the cache that the pass under way, or else the last one, has verified' }),
  verifiedSince: Type.Union([Type.Number(), Type.Null()], { description: 'every cached file was verified or stored since then, milliseconds since the epoch; null before the first complete pass' }),
  pass: Type.Union([Type.Object({ ...SCRUB_COUNTS, cursor: Type.String({ description: 'the object it is through with; objects are ordered by key' }) }), Type.Null()], { description: 'the pass under way' }),
  last: Type.Union([Type.Object({ ...SCRUB_COUNTS, endedAt: Type.Number({ description: 'when it ended, milliseconds since the epoch' }) }), Type.Null()], { description: 'the last pass that has ended' })
})

export const ScrubAction = Type.Object({
  action: Type.Union([Type.Literal('start'), Type.Literal('pause')])
}, { additionalProperties: false })

const Bps = (description: string) => Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: `${description}, bits per second` })

const BANDWIDTH_LIMITS = {
  totalBps: Bps('budget for all viewers; 0 is unlimited'),
  viewerCapBps: Bps('what one viewer gets at most; 0 is unlimited'),
  viewerFloorBps: Bps('what one viewer gets before the rest is shared'),
  burstBytes: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'what may be sent in one burst after a calm time; 0 chooses by the budget' })
}

export const BandwidthChange = Type.Partial(Type.Object(BANDWIDTH_LIMITS), { additionalProperties: false, minProperties: 1 })

const BANDWIDTH_STATE = {
  ...BANDWIDTH_LIMITS,
  shareBps: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'what a viewer of weight 1 can count on, bits per second; null when the budget is unlimited' }),
  parts: Type.Object({
    http: Type.Integer({ minimum: 0 }),
    gateway: Type.Integer({ minimum: 0 })
  }, { description: 'how the budget is split between viewers over HTTP and those of the gateway now, bits per second' }),
  backloggedViewers: Type.Integer({ minimum: 0, description: 'viewers that wait for bandwidth most of the time' }),
  weights: Type.Unsafe<Record<string, number>>({ type: 'object', additionalProperties: { type: 'number' }, description: 'by class of viewers' }),
  ladder: Type.Array(Type.Object({ rendition: Type.String(), minBps: Type.Integer({ minimum: 0 }) }))
}

export const BandwidthState = Type.Object(BANDWIDTH_STATE)

export const BandwidthViewer = Type.Object({
  id: Type.String({ description: 'session, as in /viewers; over HTTP `ip <address>`, IPv6 by /64, or `id <identity>`; `others` share one place' }),
  transport: Type.String({ description: 'webtransport, websocket or http' }),
  shareBps: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'what it has or would have when busy, bits per second; null when nothing limits it' }),
  rateBps: Type.Integer({ minimum: 0, description: 'what it got of late, bits per second' }),
  waitedMs: Type.Integer({ minimum: 0, description: 'how long it has waited for bandwidth so far' })
})

export const BandwidthReport = Type.Object({
  ...BANDWIDTH_STATE,
  viewers: Type.Array(BandwidthViewer),
  next: Type.Optional(Type.String({ description: 'cursor of the next page; absent on the last' }))
})

export const Health = Type.Object({
  status: Type.Union([Type.Literal('starting'), Type.Literal('ok'), Type.Literal('stopping')]),
  version: Type.String(),
  uptime_seconds: Type.Integer({ minimum: 0 }),
  cache_size_bytes: Bytes('bytes of cached objects on disk'),
  viewer_connections: Type.Integer({ minimum: 0 })
})

export const Ready = Type.Object({
  ready: Type.Boolean(),
  loaded: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'while starting: share of the cache index that is checked and loaded' })),
  checks: Type.Object({
    viewer: Type.Union([Type.Literal('listening'), Type.Literal('draining'), Type.Literal('closed')]),
    cache: Type.Union([Type.Literal('loading'), Type.Literal('ok'), Type.Literal('reconciling'), Type.Literal('hung'), Type.Literal('full'), Type.Literal('failing'), Type.Literal('index')], { description: 'hung: the disk does not answer; full: it has no room; failing: it does not store; index: the index is not written' }),
    upstream: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down'), Type.Literal('unknown')]),
    overload: State('shedding: not ready')
  })
})
