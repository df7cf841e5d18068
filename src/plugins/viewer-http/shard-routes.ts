import { METHODS } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { requestToken } from '../../admission/request-token.ts'
import { ViewerRefused, type Admitted } from '../../admission/verdict.ts'
import type { ViewerJudge } from '../../admission/viewer-judge.ts'
import { RelayError } from '../../base/errors.ts'
import { loggedUrl, shortened } from '../../base/logged-text.ts'
import { planAnswer, unsatisfiedField, type Answer } from '../../protocol/answer.ts'
import { formatCmsd } from '../../protocol/cmsd.ts'
import { parsePrefetchHint, PREFETCH_FIELD } from '../../protocol/prefetch-hint.ts'
import { parseRangeHeader } from '../../protocol/range.ts'
import { cidOfPath, parseShardPath, shardPath, type ShardKey } from '../../protocol/shard-key.ts'
import type { RequestField } from '../../protocol/request-fields.ts'
import { formatVia, parseVia } from '../../protocol/via.ts'
import { CHUNK_BYTES } from '../../storage/disk-files.ts'
import { httpViewerKey, type HttpViewers } from '../bandwidth/http-viewers.ts'
import type { RelayMetrics } from '../metrics/relay-metrics.ts'
import type { OpenShard } from '../shards/open-shard.ts'
import type { ShardService } from '../shards/shard-service.ts'
import { refuseLoop, type Tier } from '../upstream/tiers.ts'
import { ChunkMemory } from './chunk-memory.ts'
import { ChunkSize, LargeChunks } from './chunk-size.ts'
import { IdlePause, type TimedConnection } from './idle-pause.ts'
import { ShardStream } from './shard-stream.ts'
import { OBJECT_DOCS } from './viewer-docs.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks for an object, and with which weight class; null on other routes. */
    admitted: Admitted | null
  }
}

export interface ShardRoutesOptions {
  readonly judge: ViewerJudge
  /** Who shares the bandwidth. */
  readonly viewers: HttpViewers
  /** Silence after which a connection is closed, ms. */
  readonly idleTimeoutMs: number
  readonly shards: ShardService
  readonly tier: Tier
  readonly metrics: RelayMetrics
  readonly monotonic: () => number
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** What chunks are multiplied by, in (0, 1]. */
  readonly burstFactor: () => number
}

const PATH = '/shards/*'
/** One connection of HTTP/2 may have hundreds of responses under way; two chunks of each are in memory. */
const MULTIPLEXED_CHUNK_BYTES = 64 * 1024
/** RFC 9111 §5.2.1.7. */
const ONLY_IF_CACHED = /(?:^|,)[ \t]*only-if-cached[ \t]*(?:,|$)/i
const ALLOWED = ['GET', 'HEAD', 'OPTIONS']

/**
 * Path and query as they stood in the request line, because the router's decoding would let an encoded slash through. A request may name
 * scheme and host before them (RFC 9112 §3.2.2).
 */
