import type { FastifySchema } from 'fastify'
import Type, { type TSchema } from 'typebox'
import { REQUEST_FIELDS } from '../../protocol/request-fields.ts'
import { Cid, Problem } from '../admin/schemas.ts'

/*
 * What `openapi.yaml` says about the viewer listener. Its routes validate with the relay's own parsers, byte for byte, so these
 * schemas are documentation only; a test holds real responses against them.
 */

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Paths of `openapi.yaml` that this route stands for besides its own, which is there when it has a schema. */
    documentedAs?: Readonly<Record<string, DocumentedRoute>>
  }
}

export interface DocumentedRoute extends FastifySchema {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly tags: readonly string[]
  /** Who may ask, as the document says it; nobody needs a credential when left out. */
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[]
}

type Headers = Readonly<Record<string, TSchema>>

const text = (description: string, pattern?: string): TSchema => Type.String({ description, ...(pattern === undefined ? {} : { pattern }) })

const REQUEST_ID: Headers = { 'x-request-id': text('id of this request in the relay log') }

/** On every answer of a route; documented where they say most. */
const RATE_HEADERS: Headers = {
  'ratelimit-limit': text('requests in a second, and in one burst after a quiet one', '^\\d+$'),
  'ratelimit-remaining': text('requests left without waiting', '^\\d+$'),
  'ratelimit-reset': text('seconds, rounded up, until all of them are there again', '^\\d+$')
}

const OBJECT_HEADERS: Headers = {
  ...REQUEST_ID,
  'cache-control': text('`public, max-age=31536000, immutable`: a shard never changes; `max-age`, and where they are given `stale-while-revalidate` and `stale-if-error` (RFC 5861), as `cache.ttl` has them for what does, as manifests; `public, max-age=60` for one that no believed manifest vouches for; `no-store` for what may not be kept'),
  'cache-status': text('RFC 9211: `icn-relay; hit`, with `ttl=<seconds>` of what does not hold for ever, below 0 when it is stale and served until it was fetched again; `fwd=uri-miss`, with `collapsed` when it joined a fetch under way; or `fwd=stale` when its time was over: super-nodes were asked first, and have the same (`ttl`), sent it, or could not be asked (`ttl` below 0, and the code of the error as `detail`). A hit has `age` (RFC 9111 §5.1) as well', '^icn-relay; (hit(; ttl=-?\\d+)?|fwd=(uri-miss|stale)(; collapsed)?(; ttl=-?\\d+)?(; detail=RELAY_ERR_[A-Z_]+)?)$'),
  'server-timing': text('tier or super-node region that answered, and how long opening took, ms'),
  etag: text('`"sha256-<hex>"`; absent while nothing vouches for the object', '^"sha256-[0-9a-f]{64}"$')
}

const BODY_HEADERS: Headers = {
  ...OBJECT_HEADERS,
  ...RATE_HEADERS,
  'accept-ranges': text('`bytes`', '^bytes$'),
  'content-length': text('bytes of the body', '^\\d+$'),
  'repr-digest': text('RFC 9530: SHA-256 of the whole object, also beside a part of it; absent while nothing vouches for it', '^sha-256=:[A-Za-z0-9+/]{43}=:$')
}

const SHARED_HEADERS: Headers = {
  'cmsd-dynamic': text('CTA-5006, while bandwidth is limited: `"icn-relay";mb=<kbit/s>;icn-rendition="<name>"`, what the viewer can count on and the rendition that fits', '^"icn-relay";mb=\\d+;icn-rendition="[A-Za-z0-9._-]+"$')
}

const CONTENT_RANGE = (description: string, pattern: string): Headers => ({ 'content-range': text(description, pattern) })

const PROBLEMS: Record<number, string> = {
  400: 'Malformed path, range or request; no host, or more than one',
  401: 'No token, or one that is unknown, malformed, badly signed, expired or not valid yet',
  403: 'The token or signature is for other objects, or the signature for another address',
  404: 'No super-node has the object',
  405: 'Method other than GET, HEAD and OPTIONS',
  408: 'The request head did not arrive in time',
  416: 'The range starts beyond the object',
  429: 'Too many requests of this address in a second',
  431: 'The request head is larger than 16 KiB',
  451: 'The relay must not serve the object (RFC 7725)',
  500: 'Internal error',
  502: 'The super-nodes failed, or sent an object that is not what its digest or its manifest says, or one that nothing vouches for while that is refused',
  503: 'Too many objects are being fetched, the relay is overloaded and does not have the object, or it is stopping',
  504: 'No super-node answered in time, or the object is not in the cache and the request says `only-if-cached`',
  508: 'The request has passed this relay before, or too many others'
}

const PROBLEM_HEADERS: Record<number, Headers> = {
  401: { 'www-authenticate': text('RFC 6750 §3: `Bearer`, with `error="invalid_token"` when there was a token', '^Bearer( error="invalid_token", error_description="[^"]+")?$') },
  403: { 'www-authenticate': text('RFC 6750 §3: `Bearer error="insufficient_scope"`', '^Bearer error="insufficient_scope", error_description="[^"]+"$') },
  405: { allow: text('`GET, HEAD, OPTIONS`') },
  416: CONTENT_RANGE('size of the object', '^bytes \\*/\\d+$'),
  429: { ...RATE_HEADERS, 'retry-after': text('seconds until one more is served') },
  502: { 'retry-after': text('seconds') },
  503: { 'retry-after': text('seconds') }
}

/** Answered on the bare socket, before there is a request with an id. */
const WITHOUT_ID = new Set([408, 431])

