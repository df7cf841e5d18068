import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import fp from 'fastify-plugin'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { PACKAGE_ROOT } from '../../base/package-root.ts'
import type { Config } from '../../config/config.ts'
import { problems } from '../admin/schemas.ts'
import { PAGE_HEADERS } from './page-headers.ts'

/** What `npm run build` makes of `dashboard`. */
const PAGE = join(PACKAGE_ROOT, 'dist/dashboard')
const INDEX = 'index.html'

/** Files of npm packages all have one time, and the page of the next version has the same length: by those it would be taken for the one of before. */
const UNCONDITIONAL = { etag: false, lastModified: false } as const

/** A year: names of assets have a hash of what is in them. */
const FOR_EVER = 'public, max-age=31536000, immutable'

const INDEX_SCHEMA = {
  operationId: 'getDashboardPage',
  summary: 'The dashboard',
  description: 'Served while `admin.dashboard` is true, at `/` of the admin listener too. Anybody who reaches the listener may have the page; what it shows comes from `/admin/v1`.',
  tags: ['dashboard'],
  response: { 200: { description: 'The page', content: { 'text/html': { schema: Type.String() } } }, ...problems(400, 403, 404) }
}

export interface DashboardOptions {
  readonly config: Pick<Config, 'admin'>
  /** Folder of the page; that of the package by default. */
  readonly page?: string
}

/** The dashboard at `/` of the admin listener: a page that asks `/admin/v1` for all that it shows, with the token of whoever looks at it. */
export default fp<DashboardOptions>(async (app, { config, page = PAGE }) => {
  if (!config.admin.dashboard) return
  if (!existsSync(join(page, INDEX))) app.log.warn({ path: page }, 'the dashboard is not built and will not be found; run "npm run build" and start the relay again')
  await app.register(async routes => {
    await routes.register(fastifyStatic, { root: page, serve: false, cacheControl: false })
    routes.addHook('onRequest', async (_request, reply) => { reply.headers(PAGE_HEADERS) })
    const sendIndex = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => await reply.header('cache-control', 'no-cache').sendFile(INDEX, UNCONDITIONAL)
    routes.get('/', { config: { documentedAs: {} } }, sendIndex)
    routes.get(`/${INDEX}`, { schema: INDEX_SCHEMA }, sendIndex)
    routes.get<{ Params: { name: string } }>('/assets/:name', { config: { documentedAs: {} } }, async ({ params }, reply) =>
      await reply.header('cache-control', FOR_EVER).sendFile(params.name, join(page, 'assets')))
  })
}, { name: 'dashboard' })
