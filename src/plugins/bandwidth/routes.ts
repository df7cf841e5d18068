import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static } from 'typebox'
import { readsSettings, writesSettings } from '../admin/route.ts'
import { BandwidthChange, BandwidthReport, BandwidthState, type BandwidthViewer } from '../admin/schemas.ts'
import type { SetSection } from '../live-config/set-section.ts'
import type { Supervisor } from '../viewers/supervisor.ts'
import type { Bandwidth } from './index.ts'

export interface BandwidthRoutesOptions {
  readonly bandwidth: Bandwidth
  readonly set: SetSection
  readonly supervisor: Supervisor | undefined
}

type Row = Static<typeof BandwidthViewer>

/** One order for viewers of both processes; also the cursor of a page. */
const place = ({ transport, id }: Row): string => `${transport} ${id}`

/** `/bandwidth`: budget, limits of one viewer, and who gets what. */
export const bandwidthRoutes: FastifyPluginAsyncTypebox<BandwidthRoutesOptions> = async (app, { bandwidth, set, supervisor }) => {
  const { keeper, viewers } = bandwidth
  const state = (): Static<typeof BandwidthState> => ({
    ...keeper.limits,
    shareBps: keeper.levelBps === undefined ? null : Math.round(keeper.levelBps),
    parts: { http: Math.round(keeper.parts.http), gateway: Math.round(keeper.parts.gateway) },
    backloggedViewers: keeper.backlogged(),
    weights: bandwidth.classes.weights,
    ladder: bandwidth.classes.ladder.map(({ name, min_bps: minBps }) => ({ rendition: name, minBps }))
  })

  const overSessions = async (): Promise<Row[]> => {
    // A gateway that is gone has no viewers.
    if (supervisor?.listening === undefined) return []
    const rows = await supervisor.sessions()
    return rows.map(({ id, transport, shareBps, rate, waitedMs }) => ({ id, transport, shareBps: shareBps === undefined ? null : Math.round(shareBps), rateBps: rate * 8, waitedMs: Math.round(waitedMs ?? 0) }))
  }

  const overHttp = (): Row[] => viewers.rows().map(({ id, shareBps, rateBps, waitedMs }) =>
    ({ id, transport: 'http', shareBps: shareBps === undefined ? null : Math.round(shareBps), rateBps: Math.round(rateBps), waitedMs: Math.round(waitedMs) }))

  app.get('/bandwidth', readsSettings('bandwidth', {
    operationId: 'getBandwidth',
    summary: 'Budget, limits, and the share of each viewer',
    description: 'Viewers are ordered by transport and id, a page at a time.',
    querystring: Type.Object({
      cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: '`next` of the page before' })),
      limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'viewers on the page' })
    }, { additionalProperties: false })
  }, BandwidthReport, 503), async request => {
    const { cursor = '', limit } = request.query
    const rows = [...overHttp(), ...await overSessions()].filter(row => place(row) > cursor)
    const page = rows.sort((a, b) => place(a) < place(b) ? -1 : 1).slice(0, limit)
    const last = page.at(-1)
    return { ...state(), viewers: page, ...last === undefined || page.length === rows.length ? {} : { next: place(last) } }
  })

  app.put('/bandwidth', writesSettings('bandwidth', {
    operationId: 'changeBandwidth',
    summary: 'Change budget and limits',
    description: 'What is left out stays. All holds over restarts, until it is dropped: `DELETE /config/overrides`.',
    body: BandwidthChange
  }, BandwidthState, 500, 503), async request => {
    await set('bandwidth', request.body, request.headers['if-match'])
    request.log.warn({ ...keeper.limits }, 'bandwidth changed')
    return state()
  })
}
