import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { reads, writes } from '../admin/route.ts'
import { OverloadOverride, OverloadReport } from '../admin/schemas.ts'
import type { Overload } from './overload.ts'

export interface OverloadRoutesOptions {
  readonly overload: Overload
  /** Where new sessions are sent while shedding. */
  readonly redirectTo: () => readonly string[]
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

/** `/overload`: how overloaded the relay is, and drills. */
export const overloadRoutes: FastifyPluginAsyncTypebox<OverloadRoutesOptions> = async (app, { overload, redirectTo, now }) => {
  const report = (): Static<typeof OverloadReport> => {
    const { state, since, override, measured, reason } = overload
    return {
      state,
      since,
      override: override ?? null,
      measured,
      reason: reason ?? null,
      redirectTo: [...redirectTo()],
      signals: overload.signals(),
      transitions: [...overload.transitions]
    }
  }

  app.get('/overload', reads('overload', {
    operationId: 'getOverload',
    summary: 'State of overload',
    description: 'With its signals and its latest changes.'
  }, OverloadReport), async () => report())

  app.put('/overload', writes('overload', {
    operationId: 'setOverload',
    summary: 'Put a state in force for a drill, or go by the signals again',
    description: 'Holds until the relay restarts.',
    body: OverloadOverride
  }, OverloadReport), async request => {
    const { override } = request.body
    overload.setOverride(override === 'auto' ? undefined : override, now())
    request.log.warn({ override, state: overload.state }, 'overload set')
    return report()
  })
}