function rawTarget (request: FastifyRequest): string {
  return (request.raw.url ?? '').replace(/^https?:\/\/[^/?#]*/i, '')
}

function rawPath (request: FastifyRequest): string {
  return rawTarget(request).split('?', 1)[0] ?? ''
}

/** What a request says besides its path. */
function fieldsOf ({ headers }: FastifyRequest): (name: RequestField) => string | undefined {
  return name => {
    const value = headers[name]
    return typeof value === 'string' ? value : undefined
  }
}

/** What has an idle timeout: the session of an HTTP/2 stream, or the socket. */
function connectionOf ({ raw }: FastifyRequest): TimedConnection {
  return ('stream' in raw ? (raw.stream as ServerHttp2Stream).session : undefined) ?? raw.socket
}

/** `GET|HEAD /shards/<CID>/shard_<N>.bin` and `/shards/<CID>/manifest.json`. */
export async function shardRoutes (viewer: FastifyInstance, { shards, metrics, monotonic, now, judge, tier, burstFactor, viewers, idleTimeoutMs }: ShardRoutesOptions): Promise<void> {
  const pause = new IdlePause(idleTimeoutMs)
  viewer.decorateRequest('admitted', null)
  const largeChunks = new LargeChunks()
  const memory = new ChunkMemory()
  viewer.route({
    method: ['GET', 'HEAD'],
    url: PATH,
    // Its time is taken by the listener of its end, see `timeBusyRoutes`.
    config: { documentedAs: OBJECT_DOCS, disableMetrics: true },
    onRequest: async request => {
      const target = rawTarget(request)
      const verdict = await judge.judge({ token: requestToken(request.headers.authorization, target), url: { target, ip: request.ip } }, cidOfPath(rawPath(request)))
      if (!verdict.ok) {
        metrics.count('icn_relay_viewer_refusals_total', { code: verdict.code })
        throw new ViewerRefused(verdict)
      }
      request.admitted = verdict
    },
    handler: async (request, reply) => {
      const start = monotonic()
      const via = viaOf(request)
      const key = parseShardPath(rawPath(request))
      const { headers } = request
      const field = fieldsOf(request)
      const method = request.method === 'HEAD' ? 'HEAD' : 'GET'
      // Range has a meaning for GET only (RFC 9110 §14.2). A malformed one is refused before it costs a fill.
      const range = method === 'GET' ? parseRangeHeader(field('range')) : undefined
      const shard = await shards.open(key, { via, trace: request, range, next: PREFETCH_FIELD in headers ? await hintsOf(request) : undefined, onlyIfCached: ONLY_IF_CACHED.test(headers['cache-control'] ?? '') })
      request.opened = shard
      let answer: Answer
      try {
        answer = planAnswer({ method, part: key.part, range, field }, shard, { now: now(), openMs: monotonic() - start, tokenRequired: judge.required })
      } catch (error) {
        shard.release()
        reply.header(...unsatisfiedField(shard.size))
        throw error
      }
      return await send(request, reply, shard, answer, start)
    }
  })

  // Without CONNECT, which Node's server never hands to a handler.
  const refused = METHODS.filter(method => method !== 'CONNECT' && !ALLOWED.includes(method))
  for (const method of refused) if (!viewer.supportedMethods.includes(method)) viewer.addHttpMethod(method)
  viewer.route({
    method: refused,
    url: PATH,
    config: { documentedAs: {} },
    onRequest: async (request, reply) => {
      reply.header('allow', ALLOWED.join(', '))
      throw new RelayError('RELAY_ERR_METHOD', `shards are read with GET or HEAD, not ${request.method}`)
    },
    handler: () => {}
  })

  /** @throws RelayError RELAY_ERR_LOOP, before the request waits for anything */
  function viaOf (request: FastifyRequest): string[] {
    const via = parseVia(request.headers.via)
    try {
      refuseLoop(via, tier)
    } catch (error) {
      request.log.warn({ via: shortened(formatVia(via)), self: tier.pseudonym, maxHops: tier.maxHops, url: loggedUrl(request.url) }, 'request goes in circles, refused')
      throw error
    }
    return via
  }

  /** What the viewer says that it will ask for next, as far as it may have that with the credentials of this request. */
  async function hintsOf (request: FastifyRequest): Promise<readonly ShardKey[]> {
    const target = rawTarget(request)
    const token = requestToken(request.headers.authorization, target)
    const query = target.slice(rawPath(request).length)
    const keys = parsePrefetchHint(fieldsOf(request)(PREFETCH_FIELD))
    const verdicts = await Promise.all(keys.map(async key => await judge.judge({ token, url: { target: shardPath(key) + query, ip: request.ip } }, key.cid)))
    return keys.filter((_, n) => verdicts[n]?.ok)
  }

  async function send (request: FastifyRequest, reply: FastifyReply, shard: OpenShard, answer: Answer, start: number): Promise<FastifyReply> {
    reply.code(answer.status)
    for (const [name, value] of answer.fields) reply.header(name, value)
    reply.header('x-content-type-options', 'nosniff')
    reply.header('timing-allow-origin', '*')
    reply.header('cross-origin-resource-policy', 'cross-origin')
    const pace = viewers.acquire(httpViewerKey(request.admitted?.identity, request.ip), request.admitted?.class)
    reply.raw.once('close', () => { viewers.release(pace) })
    const advice = pace.advice()
    if (advice !== undefined) reply.header('cmsd-dynamic', formatCmsd(advice))
    const { body } = answer
    // The viewer may have gone while the object was opened.
    if (body === undefined || request.raw.socket.destroyed) {
      shard.release()
      return await reply.send()
    }
    // What lies in memory goes out in one piece, and the socket may still hold most of it.
    shard.whenRevoked(() => { reply.raw.destroy() })
    request.sentBytes = 0
    const labels = { transport: 'http', result: shard.origin.hit ? 'hit' : 'miss' }
    const observe = (stage: string): void => {
      metrics.observe('icn_relay_shard_serve_latency_seconds', (monotonic() - start) / 1_000, { ...labels, stage })
    }
    const firstByte = (): void => {
      request.firstByteMs = reply.elapsedTime
      observe('first_byte')
    }
    const length = body.end - body.start
    // HTTP/2 emits finish for streams that were reset, too.
    reply.raw.once('finish', () => { if (reply.raw.writableFinished) observe('complete') })
    // What a socket of HTTP/2 has sent belongs to many responses, so there a body is counted chunk by chunk.
    const multiplexed = request.raw.httpVersionMajor > 1
    if (length === 0 || (shard.buffer !== undefined && !multiplexed && !pace.limited)) {
      const before = request.raw.socket.bytesWritten
      firstByte()
      // Before the access log hears of it.
      reply.raw.prependOnceListener('close', () => {
        request.sentBytes = Math.max(0, reply.raw.writableFinished ? length : Math.min(length, request.raw.socket.bytesWritten - before))
        metrics.count('icn_relay_bytes_served_total', { transport: 'http' }, request.sentBytes)
        shard.release()
      })
      return await reply.send(shard.buffer?.subarray(body.start, body.end) ?? Buffer.alloc(0))
    }
    const burst = burstFactor()
    const chunkSize = new ChunkSize((multiplexed ? MULTIPLEXED_CHUNK_BYTES : CHUNK_BYTES) * burst, multiplexed || burst < 1 ? undefined : largeChunks)
    // What the stream has given away lies with the socket until then.
    reply.raw.once('close', () => { chunkSize.end() })
    let first = true
    const connection = connectionOf(request)
    return await reply.send(new ShardStream(shard, body, {
      chunkSize,
      memory,
      pace,
      onChunk: bytes => {
        if (first) firstByte()
        first = false
        request.sentBytes += bytes
        pace.sent(bytes)
        metrics.count('icn_relay_bytes_served_total', { transport: 'http' }, bytes)
      },
      onWait: waits => { pause.note(connection, waits) }
    }))
  }
}
