import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import type { ClientFault } from './client-error.ts'
import type { ClientSession, Connector, SessionEndpoint } from './session.ts'

/** By `kind` and not by class: an engine may come from another copy of this package. */
function faultOf (error: unknown): ClientFault {
  const kind = typeof error === 'object' && error !== null && 'kind' in error ? error.kind : undefined
  if (kind === 'session-closed') return 'session-lost'
  return kind === 'no-credit' ? 'no-credit' : 'reset'
}

async function translated<T> (step: Promise<T>): Promise<T> {
  try {
    return await step
  } catch (error) {
    throw new ShardClientError(faultOf(error), reasonText(error), { cause: error })
  }
}

/** The client's view of an engine session in Node, or in-process. */
export function transportClientSession (session: TransportSession, onIncoming: SessionEndpoint['onIncoming']): ClientSession {
  session.onUni = stream => onIncoming({ read: () => stream.read(), cancel: () => stream.cancel(0) })
  // A relay opens no bidirectional streams; one that does gets nothing.
  session.onStream = stream => {
    stream.cancel(0)
    stream.reset(0)
  }
  return {
    openStream: async () => {
      const stream = await translated(session.openBidi())
      return {
        write: chunk => translated(stream.write(chunk)),
        end: () => translated(stream.end()),
        read: () => translated(stream.read()),
        reset: code => {
          stream.reset(code)
          stream.cancel(code)
        }
      }
    },
    closed: session.closed.then(({ reason }) => reason === '' ? 'closed' : reason),
    close: () => session.close()
  }
}

/**
 * Dials an engine; rejects with the reason.
 * @param opened called with the session in the turn it opens: streams of the relay may come with the very packet that opens it
 */
export type TransportDialler = (endpoint: Pick<SessionEndpoint, 'url' | 'certificateHashes' | 'signal'>, opened: (session: TransportSession) => void) => Promise<TransportSession>

export function transportConnector (dial: TransportDialler): Connector {
  return async endpoint => {
    let taken: ClientSession | undefined
    const take = (session: TransportSession): ClientSession => (taken ??= transportClientSession(session, endpoint.onIncoming))
    return take(await dial(endpoint, take))
  }
}
