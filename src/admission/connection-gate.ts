import type { Server, Socket } from 'node:net'

/**
 * Puts `admit` before every listener a TCP server has or will have for new connections: what it refuses is reset on accept,
 * before TLS or a parser has spent anything on it. `admit` must not throw.
 */
export function gateConnections (server: Server, admit: (socket: Socket) => boolean): void {
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean
  const gated = (event: string | symbol, ...args: unknown[]): boolean => {
    const socket = event === 'connection' ? args[0] as Socket : undefined
    if (socket === undefined || admit(socket)) return emit(event, ...args)
    // A reset and not a FIN: the peer learns immediately, and nothing of ours waits for it.
    socket.resetAndDestroy()
    return true
  }
  Object.assign(server, { emit: gated })
}
