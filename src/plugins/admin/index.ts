import rateLimit from '@fastify/rate-limit'
import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { addressKey } from '../../admission/address-key.ts'
import { systemClock } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { shortened } from '../../base/logged-text.ts'
import type { Config } from '../../config/config.ts'
import { logRoutes } from '../access-log/routes.ts'
import { auditRoutes, auditWrites } from '../audit/routes.ts'
import { bandwidthRoutes } from '../bandwidth/routes.ts'
import { denylistRoutes } from '../denylist/routes.ts'
import { integrityRoutes } from '../integrity/routes.ts'
import { jobRoutes } from '../jobs/routes.ts'
import { limitsRoutes } from '../limits/routes.ts'
import { overloadRoutes } from '../overload/routes.ts'
import { p2pRoutes } from '../p2p/routes.ts'
import { pinRoutes } from '../pins/routes.ts'
import { refuseOutside } from '../purge/purge-scope.ts'
import { purgeRoutes } from '../purge/routes.ts'
import { regionRoutes } from '../region/routes.ts'
import { scrubRoutes } from '../scrub/routes.ts'
import { configRoutes } from '../live-config/routes.ts'
import { entityTag } from '../live-config/if-match.ts'
import { setSection } from '../live-config/set-section.ts'
import { summaryRoutes } from '../summary/routes.ts'
import { sizingRoutes } from '../sizing/routes.ts'
import { cacheRoutes } from '../shard-cache/routes.ts'
import { upstreamRoutes } from '../upstream/routes.ts'
import { usageRoutes } from '../usage/routes.ts'
import { viewerRoutes } from '../viewers/routes.ts'
import { AdminAccess, type AdminGrant, type AdminRequest, type AdminScope, type AdminToken } from './access.ts'
import { tokenNames } from './config.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a token needs for this route; `read` when absent. */
    scope?: AdminScope
    /** Whether it shows or replaces settings, whose answers are told apart by an entity tag. */
    settings?: boolean
    /** Whether no body means an empty object. */
    bodyIsOptional?: boolean
  }
}

/** Addresses the rate limiter remembers at most. */
const TRACKED_ADDRESSES = 5_000

/** Tokens whose files were read; the schema leaves `token` optional because a file may stand in its place. */
function tokensOf ({ admin: { tokens } }: Pick<Config, 'admin'>): AdminToken[] {
  const names = tokenNames(tokens)
  return tokens.flatMap(({ token, scope, cid_prefixes: cidPrefixes }, position) => token === undefined ? [] : [{ token, scope, cidPrefixes, name: names[position] ?? '' }])
}

/** Node joins repeated fields of these names with commas; only the type says otherwise. */
const first = (value: string | string[] | undefined): string | undefined => typeof value === 'string' ? value : value?.[0]

function adminRequest ({ headers, raw }: FastifyRequest): AdminRequest {
  return {
    authorization: headers.authorization,
    remoteAddress: raw.socket.remoteAddress,
    host: headers.host,
    origin: headers.origin,
    fetchSite: first(headers['sec-fetch-site']),
    contentType: headers['content-type'],
    requestedWith: first(headers['x-requested-with'])
  }
}