function problemResponses (statuses: readonly number[]): Record<number, object> {
  return Object.fromEntries(statuses.map(status => [status, {
    description: PROBLEMS[status] ?? 'Error',
    ...(WITHOUT_ID.has(status) ? {} : { headers: { ...REQUEST_ID, ...PROBLEM_HEADERS[status] } }),
    content: { 'application/problem+json': { schema: Problem } }
  }]))
}

/** What stands beside `sig` in a signed URL; the credentials themselves are security schemes of the document. */
const SIGNED = Type.Object({
  exp: Type.Optional(text('signed URL: Unix time from which it is refused, seconds', '^[1-9]\\d{0,11}$')),
  kid: Type.Optional(text('signed URL: id of the key', '^[A-Za-z0-9._-]{1,64}$')),
  prefix: Type.Optional(text('signed URL: opens all paths below this one instead of the one it stands on', '^/shards/([A-Za-z0-9_-]{1,128}/)?$')),
  viewer: Type.Optional(text('signed URL: who it was made for')),
  ip: Type.Optional(text('signed URL: the one address it may be used from')),
  class: Type.Optional(text('signed URL: weight class', '^[A-Za-z0-9_-]{1,32}$'))
})

/** One of them has to be there with `auth.require`, none otherwise. */
const VIEWER_SECURITY = [{ viewerToken: [] }, { viewerTokenInQuery: [] }, { signedUrl: [] }, {}]

function objectRoute (operationId: string, summary: string, description: string, params: TSchema, mediaType: string, body: TSchema): DocumentedRoute {
  const content = { [mediaType]: { schema: body } }
  return {
    operationId,
    summary,
    description,
    tags: ['viewer'],
    params,
    querystring: SIGNED,
    security: VIEWER_SECURITY,
    headers: Type.Object({
      ...Object.fromEntries(Object.entries(REQUEST_FIELDS).map(([name, description]) => [name, Type.Optional(text(description))])),
      via: Type.Optional(text('RFC 9110 §7.6.3: relays and proxies the request has passed; sent on to super-nodes'))
    }),
    response: {
      200: { description: 'The object', headers: { ...BODY_HEADERS, ...SHARED_HEADERS }, content },
      206: { description: 'The bytes of the range', headers: { ...BODY_HEADERS, ...SHARED_HEADERS, ...CONTENT_RANGE('bytes sent and size of the object', '^bytes \\d+-\\d+/\\d+$') }, content },
      304: { description: 'The object is the one named by if-none-match', headers: OBJECT_HEADERS, type: 'null' },
      ...problemResponses([400, 401, 403, 404, 405, 408, 416, 429, 431, 451, 500, 502, 503, 504, 508])
    }
  }
}

const BREAKS = 'A body found bad on the way ends with a broken transfer and never as a complete one.'

export const OBJECT_DOCS: Readonly<Record<string, DocumentedRoute>> = {
  '/shards/:cid/shard_:n.bin': objectRoute(
    'getShard',
    'One shard of a video',
    `A shard that is not cached is fetched from a super-node, once for all who wait, and stored whole whatever range is asked for. ${BREAKS}`,
    Type.Object({ cid: Cid, n: Type.String({ pattern: '^(0?[0-9]|1[0-3])$', description: 'shard number 0 to 13; `05` and `5` are the same shard' }) }),
    'application/octet-stream',
    Type.String({ format: 'binary' })
  ),
  '/shards/:cid/manifest.json': objectRoute(
    'getManifest',
    'The manifest of a video',
    `The manifest as the super-nodes publish it. ${BREAKS}`,
    Type.Object({ cid: Cid }),
    'application/json',
    Type.Object({}, { description: 'hashes of the shards, size, Merkle root, signature' })
  )
}

const PLAYER_HEADERS: Headers = { ...REQUEST_ID, 'cache-control': text('`no-cache`'), 'content-security-policy': text('own scripts and styles only') }

export const PLAYER_DOCS: Readonly<Record<string, DocumentedRoute>> = {
  '/player/index.html': {
    operationId: 'getPlayerPage',
    summary: 'Demo player page',
    description: 'Served while `viewer.player` is true, with its scripts and styles beside it; `/player/` is the same page.',
    tags: ['player'],
    response: {
      200: { description: 'The page', headers: PLAYER_HEADERS, content: { 'text/html': { schema: Type.String() } } },
      ...problemResponses([400, 404, 429])
    }
  }
}

const toPlayer = (operationId: string): DocumentedRoute => ({
  operationId,
  summary: 'Redirect to the demo player page',
  description: 'Served while `viewer.player` is true; the query goes along.',
  tags: ['player'],
  response: { 302: { description: 'To /player/', headers: { ...REQUEST_ID, location: text('`/player/`, with the query') }, type: 'null' }, ...problemResponses([400, 429]) }
})

export const ROOT_REDIRECT = toPlayer('redirectToPlayerPage')
export const PLAYER_REDIRECT = toPlayer('redirectToPlayerFolder')

export const RECENT_VIDEOS: DocumentedRoute = {
  operationId: 'listRecentVideos',
  summary: 'Videos in the cache',
  description: 'What the demo player page offers when it is given no CID: videos whose manifest is cached, newest first, at most 20. Served while `viewer.player` is true and `auth.require` is not.',
  tags: ['player'],
  response: {
    200: {
      description: 'The videos',
      headers: PLAYER_HEADERS,
      content: { 'application/json': { schema: Type.Object({ videos: Type.Array(Type.Object({ cid: Cid, storedAt: Type.String({ format: 'date-time', description: 'when the relay stored the manifest' }) })) }) } }
    },
    ...problemResponses([400, 429])
  }
}
