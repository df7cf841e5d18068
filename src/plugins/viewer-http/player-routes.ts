import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PACKAGE_ROOT } from '../../base/package-root.ts'
import { endJsonLines } from '../http/end-line.ts'
import type { RecentVideo } from '../shard-cache/recent-manifests.ts'
import { PLAYER_DOCS, PLAYER_REDIRECT, RECENT_VIDEOS, ROOT_REDIRECT } from './viewer-docs.ts'

/** Videos the page offers at most: a list somebody reads. */
const OFFERED = 20

const PAGE = join(PACKAGE_ROOT, 'demo/player')
/** What `npm run build` makes of `src/client` for browsers. */
const LIBRARY = join(PACKAGE_ROOT, 'dist/browser')

/** A name that can stand in a content security policy; an IPv6 address cannot (CSP3 §2.3.1 host-part). */
const POLICY_HOST = /^[A-Za-z0-9.-]{1,253}$/

/**
 * The page connects to this relay alone, on whatever ports its transports have, and to relays of the same name that it is sent to.
 * @param hostname under which the page was asked for
 */
export function playerPolicy (hostname: string, protocol: string): string {
  // The transports of a relay on localhost may name its address.
  const names = POLICY_HOST.test(hostname) ? [`//${hostname}:*`, ...hostname.endsWith('localhost') ? ['//127.0.0.1:*'] : []] : ['']
  // An https page may not load over http, so that scheme would say nothing there.
  const schemes = ['https:', 'wss:', ...protocol === 'http' ? ['http:'] : []]
  const connect = names.flatMap(name => schemes.map(scheme => scheme + name))
  return [
    "default-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'",
    `connect-src 'self' ${connect.join(' ')}`,
    "media-src 'self' blob:",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'"
  ].join('; ')
}

export interface PlayerOptions {
  /** Folder of the page. */
  readonly page?: string
  /** Folder of the client library. */
  readonly library?: string
  /** Cached videos, newest first, for a page that was given no CID; absent where not everybody may know of them. */
  readonly recentVideos?: ((limit: number) => readonly RecentVideo[]) | undefined
}

/** To the page, with the query it was asked for. */
async function toPage (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const query = request.url.indexOf('?')
  return await reply.redirect(`/player/${query < 0 ? '' : request.url.slice(query)}`)
}

/** `/player/`: the demo page, and under `client/` the client library built for browsers. */
export async function playerRoutes (viewer: FastifyInstance, { page = PAGE, library = LIBRARY, recentVideos }: PlayerOptions): Promise<void> {
  if (!existsSync(page)) {
    viewer.log.error({ path: page }, 'viewer.player is on but this installation has no player page; run the relay from the repository')
    return
  }
  viewer.addHook('onRequest', async ({ host, hostname, protocol }, reply) => {
    reply.header('cache-control', 'no-cache')
    reply.header('content-security-policy', playerPolicy((host ?? '') === '' ? '' : hostname, protocol))
    reply.header('x-content-type-options', 'nosniff')
  })
  await viewer.register(fastifyStatic, { root: page, prefix: '/player/', cacheControl: false })
  if (existsSync(join(library, 'client.js'))) {
    await viewer.register(fastifyStatic, { root: library, prefix: '/player/client/', cacheControl: false, decorateReply: false })
  } else {
    viewer.log.warn({ path: library }, 'the player page has no client library and will not play; run "npm run build" and start the relay again')
  }
  viewer.get('/', { schema: ROOT_REDIRECT, config: { documentedAs: PLAYER_DOCS } }, toPage)
  viewer.get('/player', { schema: PLAYER_REDIRECT }, toPage)
  if (recentVideos !== undefined) {
    await viewer.register(async routes => {
      endJsonLines(routes)
      routes.get('/player/recent', { schema: RECENT_VIDEOS }, async () => ({
        videos: recentVideos(OFFERED).map(({ cid, storedAt }) => ({ cid, storedAt: new Date(storedAt).toISOString() }))
      }))
    })
  }
}
