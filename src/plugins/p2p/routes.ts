import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { reads } from '../admin/route.ts'
import { P2pReport } from '../admin/schemas.ts'
import type { NodeStatus } from '../upstream/upstream-types.ts'
import type { HolderDirectory } from './holder-directory.ts'
import type { P2pThread } from './p2p-thread.ts'
import type { Tally } from './tally.ts'

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
    operationId: 'getP2p',
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
