import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { requestToken, type StaticTokens } from '../auth/static-tokens.ts'
import { CHUNK_BYTES } from '../cache/disk-files.ts'
import { RelayError } from '../errors.ts'
import { redactUrl } from '../log.ts'
import type { RelayMetrics } from '../metrics/relay-metrics.ts'
import { parseShardPath } from '../shard/shard-key.ts'
import { parseRangeHeader } from '../shard/range.ts'
import type { OpenShard, ShardService } from '../shard/shard-service.ts'
import { refuseLoop, type Tier } from '../upstream/tiers.ts'
import { formatVia, parseVia } from '../wire/via.ts'
import { ChunkSize, LargeChunks } from './chunk-size.ts'
import { planResponse, unsatisfiedHeaders, type ResponsePlan } from './shard-response.ts'
import { ShardStream } from './shard-stream.ts'
import { OBJECT_DOCS } from './viewer-docs.ts'

export interface ShardRoutesOptions {
  readonly tokens: StaticTokens
  readonly shards: ShardService
  readonly tier: Tier
  readonly metrics: RelayMetrics
  readonly monotonic: () => number
}

const PATH = '/shards/*'
/** One connection of HTTP/2 may have hundreds of responses under way; two chunks of each are in memory. */
const MULTIPLEXED_CHUNK_BYTES = 64 * 1024
const ALLOWED = ['GET', 'HEAD', 'OPTIONS']

/**
 * The path as it stood in the request line, because the router's decoding would let an encoded slash through. A request may name
 * scheme and host before it (RFC 9112 §3.2.2).
 */
function rawPath (request: FastifyRequest): string {
  return (request.raw.url ?? '').replace(/^https?:\/\/[^/?#]*/i, '').split('?', 1)[0] ?? ''
}

/** `GET|HEAD /shards/<CID>/shard_<N>.bin` and `/shards/<CID>/manifest.json`. */
export async function shardRoutes (viewer: FastifyInstance, { shards, metrics, monotonic, tokens, tier }: ShardRoutesOptions): Promise<void> {
  const largeChunks = new LargeChunks()
  viewer.route({
    method: ['GET', 'HEAD'],
    url: PATH,
    config: { documentedAs: OBJECT_DOCS },
    onRequest: async (request, reply) => {
      const verdict = tokens.judge(requestToken(request.headers.authorization, request.raw.url ?? ''))
      if (verdict === 'ok') return
      // RFC 9110 §11.6.1: a 401 names the scheme it wants.
      reply.header('www-authenticate', 'Bearer')
      throw new RelayError('RELAY_ERR_VIEWER_UNAUTHORIZED', verdict === 'missing' ? 'this relay wants a token' : 'the token is not valid')
    },
    handler: async (request, reply) => {
      const start = monotonic()
      const via = viaOf(request)
      const key = parseShardPath(rawPath(request))
      // A malformed range is refused before it costs a fill.
      if (request.method === 'GET') parseRangeHeader(request.headers.range)
      const shard = await shards.open(key, { via })
      let plan: ResponsePlan
      try {
        plan = planResponse(request.method, request.headers, shard, monotonic() - start)
      } catch (error) {
        shard.release()
        reply.headers(unsatisfiedHeaders(error, shard.size))
        throw error
      }
      return await send(request, reply, shard, plan, start)
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
      request.log.warn({ via: formatVia(via), self: tier.pseudonym, maxHops: tier.maxHops, url: redactUrl(request.url) }, 'request goes in circles, refused')
      throw error
    }
    return via
  }

  async function send (request: FastifyRequest, reply: FastifyReply, shard: OpenShard, plan: ResponsePlan, start: number): Promise<FastifyReply> {
    reply.code(plan.status)
    reply.headers(plan.headers)
    // RFC 9111 §3.5: with `public`, a shared cache would serve to everybody what one token was needed for.
    if (tokens.required) reply.header('cache-control', plan.headers['cache-control']?.replace('public', 'private'))
    reply.header('x-content-type-options', 'nosniff')
    reply.header('timing-allow-origin', '*')
    reply.header('cross-origin-resource-policy', 'cross-origin')
    const { body } = plan
    // The viewer may have gone while the object was opened.
    if (body === undefined || request.raw.socket.destroyed) {
      shard.release()
      return await reply.send()
    }
    const labels = { transport: 'http', result: shard.origin.hit ? 'hit' : 'miss' }
    const observe = (stage: string): void => {
      metrics.observe('icn_relay_shard_serve_latency_seconds', (monotonic() - start) / 1_000, { ...labels, stage })
    }
    const length = body.end - body.start
    // HTTP/2 emits finish for streams that were reset, too.
    reply.raw.once('finish', () => { if (reply.raw.writableFinished) observe('complete') })
    // What a socket of HTTP/2 has sent belongs to many responses, so there a body is counted chunk by chunk.
    const multiplexed = request.raw.httpVersionMajor > 1
    if (length === 0 || (shard.buffer !== undefined && !multiplexed)) {
      const before = request.raw.socket.bytesWritten
      observe('first_byte')
      reply.raw.once('close', () => {
        const sent = reply.raw.writableFinished ? length : Math.min(length, request.raw.socket.bytesWritten - before)
        metrics.count('icn_relay_bytes_served_total', { transport: 'http' }, Math.max(0, sent))
        shard.release()
      })
      return await reply.send(shard.buffer?.subarray(body.start, body.end) ?? Buffer.alloc(0))
    }
    const chunkSize = multiplexed ? new ChunkSize(MULTIPLEXED_CHUNK_BYTES) : new ChunkSize(CHUNK_BYTES, largeChunks)
    // What the stream has given away lies with the socket until then.
    reply.raw.once('close', () => { chunkSize.end() })
    let first = true
    return await reply.send(new ShardStream(shard, body, bytes => {
      if (first) observe('first_byte')
      first = false
      metrics.count('icn_relay_bytes_served_total', { transport: 'http' }, bytes)
    }, chunkSize))
  }
}
