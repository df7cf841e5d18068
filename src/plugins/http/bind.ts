import { Server as TlsServer } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { BACKLOG } from '../../base/backlog.ts'
import { RelayError, systemCode } from '../../base/errors.ts'

/**
 * Listens; the port really bound.
 * @param section of the configuration that names the address
 * @param fd socket that a service manager has bound already, of which the address counts
 * @throws RelayError RELAY_ERR_LISTEN naming the address
 */
export async function bind (app: FastifyInstance, { host, port }: { readonly host: string, readonly port: number }, section: 'admin' | 'viewer', fd?: number): Promise<number> {
  if (fd !== undefined) return await listenOn(app, section, fd)
  try {
    // Fastify does not know what our own server speaks.
    const listenTextResolver = (address: string): string => `Server listening at ${app.server instanceof TlsServer ? address.replace(/^http:/, 'https:') : address}`
    await app.listen({ host, port, backlog: BACKLOG, listenTextResolver })
  } catch (error) {
    throw new RelayError('RELAY_ERR_LISTEN', `${section}.host ${host}, ${section}.port ${port} cannot be listened on: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
  return boundPort(app)
}

async function listenOn (app: FastifyInstance, section: string, fd: number): Promise<number> {
  await app.ready()
  try {
    await new Promise<void>((resolve, reject) => {
      app.server.once('error', reject)
      // Of a descriptor, Node takes the backlog from this place only.
      app.server.listen({ fd }, BACKLOG, () => {
        app.server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    throw new RelayError('RELAY_ERR_LISTEN', `descriptor ${fd} of the service manager, for ${section}, cannot be listened on: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
  app.log.info({ fd, port: boundPort(app) }, 'listening on a socket of the service manager')
  return boundPort(app)
}

export function boundPort ({ server }: FastifyInstance): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
