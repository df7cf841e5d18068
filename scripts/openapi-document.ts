import { mkdtemp, rm } from 'node:fs/promises'
import { STATUS_CODES } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import * as schemas from '../src/admin/schemas.ts'
import { buildApp } from '../src/app.ts'
import { checkConfig } from '../src/config.ts'
import { createLogger } from '../src/log.ts'
import { VERSION } from '../src/version.ts'

type Listener = 'admin' | 'viewer'
type Json = Record<string, unknown>

export interface Operation {
  summary?: string
  tags?: string[]
  parameters?: { name: string, in: string, required?: boolean, schema: Json }[]
  responses: Record<string, { description: string, headers?: Record<string, { schema: { pattern?: string } }>, content?: Record<string, { schema: Json }> }>
}

export interface OpenApiDocument {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, Json> }
}

/** A route as it was registered, to hold the document against. */
export interface RegisteredRoute {
  readonly listener: Listener
  readonly method: readonly string[]
  readonly url: string
  readonly documented: boolean
}

const SERVERS: Record<Listener, Json> = {
  viewer: { url: 'http://localhost:9003', description: 'viewer listener' },
  admin: { url: 'http://127.0.0.1:9103', description: 'admin listener' }
}

const TAGS = [
  { name: 'viewer', description: 'Objects for viewers' },
  { name: 'player', description: 'The demo player page' },
  { name: 'observability', description: 'Liveness, readiness, metrics; no token needed' },
  { name: 'cache', description: 'The shard cache' },
  { name: 'upstreams', description: 'The super-nodes' },
  { name: 'bandwidth', description: 'Bandwidth shared by viewers' },
  { name: 'region', description: 'Where the relay stands' },
  { name: 'limits', description: 'What viewers may do in a second' },
  { name: 'overload', description: 'How overloaded the relay is' },
  { name: 'viewers', description: 'Viewer sessions over WebTransport and WebSocket' }
]

/** Schemas that get a name; every place that repeats one refers to it. */
const COMPONENTS: Record<string, TSchema> = {
  Problem: schemas.Problem,
  CacheStats: schemas.CacheStats,
  Capacity: schemas.Capacity,
  EntryPage: schemas.EntryPage,
  Entry: schemas.Entry,
  Purged: schemas.Purged,
  Imported: schemas.Imported,
  Upstreams: schemas.Upstreams,
  UpstreamNode: schemas.UpstreamNode,
  BandwidthChange: schemas.BandwidthChange,
  BandwidthState: schemas.BandwidthState,
  BandwidthViewer: schemas.BandwidthViewer,
  BandwidthReport: schemas.BandwidthReport,
  Override: schemas.Override,
  RegionReport: schemas.RegionReport,
  OverloadReport: schemas.OverloadReport,
  Health: schemas.Health,
  Ready: schemas.Ready
}

/** The schema as plain data, without what TypeBox keeps beside it. */
function plain (value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json
}

function withReferences (value: unknown, components: Record<string, Json>, self?: string): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(item => withReferences(item, components))
  const name = Object.keys(components).find(key => key !== self && isDeepStrictEqual(components[key], value))
  if (name !== undefined) return { $ref: `#/components/schemas/${name}` }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withReferences(item, components)]))
}

function isDocumented (schema: unknown): boolean {
  return typeof schema === 'object' && schema !== null && 'summary' in schema
}

/** Documents the routes of one listener while they are registered. */
async function document (app: FastifyInstance, listener: Listener, routes: RegisteredRoute[]): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'icn-relay', version: VERSION },
      components: { securitySchemes: { adminToken: { type: 'http', scheme: 'bearer' } } }
    },
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => {
      if (!isDocumented(schema)) return { schema: { hide: true }, url }
      if (!url.startsWith('/admin/v1')) return { schema, url }
      // Without any token configured the API needs none, and then answers on loopback only.
      return { schema: { ...schema, security: [{ adminToken: [route.config?.scope ?? 'read'] }, {}] }, url }
    }
  })
  const extra = new Set<RouteOptions['url']>()
  app.addHook('onRoute', route => {
    // A HEAD route of its own is the one Fastify adds to every GET.
    if (extra.has(route.url) || route.method === 'HEAD') return
    const { documentedAs } = route.config ?? {}
    routes.push({ listener, method: [route.method].flat(), url: route.url, documented: isDocumented(route.schema) || documentedAs !== undefined })
    for (const [url, schema] of Object.entries<FastifySchema>(documentedAs ?? {})) {
      extra.add(url)
      app.route({ method: route.method, url, schema, handler: async () => {} })
    }
  })
}

/** The operation as it is published: a response to HEAD has no content, and one without a description is called by its status. */
function finished (method: string, operation: Operation): Operation {
  const responses = Object.entries(operation.responses).map(([status, { content, description, ...response }]) => [status, {
    description: description === 'Default Response' ? STATUS_CODES[status] ?? status : description,
    ...response,
    ...(method === 'head' || content === undefined ? {} : { content })
  }] as const)
  return { ...operation, responses: Object.fromEntries(responses) }
}

/** Builds both listeners without opening a port and describes them in one document. */
export async function buildDocument (): Promise<{ document: OpenApiDocument, routes: RegisteredRoute[] }> {
  const path = await mkdtemp(join(tmpdir(), 'icn-relay-openapi-'))
  const instances = new Map<Listener, FastifyInstance>()
  const routes: RegisteredRoute[] = []
  const relay = await buildApp(checkConfig({ cache: { path }, viewer: { player: true } }), {
    logger: createLogger('silent'),
    onInstance: async (app, listener) => {
      instances.set(listener, app)
      await document(app, listener, routes)
    }
  })
  const components = Object.fromEntries(Object.entries(COMPONENTS).map(([name, schema]) => [name, plain(schema)]))
  const paths: Record<string, unknown> = {}
  for (const listener of ['viewer', 'admin'] as const) {
    const described = plain(instances.get(listener)?.swagger())['paths'] as OpenApiDocument['paths']
    for (const [url, operations] of Object.entries(described)) {
      paths[url] = { servers: [SERVERS[listener]], ...Object.fromEntries(Object.entries(operations).map(([method, operation]) => [method, finished(method, operation)])) }
    }
  }
  await relay.close()
  await rm(path, { recursive: true, force: true })
  return {
    document: {
      openapi: '3.1.0',
      info: {
        title: 'icn-relay',
        version: VERSION,
        description: 'HTTP contract of the regional relay: the viewer listener and the admin listener. Generated by `npm run openapi`; do not edit.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      tags: TAGS,
      paths: withReferences(paths, components),
      components: {
        securitySchemes: { adminToken: { type: 'http', scheme: 'bearer', description: 'A token of `[admin] tokens`. While none is configured none is needed, and the API answers on loopback only.' } },
        schemas: Object.fromEntries(Object.entries(components).map(([name, schema]) => [name, withReferences(schema, components, name)]))
      }
    } as unknown as OpenApiDocument,
    routes
  }
}

/** The text of `openapi.yaml`. */
export function documentText (document: OpenApiDocument): string {
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 140 })
}
