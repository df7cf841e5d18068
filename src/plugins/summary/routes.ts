import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { reads } from '../admin/route.ts'
import { Summary } from './schemas.ts'

/** `/summary`: the whole relay in one answer. */
export const summaryRoutes: FastifyPluginAsyncTypebox<{ summary: () => Promise<Static<typeof Summary>> }> = async (app, { summary }) => {
  app.get('/summary', reads('observability', {
    operationId: 'getSummary',
    summary: 'The relay in one answer',
    description: 'State, and totals since the start: made for whoever looks every second, such as the dashboard. The access log takes it for a scrape.'
  }, Summary), async () => await summary())
}
