import { isIPv4, isIPv6 } from 'node:net'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import Type, { type TOptional } from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { SESSION_TRANSPORTS, type SessionTransport } from '../../protocol/session-transports.ts'
import type { ListeningInfo } from '../../channel/from-gateway.ts'
import { problems } from '../admin/schemas.ts'
import { endJsonLines } from '../http/end-line.ts'
import type { CertificateHash } from '../tls/certificate-store.ts'
import type { TicketIssuer } from '../viewers/ticket-issuer.ts'

export interface TransportRouteOptions {
  readonly region: () => string
  /** What the gateway listens on and takes new sessions on now. */
  readonly listening: () => ListeningInfo | undefined
  /** Whether new viewers had better go elsewhere. */
  readonly overloaded: () => boolean
  readonly hashes: () => readonly CertificateHash[]
  readonly gatewayId: () => string
  /** Undefined where sessions need no ticket. */
  readonly tickets: Pick<TicketIssuer, 'issue'> | undefined
  /** Called for every ticket that was refused. */
  readonly refused: (reason: 'rate-address' | 'rate-total') => void
}

/** The names of RFC 6761 §6.3. */
const LOCALHOST = /^(?:.+\.)?localhost\.?$/i

const Endpoint = Type.Object({ url: Type.String() })

const SessionEndpoint = Type.Object({
  url: Type.String(),
  certificateHashes: Type.Array(Type.Object({ algorithm: Type.Literal('sha-256'), value: Type.String({ description: 'base64' }) }), { description: 'for serverCertificateHashes: the current certificate, and the next once it exists; empty when an authority vouches for it. Browsers cannot pin a certificate for WebSocket, other clients can' })
})

const WITH_TICKET = { description: 'its URL carries a ticket, good for one session within a minute: ask again for every session' }

const Transport = Type.Object({
  region: Type.String({ description: 'region of the relay; empty when unknown' }),
  ...Object.fromEntries(SESSION_TRANSPORTS.map(({ name, ticket }) => [name, Type.Optional(Type.Object(SessionEndpoint.properties, ticket ? WITH_TICKET : {}))])) as Record<SessionTransport, TOptional<typeof SessionEndpoint>>,
  http: Endpoint,
  gateway: Type.Optional(Type.String({ description: 'of the process that holds the sessions: when it has changed, sessions from before are gone, although no packet says so' })),
  overloaded: Type.Optional(Type.Literal(true, { description: 'the relay sheds load: sessions are sent elsewhere, or these transports are absent for now; objects it does not have are refused' }))
})

/** The query of a session URL. @throws RelayError RELAY_ERR_RATE_LIMITED */
function ticketQuery (address: string, { tickets, refused }: Pick<TransportRouteOptions, 'tickets' | 'refused'>): string {
  if (tickets === undefined) return ''
  const issued = tickets.issue(address)
  if ('ticket' in issued) return `?ticket=${issued.ticket}`
  refused(issued.refused)
  throw new RelayError('RELAY_ERR_RATE_LIMITED', `too many sessions begin ${issued.refused === 'rate-address' ? 'at this address' : 'at this relay'}`)
}

/** `GET /v1/transport`: how to reach this relay, best transport first; one that is down is absent. */
export async function transportRoute (viewer: FastifyInstance, { region, listening, hashes, overloaded, gatewayId, tickets, refused }: TransportRouteOptions): Promise<void> {
  endJsonLines(viewer)
  viewer.withTypeProvider<TypeBoxTypeProvider>().get('/v1/transport', {
    schema: {
      operationId: 'getTransport',
      summary: 'How a client connects',
      description: 'The ways to this relay, best first; one that is down is absent.',
      tags: ['viewer'],
      querystring: Type.Object({ ticket: Type.Optional(Type.Literal('none', { description: 'for those who open no session now: no ticket is issued, and none counts' })) }),
      response: { 200: Transport, ...problems(400, 403, 429) }
    }
  }, async (request, reply) => {
    const info = listening()
    // The client reached us under this name, so it reaches the other ports under it too; HTTP/1.0 names none.
    const { localAddress = '', localPort } = request.raw.socket
    const named = (request.host ?? '') !== ''
    const hostname = named ? request.hostname : localAddress
    const host = isIPv6(hostname) ? `[${hostname}]` : hostname
    // Chromium tries one address of a name for HTTP/3, and of localhost that is ::1, where a relay bound to IPv4 does not listen.
    const udpName = LOCALHOST.test(hostname) && isIPv4(localAddress) ? localAddress : host
    const certificateHashes = [...hashes()]
    const open = info?.open ?? {}
    const query = request.query.ticket === 'none' || !SESSION_TRANSPORTS.some(({ name, ticket }) => ticket && open[name] !== undefined) ? '' : ticketQuery(request.ip, { tickets, refused })
    const offers = SESSION_TRANSPORTS.flatMap(({ name, scheme, udp, ticket }) => {
      const listener = open[name]
      return listener === undefined ? [] : [[name, { url: `${scheme}://${udp ? udpName : host}:${listener.port}/v1/viewer${ticket ? query : ''}`, certificateHashes }] as const]
    })
    reply.header('cache-control', 'no-store')
    return {
      region: region(),
      ...Object.fromEntries(offers),
      http: { url: `${request.protocol}://${named ? request.host : `${host}:${localPort}`}` },
      ...info === undefined ? {} : { gateway: gatewayId() },
      ...overloaded() ? { overloaded: true as const } : {}
    }
  })
}
