import Type from 'typebox'
import { Bytes, Millis, OverloadReport, Ready, UpstreamNode } from '../admin/schemas.ts'

const Count = (description: string) => Type.Integer({ minimum: 0, description })
const Total = (description: string) => Type.Number({ minimum: 0, description })
const orNull = <S extends Parameters<typeof Type.Union>[0][number]>(schema: S, description: string) => Type.Union([schema, Type.Null()], { description })
const byName = (description: string) => Type.Unsafe<Record<string, number>>({ type: 'object', additionalProperties: { type: 'number', minimum: 0 }, description })

const ByTransport = Type.Object({ http: Count('over plain HTTP'), webtransport: Count('sessions'), websocket: Count('sessions') })

/** How long requests took until the first byte of the body, for percentiles of what lies between two summaries. */
const Waits = (what: string) => Type.Array(Type.Number({ minimum: 0 }), { description: `${what} by bound, each with those of the smaller bounds; the last has all` })

export const Summary = Type.Object({
  version: Type.String(),
  startedAt: Millis('when the process began; counters begin at 0 with it'),
  uptimeSeconds: Type.Number({ minimum: 0, description: 'time since then, by a clock that is never set; rates are differences of counters by differences of this' }),
  region: Type.String({ description: 'in force; empty when unknown' }),
  readiness: Ready,
  overload: Type.Object({ state: OverloadReport.properties.state, since: OverloadReport.properties.since, reason: OverloadReport.properties.reason }),
  viewers: ByTransport,
  bandwidth: Type.Object({
    totalBps: Count('budget, bits per second; 0 is unlimited'),
    shareBps: orNull(Count('bits per second'), 'what a viewer of weight 1 can count on; null when the budget is unlimited'),
    backloggedViewers: Count('viewers that wait for bandwidth most of the time')
  }),
  cache: Type.Object({
    maxBytes: Bytes('bound of the disk cache in force'),
    usedBytes: Bytes('stored, reserved and condemned bytes together'),
    freeBytes: orNull(Bytes('bytes'), 'free space of the disk; null before it was looked at'),
    entries: Count('objects on disk'),
    ramBytes: Bytes('bound of the memory tier'),
    ramUsedBytes: Bytes('of the memory tier in use'),
    fills: Count('objects being fetched')
  }),
  superNodes: Type.Array(UpstreamNode),
  gateway: orNull(Type.Object({
    up: Type.Boolean({ description: 'whether it listens' }),
    restarts: Total('times it was started again'),
    rssBytes: Bytes('resident memory')
  }), 'null where transport.engine is off'),
  process: Type.Object({
    rssBytes: Bytes('resident memory of the relay'),
    cpuSeconds: Total('CPU time of the relay'),
    gatewayCpuSeconds: Total('CPU time of all gateways that have run')
  }),
  certificate: Type.Object({
    source: Type.Union([Type.Literal('configured'), Type.Literal('self-signed')], { description: 'self-signed: renewed by the relay' }),
    notAfter: Millis('when it ends')
  }),
  config: Type.Object({
    hash: Type.String({ description: 'as in `GET /config`' }),
    reload: Type.Object({
      success: Type.Boolean(),
      at: Millis('when'),
      problem: orNull(Type.String(), 'why it was refused')
    }, { description: 'the latest reload; a start counts' }),
    restart: Count('keys with another value that a restart puts in force'),
    overrides: Count('keys set over this API')
  }),
  jobs: Type.Object({ waiting: Count('jobs'), running: Count('jobs') }),
  denylist: Type.Object({
    entries: Count('of all lists together'),
    problems: Type.Array(Type.String(), { description: 'why a list could not be had the last time' })
  }),
  totals: Type.Object({
    sentBytes: byName('body bytes to viewers, by transport'),
    receivedBytes: byName('body bytes from super-nodes, by node; those of nodes that are removed are gone'),
    hits: byName('objects served from the cache, by tier'),
    misses: Total('objects that were not in the cache'),
    failures: byName('requests for an object that failed, by error code'),
    limited: Total('requests answered with 429'),
    evictions: Total('objects that made room'),
    logLinesDropped: Total('lines and records of the logs that were lost')
  }, { description: 'since the start' }),
  firstByte: Type.Object({
    bounds: Type.Array(Type.Number(), { description: 'seconds, ascending' }),
    hits: Waits('hits'),
    misses: Waits('misses')
  }, { description: 'since the start: time from the request to the first byte of the body' })
})
