import type { FastifyInstance } from 'fastify'

/** Ends JSON with a line feed, so that a shell prompt stands on a line of its own after curl. */
export function endJsonLines (app: FastifyInstance): void {
  app.addHook('onSend', async (_request, _reply, payload: unknown) => typeof payload === 'string' && payload.endsWith('}') ? `${payload}\n` : payload)
}
