import type { Server } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { BACKLOG } from '../../base/backlog.ts'
import { RelayError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { VERSION } from '../../base/version.ts'
import type { Config } from '../../config/config.ts'
import { refuseRebound } from '../admin/access.ts'
import { Health, problems, Ready } from '../admin/schemas.ts'
import { bind } from './bind.ts'
import { createInstance } from './instance.ts'

/** Operators who look, and a few scrapers. */
const MAX_CONNECTIONS = 64

/**
 * The admin listener while the relay starts, which takes as long as its cache is large: `/health` says that the process lives, `/ready` how far it
 * is, and everything else is 503. The relay takes the socket over, so that nobody is refused a connection in between.
 */
export class StartListener {
  /** Port really bound. */
  readonly port: number
  readonly #app: FastifyInstance
  readonly #progress: { share: number }
  #handedOver = false

  private constructor (app: FastifyInstance, port: number, progress: { share: number }) {
    this.#app = app
    this.port = port
    this.#progress = progress
  }

  /** Undefined where a host name means several sockets, which cannot be handed over. @throws RelayError RELAY_ERR_LISTEN */
  static async open ({ admin }: Config, logger: Logger, fd?: number): Promise<StartListener | undefined> {
    if (admin.host === 'localhost' && fd === undefined) return undefined
    const progress = { share: 0 }
    const app = createInstance({ logger, listener: 'admin', requestTimeoutMs: 10_000, idleTimeoutMs: 10_000, maxConnections: MAX_CONNECTIONS, bodyLimit: 1_024 })
    app.addHook('onRequest', async ({ raw, headers, is404 }, reply) => {
      // Whoever asks again meets the relay itself.
      reply.header('connection', 'close')
      refuseRebound({ remoteAddress: raw.socket.remoteAddress, host: headers.host })
      if (is404) throw new RelayError('RELAY_ERR_STARTING', 'the relay is starting; /ready says how far it is')
    })
    const routes = app.withTypeProvider<TypeBoxTypeProvider>()
    routes.get('/health', { schema: { response: { 200: Health, ...problems(400, 403) } } }, async () => ({
      status: 'starting' as const, version: VERSION, uptime_seconds: Math.floor(process.uptime()), cache_size_bytes: 0, viewer_connections: 0
    }))
    routes.get('/ready', { schema: { response: { 503: Ready, ...problems(400, 403) } } }, async (_request, reply) => await reply.code(503).send({
      ready: false, loaded: progress.share, checks: { viewer: 'closed', cache: 'loading', upstream: 'unknown', overload: 'normal' }
    }))
    return new StartListener(app, await bind(app, admin, 'admin', fd), progress)
  }

  /** What share of the cache is loaded, 0 to 1. */
  loaded (share: number): void { this.#progress.share = Math.round(share * 1_000) / 1_000 }

  /** Connections from now on are those of `server`, whose `close` closes the socket. */
  async handOver (server: Server): Promise<void> {
    this.#handedOver = true
    await new Promise<void>(resolve => { server.listen(this.#app.server, BACKLOG, resolve) })
  }

  /** Closes the socket, unless it was handed over. */
  async close (): Promise<void> {
    if (!this.#handedOver) await this.#app.close()
  }
}
