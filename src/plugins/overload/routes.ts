import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { OverloadOverride, OverloadReport, problems } from '../admin/schemas.ts'
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

  app.get('/overload', {
    schema: {
      operationId: 'getOverload',
      summary: 'State of overload',
      description: 'With its signals and its latest changes.',
      tags: ['overload'],
      response: { 200: OverloadReport, ...problems(401, 403, 429) }
    }
  }, async () => report())

  app.put('/overload', {
    config: { scope: 'write' },
    schema: {
      operationId: 'setOverload',
      summary: 'Put a state in force for a drill, or go by the signals again',
      description: 'Holds until the relay restarts.',
      tags: ['overload'],
      body: OverloadOverride,
      response: { 200: OverloadReport, ...problems(400, 401, 403, 413, 415, 429) }
    }
  }, async request => {
    const { override } = request.body
    overload.setOverride(override === 'auto' ? undefined : override, now())
    request.log.warn({ override, state: overload.state }, 'overload set')
    return report()
  })
}
