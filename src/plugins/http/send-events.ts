import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'

/**
 * Answers with server-sent events. A client may close its half of a connection and still read, but nobody who reads events does: whoever closes it has left, and
 * else that would be noticed with the next event only.
 */
export async function sendEvents (request: FastifyRequest, reply: FastifyReply, stream: Readable): Promise<never> {
  request.raw.socket.once('end', () => { stream.destroy() })
  return await reply.type('text/event-stream').header('cache-control', 'no-store').send(stream)
}
