import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { Ajv } from 'ajv'
import { redactUrl, type Logger } from '../log.ts'
import { answerClientError, sendProblem, useProblems } from './problem.ts'

export interface InstanceOptions {
  readonly logger: Logger
  readonly listener: 'viewer' | 'admin'
  /** Time for a whole request head, ms. */
  readonly requestTimeoutMs: number
  /** Silence after which a connection is closed, ms. */
  readonly idleTimeoutMs: number
  readonly maxConnections: number
  readonly bodyLimit: number
}

/** A request head larger than this is refused with 431; Node's own default, stated because the contract names it. */
export const MAX_HEADER_BYTES = 16 * 1024

/** How often Node looks for requests past their timeout, ms. */
const TIMEOUT_CHECK_MS = 1_000

/** Bad input is named, never bent: bodies keep their types and unknown keys; only query strings, which are all text, are converted. */
const strictAjv = new Ajv({ coerceTypes: false, removeAdditional: false, useDefaults: true, allErrors: false })
const textAjv = new Ajv({ coerceTypes: true, removeAdditional: false, useDefaults: true, allErrors: false })

/** A Fastify instance as both listeners use it: problem+json errors, request ids, one log line per request, bounded waits. */
export function createInstance (options: InstanceOptions): FastifyInstance {
  const { logger, requestTimeoutMs, idleTimeoutMs } = options
  const fastifyOptions: FastifyServerOptions = {
    loggerInstance: logger.child({ listener: options.listener }),
    disableRequestLogging: true,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: options.bodyLimit,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: idleTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 512, caseSensitive: true },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => { sendProblem(error, request, reply) }
  }
  const app: FastifyInstance = Fastify({
    ...fastifyOptions,
    http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: requestTimeoutMs, connectionsCheckingInterval: TIMEOUT_CHECK_MS }
  })
  app.server.maxConnections = options.maxConnections
  app.setValidatorCompiler<object>(({ schema, httpPart }) => (httpPart === 'body' ? strictAjv : textAjv).compile(schema))
  useProblems(app)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    request.log.info({
      method: request.method,
      url: redactUrl(request.url),
      status: reply.statusCode,
      remote: request.ip,
      ms: Math.round(reply.elapsedTime * 100) / 100,
      cache: reply.getHeader('cache-status')
    }, 'request')
  })
  return app
}
