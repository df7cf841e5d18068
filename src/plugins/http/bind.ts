import { Server as TlsServer } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { RelayError, systemCode } from '../../base/errors.ts'

/** Connections that wait to be accepted. */
export const BACKLOG = 4_096

/**
 * Listens; the port really bound.
 * @param section of the configuration that names the address
 * @throws RelayError RELAY_ERR_LISTEN naming the address
 */
export async function bind (app: FastifyInstance, { host, port }: { readonly host: string, readonly port: number }, section: string): Promise<number> {
  try {
    // Fastify does not know what our own server speaks.
    const listenTextResolver = (address: string): string => `Server listening at ${app.server instanceof TlsServer ? address.replace(/^http:/, 'https:') : address}`
    await app.listen({ host, port, backlog: BACKLOG, listenTextResolver })
  } catch (error) {
    throw new RelayError('RELAY_ERR_LISTEN', `${section}.host ${host}, ${section}.port ${port} cannot be listened on: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
  return boundPort(app)
}

export function boundPort ({ server }: FastifyInstance): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
