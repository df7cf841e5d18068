import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { reads } from '../admin/route.ts'
import { UpstreamNode } from '../admin/schemas.ts'
import type { NodeStatus } from '../upstream/upstream-types.ts'
import type { HolderDirectory } from './holder-directory.ts'
import type { P2pThread } from './p2p-thread.ts'
import type { Tally } from './tally.ts'

const Counts = (description: string) => Type.Unsafe<Record<string, number>>({ type: 'object', additionalProperties: { type: 'integer', minimum: 0 }, description })

const P2pReport = Type.Object({
  enabled: Type.Boolean(),
  peerId: Type.Union([Type.String(), Type.Null()], { description: 'our own; null while libp2p is off or being started' }),
  addresses: Type.Array(Type.String(), { description: 'our own, as peers are told' }),
  advertised: Type.Union([Type.String(), Type.Null()], { description: 'what the relay is advertised as, `relay:<REGION>`; null until a peer has taken it' }),
  connected: Type.Integer({ minimum: 0, description: 'peers connected' }),
  peers: Type.Array(Type.Object({ id: Type.String(), address: Type.String() }), { description: 'at most 256' }),
  known: Type.Integer({ minimum: 0, description: 'CIDs whose holders are remembered' }),
  asking: Type.Integer({ minimum: 0, description: 'questions under way' }),
  lookups: Counts('questions by outcome since the start'),
  refused: Counts('holder records that were refused since the start, by reason'),
  holders: Type.Array(UpstreamNode, { description: 'super-nodes that were found, of those that were used of late' })
})

/** What the report is made of. */
export interface P2pReportSource {
  /** Undefined where it is off. */
  readonly thread: Pick<P2pThread, 'state'> | undefined
  readonly directory: Pick<HolderDirectory, 'size' | 'asking'> | undefined
  readonly lookups: Pick<Tally<string>, 'report'>
  readonly refused: Pick<Tally<string>, 'report'>
  readonly holders: () => readonly NodeStatus[]
}

/** `/p2p`: our peers, and what was found through them. */
export const p2pRoutes: FastifyPluginAsyncTypebox<P2pReportSource> = async (app, { thread, directory, lookups, refused, holders }) => {
  app.get('/p2p', reads('p2p', {
    operationId: 'getPeers',
    summary: 'Peers of libp2p, and super-nodes that were found through them',
    description: 'With p2p.enabled; otherwise it says that it is off.'
  }, P2pReport), async () => ({
    enabled: thread !== undefined,
    peerId: thread?.state?.peerId ?? null,
    addresses: [...thread?.state?.addresses ?? []],
    advertised: thread?.state?.advertised ?? null,
    connected: thread?.state?.connected ?? 0,
    peers: [...thread?.state?.peers ?? []],
    known: directory?.size ?? 0,
    asking: directory?.asking ?? 0,
    lookups: lookups.report(),
    refused: refused.report(),
    holders: [...holders()]
  }))
}
