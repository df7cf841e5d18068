import type { SessionRow } from './from-gateway.ts'
import type { SessionPacing } from './session-pacing.ts'
import type { ViewerSession } from './session/viewer-session.ts'

/** A session and what the gateway keeps of it. */
export interface Guest {
  readonly session: ViewerSession
  readonly pacing: SessionPacing
  readonly since: number
  readonly ip: string
  /** Where it is to go, while it has not been told. */
  elsewhere: readonly [string, ...string[]] | undefined
  /** Bytes at the last heartbeat. */
  bytes: number
  rate: number
}

/** What operators see of a session. */
export function sessionRow ({ session, pacing, since, rate }: Guest): SessionRow {
  const { transport } = session
  const { streams, opened, bytes } = session.stats()
  const { ip, port } = transport.request.peer
  const { rttMs } = transport.stats()
  const { identity, class: name } = session.viewer
  return {
    id: transport.id,
    address: ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`,
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
