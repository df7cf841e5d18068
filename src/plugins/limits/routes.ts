import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static, type TInteger } from 'typebox'
import { readsSettings, writesSettings } from '../admin/route.ts'
import type { SetSection } from '../live-config/set-section.ts'
import type { Limits } from './limits.ts'

export interface LimitsRoutesOptions {
  readonly limits: Limits
  readonly set: SetSection
  /** Addresses that the handshake limiter of the gateway remembers. */
  readonly handshakeAddresses: () => number
}

/** One upper bound for all of them, as in the configuration. */
const MAX_NUMBER = 1_000_000

const NUMBERS = {
  handshakesPerSecond: 'handshakes of viewer sessions in total',
  handshakesPerSecondPerIp: 'handshakes of viewer sessions of one address',
  trackedIps: 'addresses each table remembers at most',
  requestsPerSecondPerViewer: 'requests of one address, over all its sessions and HTTP',
  connectionsPerIp: 'viewer HTTP connections of one address at the same time'
} as const

const numbers = <T>(make: (description: string) => T): Record<keyof typeof NUMBERS, T> =>
  Object.fromEntries(Object.entries(NUMBERS).map(([name, description]) => [name, make(description)])) as Record<keyof typeof NUMBERS, T>

const Limit = (description: string): TInteger => Type.Integer({ minimum: 1, maximum: MAX_NUMBER, description })
const Count = (description: string): TInteger => Type.Integer({ minimum: 0, description })

const Numbers = Type.Object(numbers(Limit))
const Change = Type.Object(numbers(description => Type.Optional(Limit(description))), { additionalProperties: false, minProperties: 1 })

const LimitsReport = Type.Object({
  limits: Numbers,
  tracked: Type.Object({
    handshakes: Count('addresses with a handshake in the last second or so'),
    requests: Count('addresses with a request over HTTP in the last second or so'),
    connections: Count('addresses with an HTTP connection')
  }, { description: 'addresses remembered now' }),
  refused: Type.Object({
    handshakesPerSecond: Count('by handshakesPerSecond'),
    handshakesPerSecondPerIp: Count('by handshakesPerSecondPerIp'),
    requests: Count('answered with 429, over every transport'),
    connectionsPerIp: Count('by connectionsPerIp')
  }, { description: 'since the relay started' })
})

/** `/limits`: what viewers may do, and how often they wanted more. */
export const limitsRoutes: FastifyPluginAsyncTypebox<LimitsRoutesOptions> = async (app, { limits, set, handshakeAddresses }) => {
  const report = (): Static<typeof LimitsReport> => ({
    limits: { ...limits.numbers },
    tracked: { handshakes: handshakeAddresses(), requests: limits.requests.size, connections: limits.connections.size },
    refused: { ...limits.refused }
  })

  app.get('/limits', readsSettings('limits', {
    operationId: 'getLimits',
    summary: 'Limits of viewers, and what they have refused',
    description: 'The limits in force, the addresses remembered now, and refusals since the relay started.'
  }, LimitsReport), async () => report())

  app.put('/limits', writesSettings('limits', {
    operationId: 'changeLimits',
    summary: 'Change limits',
    description: 'Those not named stay. All hold over restarts, until they are dropped: `DELETE /config/overrides`.',
    body: Change
  }, LimitsReport, 500, 503), async request => {
    await set('limits', request.body, request.headers['if-match'])
    request.log.warn({ limits: limits.numbers }, 'limits changed')
    return report()
  })
}
