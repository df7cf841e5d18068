import { randomUUID } from 'node:crypto'
import type { ServerOptions } from 'node:http'
import Fastify, { LogController, type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import { Ajv } from 'ajv'
import { RelayError } from '../../base/errors.ts'
import { LazyLogger } from '../../base/lazy-logger.ts'
import type { Logger } from '../../base/log.ts'
import { OUR_SCHEMA } from '../../base/schema-check.ts'
import { parseTraceparent, takenRequestId, type TraceContext } from '../../protocol/trace-context.ts'
import { endJsonLines } from './end-line.ts'
import { withoutPorts } from './forwarded-for.ts'
import { checkHost } from './host-field.ts'
import { answerClientError, sendProblem, useProblems } from './problem.ts'
import { rememberForLog, rememberRefused, RequestLog, type RequestLogTarget } from './request-log.ts'
import { createSecureServer, unknownMethodOf, type Pem } from './secure-server.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Its place in the caller's trace. */
    trace: TraceContext | undefined
  }
}

export interface InstanceOptions {
  readonly logger: Logger
  readonly listener: 'viewer' | 'admin'
  /** Time for a whole request head, ms. */
  readonly requestTimeoutMs: number
  /** Silence after which a connection is closed, ms. */
  readonly idleTimeoutMs: number
  readonly maxConnections: number
  readonly bodyLimit: number
  /** Addresses and networks whose forwarding headers are believed; nobody's by default. */
  readonly trustedProxies?: readonly string[]
  /** Where responses are told of; nowhere by default. */
  readonly accessLog?: RequestLogTarget | undefined
  /** Told when the answer to a request has ended or been broken off. */
  readonly closed?: (request: FastifyRequest, reply: FastifyReply) => void
  /** HTTPS with HTTP/2 and HTTP/1.1 when given, plain HTTP/1.1 otherwise. */
  readonly tls?: Pem
}

/** A request head larger than this is refused with 431; Node's own default, stated because the contract names it. */
const MAX_HEADER_BYTES = 16 * 1024

/** How often Node looks for requests past their timeout, ms. */
const TIMEOUT_CHECK_MS = 1_000

/** Bad input is named, never bent: bodies keep their types and unknown keys; only query strings, which are all text, are converted. */
const strictAjv = new Ajv({ coerceTypes: false, removeAdditional: false, useDefaults: true, allErrors: false, discriminator: true, ...OUR_SCHEMA })
const textAjv = new Ajv({ coerceTypes: true, removeAdditional: false, useDefaults: true, allErrors: false, ...OUR_SCHEMA })

/** A Fastify instance as both listeners use it: problem+json errors, request ids, a record of each response, bounded waits. */
export function createInstance (options: InstanceOptions): FastifyInstance {
  const { logger, requestTimeoutMs, idleTimeoutMs } = options
  const requestLog = options.accessLog === undefined ? undefined : new RequestLog(options.accessLog, options.listener)
  const fastifyOptions: FastifyServerOptions = {
    loggerInstance: logger.child({ listener: options.listener }),
    childLoggerFactory: (parent, bindings, childOptions) => new LazyLogger(parent as Logger, bindings, childOptions),
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) => takenRequestId(headers['x-request-id']) ?? randomUUID(),
    requestIdHeader: false,
    bodyLimit: options.bodyLimit,
    trustProxy: options.trustedProxies === undefined || options.trustedProxies.length === 0 ? false : [...options.trustedProxies],
    requestTimeout: requestTimeoutMs,
    connectionTimeout: idleTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    forceCloseConnections: 'idle',
    // What a start does grows with the cache.
    pluginTimeout: 0,
    // A request that was sent before the peer knew of the stop is answered like any other, with connection: close.
    return503OnClosing: false,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: 512, caseSensitive: true },
    clientErrorHandler: answerClientError,
    // These come before any hook.
    frameworkErrors: (error, request, reply) => {
      rememberRefused(request)
      begin(options, requestLog, request, reply)
      sendProblem(error, request, reply)
    }
  }
  const http: ServerOptions = {
    maxHeaderSize: MAX_HEADER_BYTES,
    requestTimeout: requestTimeoutMs,
    headersTimeout: requestTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    // Node would answer with a bare 400; the hook below answers with a problem.
    requireHostHeader: false
  }
  const { tls } = options
  const app: FastifyInstance = tls === undefined
    ? Fastify({ ...fastifyOptions, http })
    : Fastify({
      ...fastifyOptions,
      serverFactory: handler => {
        const server = createSecureServer({ tls, http, idleTimeoutMs, handshakeTimeoutMs: requestTimeoutMs, headTimeoutMs: requestTimeoutMs }, handler)
        server.setTimeout(idleTimeoutMs)
        return server
      }
    })
  app.server.maxConnections = options.maxConnections
  // A client may close its half once it has asked; otherwise Node would close ours before a miss is answered.
  Object.assign(app.server, { httpAllowHalfOpen: true })
  // An expectation we do not know is ignored (RFC 9110 §10.1.1); Node would answer with a bare 417.
  app.server.on('checkExpectation', (request, response) => { app.server.emit('request', request, response) })
  app.setValidatorCompiler<object>(({ schema, httpPart }) => (httpPart === 'body' ? strictAjv : textAjv).compile(schema))
  rememberForLog(app)
  app.decorateRequest('trace', undefined)
  useProblems(app)
  if (options.listener === 'admin') endJsonLines(app)
  app.addHook('onRequest', async (request, reply) => {
    begin(options, requestLog, request, reply)
    checkHost(request.raw)
  })
  // Behind every limit, which work at onRequest.
  app.addHook('preParsing', async (request, reply) => {
    if (unknownMethodOf(request.raw) === undefined) return
    reply.header('allow', 'GET, HEAD, OPTIONS')
    throw new RelayError('RELAY_ERR_METHOD', 'the method is none of HTTP')
  })
  return app
}

/** Gives a request its id and its place in a trace. What is logged of it is told when the response closes: a peer that leaves half-way is told of too. */
function begin ({ closed }: InstanceOptions, requestLog: RequestLog | undefined, request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id)
  const { headers } = request.raw
  if ('traceparent' in headers) request.trace = parseTraceparent(headers['traceparent'])
  // Before anybody asks for the address: Fastify reads it from this field each time.
  if (typeof headers['x-forwarded-for'] === 'string') headers['x-forwarded-for'] = withoutPorts(headers['x-forwarded-for'])
  // Read now: a socket that is closed does not know its peer any more.
  const remote = request.ip
  reply.raw.once('close', () => {
    closed?.(request, reply)
    requestLog?.ended(request, reply, remote)
  })
}
