import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'
import { systemClock } from '../../base/clock.ts'
import { Jobs } from './jobs.ts'
import { Restore } from './restore.ts'

declare module 'fastify' {
  interface FastifyInstance {
    jobs: { readonly jobs: Jobs, readonly restore: Restore }
  }
}

/** Work that operators ask for, with its progress. */
export default fp(async app => {
  const log = app.log.child({ plugin: 'jobs' })
  const restore = new Restore({ cache: app.shardCache, shards: app.shards, integrity: app.integrity.checks, repair: app.repair })
  const jobs = new Jobs({ restore, newId: randomUUID, now: systemClock.now, log: (message, fields) => { log.info(fields, message) } })
  app.decorate('jobs', { jobs, restore })
  // Before fills are ended, which it waits for.
  app.addHook('preClose', async () => { await jobs.close() })
}, { name: 'jobs', dependencies: ['integrity', 'repair', 'shard-cache', 'shards'] })
