import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static } from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { OriginUrl } from '../../config/parts.ts'
import { reads, writes } from '../admin/route.ts'
import { Upstreams } from '../admin/schemas.ts'
import { requireRegion } from '../region/routes.ts'
import type { NodeRoster } from './node-roster.ts'
import type { NodeSource } from './sources/node-source.ts'
import type { Upstream } from './upstream.ts'

export interface UpstreamRoutesOptions {
  readonly upstream: Upstream
  readonly roster: NodeRoster
  readonly source: NodeSource
  readonly region: () => string
  /** Region names in use. */
  readonly regions: readonly string[]
}

const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: 300, description: 'host and port, as in the list' }) })

const NewNode = Type.Object({
  url: OriginUrl,
  region: Type.String({ maxLength: 32, description: 'one of region.regions' })
}, { additionalProperties: false })

const Change = Type.Object({
  state: Type.Union([Type.Literal('enabled'), Type.Literal('draining'), Type.Literal('disabled')], { description: 'draining and disabled: no new requests; bodies under way end well; health checks go on while draining and stop while disabled' })
}, { additionalProperties: false })

/** `/upstreams`: super-nodes, their state, and changes that outlive a restart. */
export const upstreamRoutes: FastifyPluginAsyncTypebox<UpstreamRoutesOptions> = async (app, { upstream, roster, source, region: current, regions }) => {
  const list = (): Static<typeof Upstreams> => ({ region: current(), nodes: upstream.status(), siblings: upstream.siblingStatus() })

  app.get('/upstreams', reads('upstreams', {
    operationId: 'listUpstreams',
    summary: 'Super-nodes and their state',
    description: 'Those of the configuration, of DNS and of this API, and the siblings.'
  }, Upstreams), async () => list())

  app.post('/upstreams', writes('upstreams', {
    operationId: 'addUpstream',
    summary: 'Add a super-node',
    description: 'It is kept over restarts.',
    body: NewNode
  }, Upstreams, 500), async request => {
    const { url, region } = request.body
    if (!URL.canParse(url)) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'url is not a URL')
    requireRegion(region, regions)
    await roster.add({ url, region })
    return list()
  })

  app.post('/upstreams/resolve', writes('upstreams', {
    operationId: 'resolveUpstreams',
    summary: 'Look up the DNS names of super-nodes now',
    description: 'Otherwise that happens when their time to live ends.'
  }, Upstreams), async () => {
    await source.refresh()
    return list()
  })

  app.patch('/upstreams/:id', writes('upstreams', {
    operationId: 'changeUpstream',
    summary: 'Drain, disable or enable a super-node',
    description: 'The change is kept over restarts.',
    params: Id,
    body: Change
  }, Upstreams, 404, 500), async request => {
    await roster.setState(request.params.id, request.body.state)
    return list()
  })

  app.delete('/upstreams/:id', writes('upstreams', {
    operationId: 'removeUpstream',
    summary: 'Remove a super-node',
    description: 'Also one of the configuration; it stays away over restarts.',
    params: Id
  }, Upstreams, 404, 500), async request => {
    await roster.remove(request.params.id)
    return list()
  })
}
