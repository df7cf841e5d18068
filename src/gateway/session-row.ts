import type { SessionRow } from '../channel/from-gateway.ts'
import type { Visitor } from './reception.ts'
import type { SessionPacing } from './session-pacing.ts'
import type { ViewerSession } from './session/viewer-session.ts'

/** A session and what the gateway keeps of it. */
export interface SessionEntry {
  readonly session: ViewerSession
  readonly pacing: SessionPacing
  readonly since: number
  readonly visitor: Visitor
  /** Where it is to go, while it has not been told. */
  elsewhere: readonly [string, ...string[]] | undefined
  /** Bytes at the last heartbeat. */
  bytes: number
  rate: number
}

/** What operators see of a session. */
export function sessionRow ({ session, pacing, since, rate, visitor: { ip, port } }: SessionEntry): SessionRow {
  const { transport } = session
  const { streams, opened, bytes } = session.stats()
  const { rttMs } = transport.stats()
  const { identity, class: name } = session.viewer
  return {
    id: transport.id,
    address: port === undefined ? ip : ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`,
    transport: transport.transport,
    since,
    streams,
    streamsTotal: opened,
    bytes,
    rate: Math.round(rate),
    ...identity === undefined ? {} : { identity },
    ...name === undefined ? {} : { class: name },
    ...rttMs === undefined ? {} : { rttMs },
    ...pacing.row()
  }
}
