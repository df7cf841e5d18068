import { mkdtemp, rm } from 'node:fs/promises'
import { STATUS_CODES } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import { buildApp } from '../src/app.ts'
import { createLogger } from '../src/base/log.ts'
import { VERSION } from '../src/base/version.ts'
import { checkConfig } from '../src/config/config.ts'
import type { AdminScope } from '../src/plugins/admin/access.ts'
import * as schemas from '../src/plugins/admin/schemas.ts'
import * as jobSchemas from '../src/plugins/jobs/schemas.ts'
import { Summary } from '../src/plugins/summary/schemas.ts'

type Listener = 'admin' | 'viewer'
type Json = Record<string, unknown>

export interface Operation {
  operationId?: string
  summary?: string
  tags?: string[]
  parameters?: { name: string, in: string, required?: boolean, schema: Json }[]
  requestBody?: { content: Record<string, { schema: Json }> }
  security?: Record<string, string[]>[]
  responses: Record<string, { description: string, headers?: Record<string, { schema: { pattern?: string } }>, content?: Record<string, { schema: Json }> }>
}

export interface OpenApiDocument {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, Json>, readonly securitySchemes: Record<string, Json> }
}

/** A route as it was registered, to hold the document against. */
export interface RegisteredRoute {
  readonly listener: Listener
  readonly method: readonly string[]
  readonly url: string
  readonly documented: boolean
}

const SERVERS: Record<Listener, Json> = {
  viewer: { url: 'http://127.0.0.1:9003', description: 'viewer listener' },
  admin: { url: 'http://127.0.0.1:9103', description: 'admin listener' }
}

const TAGS = [
  { name: 'bandwidth', description: 'Bandwidth shared by viewers' },
  { name: 'cache', description: 'The shard cache' },
  { name: 'config', description: 'The configuration in force' },
  { name: 'dashboard', description: 'The dashboard of the admin listener' },
  { name: 'denylist', description: 'What must not be served' },
  { name: 'integrity', description: 'Whether objects are what their manifests say' },
  { name: 'jobs', description: 'Work that operators ask for: repairing a video, warming videos' },
  { name: 'limits', description: 'What viewers may do in a second' },
  { name: 'log', description: 'What is logged, and responses as they end' },
  { name: 'observability', description: 'Liveness, readiness and metrics, which need no token, and the state of the relay in one answer' },
  { name: 'overload', description: 'How overloaded the relay is' },
  { name: 'p2p', description: 'Peers of libp2p, and what was found through them' },
  { name: 'player', description: 'The demo player page' },
  { name: 'region', description: 'Where the relay stands' },
  { name: 'upstreams', description: 'The super-nodes' },
  { name: 'usage', description: 'What was served, by CID and by subject' },
  { name: 'viewer', description: 'Objects for viewers' },
  { name: 'viewers', description: 'Viewer sessions over WebTransport and WebSocket' }
]

const SECURITY_SCHEMES = {
  adminRead: { type: 'http', scheme: 'bearer', description: 'A token of `[admin] tokens` with scope `read` or `write`, or the one that the relay has made. With `admin.loopback_without_token` and no tokens none is needed, and the API answers on loopback only.' },
  adminPurge: { type: 'http', scheme: 'bearer', description: 'A token of `[admin] tokens` with scope `purge` or `write`, or the one that the relay has made. One with `cid_prefixes` may purge CIDs and prefixes that begin so, and nothing else. With `admin.loopback_without_token` and no tokens none is needed, and the API answers on loopback only.' },
  adminWrite: { type: 'http', scheme: 'bearer', description: 'A token of `[admin] tokens` with scope `write`, or the one that the relay has made. With `admin.loopback_without_token` and no tokens none is needed, and the API answers on loopback only.' },
  requestedWith: { type: 'apiKey', in: 'header', name: 'x-requested-with', description: 'Any value. Where no admin token is needed, a write without a JSON body needs this header, which a foreign web page cannot send.' },
  signedUrl: { type: 'apiKey', in: 'query', name: 'sig', description: 'Signed URL: base64url of the HMAC-SHA-256 of the other parameters and the path, 43 characters; `exp` and `kid` go with it.' },
  viewerToken: { type: 'http', scheme: 'bearer', description: 'A static token or JWT of `[auth]`.' },
  viewerTokenInQuery: { type: 'apiKey', in: 'query', name: 'token', description: 'The same token, where no header can be set.' }
} as const

/** Schemas that get a name; every place that repeats one refers to it. */
const COMPONENTS: Record<string, TSchema> = {
  Problem: schemas.Problem,
  CacheManifest: schemas.CacheManifest,
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
  Job: jobSchemas.JobReport,
  NewRepair: jobSchemas.NewRepair,
  NewWarm: jobSchemas.NewWarm,
  RepairJob: jobSchemas.RepairReport,
  WarmJob: jobSchemas.WarmReport,
  RegionReport: schemas.RegionReport,
  OverloadReport: schemas.OverloadReport,
  Health: schemas.Health,
  Ready: schemas.Ready,
  Summary
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

/** A schema for whoever sends: what has a default may be left out, which TypeBox, for whoever reads, calls required. */
function asSent (schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null || !('required' in schema)) return schema
  const { required, ...rest } = schema as { required: string[], properties?: Record<string, Json> }
  const needed = required.filter(name => rest.properties?.[name]?.['default'] === undefined)
  return needed.length === 0 ? rest : { ...rest, required: needed }
}

/** Who may ask. With `admin.loopback_without_token` and no tokens the admin API needs none, and then answers on loopback only. */
function securityOf (url: string, { scope = 'read' }: { scope?: AdminScope }, hasBody: boolean): Record<string, string[]>[] {
  if (!url.startsWith('/admin/v1')) return []
  return scope === 'read' ? [{ adminRead: [] }, {}] : [{ [scope === 'purge' ? 'adminPurge' : 'adminWrite']: [] }, hasBody ? {} : { requestedWith: [] }]
}

/** Documents the routes of one listener while they are registered. */
async function document (app: FastifyInstance, listener: Listener, routes: RegisteredRoute[]): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'icn-relay', version: VERSION },
      // The plugin looks the schemes up, to leave out parameters that are credentials.
      components: { securitySchemes: SECURITY_SCHEMES }
    },
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => {
      if (!isDocumented(schema)) return { schema: { hide: true }, url }
      const { querystring } = schema
      const body = route.config?.documentedBody ?? schema.body
      return {
        schema: {
          security: securityOf(url, route.config ?? {}, body !== undefined),
          ...schema,
          ...body === undefined ? {} : { body: asSent(body) },
          ...querystring === undefined ? {} : { querystring: asSent(querystring) }
        },
        url
      }
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
  // The routes to GET an object stand for HEAD too.
  const { operationId = '' } = operation
  return { ...operation, operationId: method === 'head' ? operationId.replace(/^get/, 'head') : operationId, responses: Object.fromEntries(responses) }
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
      paths[url] = { ...listener === 'viewer' ? { servers: [SERVERS.viewer] } : {}, ...Object.fromEntries(Object.entries(operations).map(([method, operation]) => [method, finished(method, operation)])) }
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
        contact: { name: 'The maintainers of icn-relay' },
        license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' }
      },
      servers: [SERVERS.admin],
      tags: TAGS,
      paths: withReferences(paths, components),
      components: {
        securitySchemes: SECURITY_SCHEMES,
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
