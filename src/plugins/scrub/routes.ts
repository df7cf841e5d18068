import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads, writes } from '../admin/route.ts'
import { ScrubAction, ScrubReport } from '../admin/schemas.ts'
import type { ScrubService } from './scrub-service.ts'

export interface ScrubRoutesOptions {
  readonly scrub: ScrubService
}

/** `/scrub`: how much of the cache was verified, and since when. */
export const scrubRoutes: FastifyPluginAsyncTypebox<ScrubRoutesOptions> = async (app, { scrub }) => {
  const report = (): Static<typeof ScrubReport> => {
    const { status, coverage, state: { verifiedSince, pass, last } } = scrub
    return { status, bytesPerSecond: scrub.bytesPerSecond, coverage, verifiedSince, pass, last }
  }

  app.get('/scrub', reads('cache', {
    operationId: 'getScrub',
    summary: 'State of the scrub',
    description: 'How much of the cache the pass under way has verified, and what the last one has found.'
  }, ScrubReport), async () => report())

  app.post('/scrub', writes('cache', {
    operationId: 'setScrub',
    summary: 'Start a pass of the scrub, or pause it',
    description: '`start` goes on with the pass under way, or begins one; `pause` holds until then, also over a restart. Load and a drain stop either.',
    body: ScrubAction
  }, ScrubReport), async request => {
    const { action } = request.body
    if (action === 'start' && scrub.status === 'off') throw new RelayError('RELAY_ERR_BAD_REQUEST', 'scrub.bytes_per_second is 0, so nothing may be read')
    if (action === 'start') scrub.start()
    else await scrub.pause()
    request.log.warn({ action }, 'scrub set')
    return report()
  })
}