/** `/admin/v1`, behind tokens and a rate limit of its own. */
export default fp<{ config: Config }>(async (app: FastifyInstance, { config }) => {
  const access = new AdminAccess(tokensOf(config))
  const { liveConfig } = app
  liveConfig.on(['admin.tokens', 'admin.loopback_without_token'], next => () => { access.replace(tokensOf(next)) })
  liveConfig.on(['admin.requests_per_minute'], () => () => {})
  const set = setSection(liveConfig)
  /** The token of a request. */
  const grants = new WeakMap<FastifyRequest, AdminGrant>()
  await app.register(async (admin: FastifyInstance) => {
    await admin.register(rateLimit, {
      max: () => liveConfig.config.admin.requests_per_minute,
      timeWindow: 60_000,
      cache: TRACKED_ADDRESSES,
      keyGenerator: request => addressKey(request.ip),
      errorResponseBuilder: (_request, context) => new RelayError('RELAY_ERR_RATE_LIMITED', `more than ${context.max} requests in a minute`)
    })
    // After the rate limiter, which works at onRequest, so that guesses at a token are limited too; before a body is read.
    admin.addHook('preParsing', async request => {
      const { scope = 'read' } = request.routeOptions.config
      const grant = access.check(adminRequest(request), scope)
      if (grant === undefined) return
      grants.set(request, grant)
      if (scope !== 'read') request.log = request.log.child({ by: grant.name })
    })
    admin.addHook('onResponse', async (request, reply) => {
      if ((request.routeOptions.config.scope ?? 'read') !== 'read') request.log.info({ method: request.method, path: shortened(request.url.split('?')[0] ?? ''), status: reply.statusCode }, 'admin write')
    })
    const parseJson = admin.getDefaultJsonParser('error', 'error')
    admin.removeContentTypeParser(['application/json', 'text/plain'])
    // A content type is what tells a write from a form, so one without a body, or whose body may be left out, may have it too.
    admin.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
      if (body === '' && (request.routeOptions.schema?.body === undefined || request.routeOptions.config.bodyIsOptional === true)) done(null)
      else void parseJson(request, body, done)
    })
    admin.addHook('preValidation', async request => {
      if (request.body === undefined && request.routeOptions.config.bodyIsOptional === true) request.body = {}
    })
    admin.addHook('preHandler', async request => {
      const { cidPrefixes } = grants.get(request) ?? {}
      if (cidPrefixes !== undefined) refuseOutside(cidPrefixes, { ...request.body as object, ...request.params as object })
    })
    admin.addHook('onSend', async (request, reply, payload) => {
      if (request.routeOptions.config.settings === true && reply.statusCode < 300) reply.header('etag', entityTag(liveConfig.hash))
      return payload
    })
    auditWrites(admin, app.audit, request => grants.get(request)?.name, systemClock.now)
    await admin.register(auditRoutes, { audit: app.audit })
    await admin.register(usageRoutes, { usage: app.usage })
    await admin.register(logRoutes, { accessLog: app.accessLog, live: liveConfig })
    await admin.register(summaryRoutes, { summary: app.summary })
    await admin.register(viewerRoutes, { supervisor: app.viewers.supervisor, live: app.viewers.live })
    await admin.register(cacheRoutes, { cache: app.shardCache, shards: app.shards, eviction: config.cache.eviction, set })
    await admin.register(pinRoutes, app.pins)
    await admin.register(purgeRoutes, { purger: app.purger })
    await admin.register(configRoutes, { live: liveConfig })
    await admin.register(denylistRoutes, { service: app.denylist.service })
    await admin.register(sizingRoutes, { sizing: app.sizing, cache: app.shardCache, settings: config.sizing })
    await admin.register(scrubRoutes, { scrub: app.scrub })
    await admin.register(limitsRoutes, { limits: app.limits, set, handshakeAddresses: () => app.viewers.trackedAddresses() })
    await admin.register(overloadRoutes, { overload: app.overload, redirectTo: () => app.viewers.redirectTo(), now: systemClock.now })
    await admin.register(bandwidthRoutes, { bandwidth: app.bandwidth, set, supervisor: app.viewers.supervisor })
    await admin.register(regionRoutes, { detector: app.region, regions: config.region.regions, set })
    await admin.register(integrityRoutes, app.integrity)
    await admin.register(p2pRoutes, app.p2p)
    await admin.register(jobRoutes, { ...app.jobs, warm: app.warm })
    await admin.register(upstreamRoutes, { upstream: app.upstream, roster: app.nodeRoster, source: app.nodeSource, region: () => app.region.current, regions: config.region.regions })
  }, { prefix: '/admin/v1' })
}, { name: 'admin', dependencies: ['access-log', 'audit', 'bandwidth', 'denylist', 'integrity', 'jobs', 'limits', 'live-config', 'overload', 'p2p', 'pins', 'purge', 'region', 'scrub', 'shard-cache', 'sizing', 'summary', 'upstream', 'shards', 'usage', 'viewers', 'warm'] })
