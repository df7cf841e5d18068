import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'
import { systemClock, systemTimers } from '../../base/clock.ts'
import type { AnyWork } from './any-work.ts'
import { JobEvents } from './job-events.ts'
import { Jobs } from './jobs.ts'
import { Restore } from './restore.ts'

declare module 'fastify' {
  interface FastifyInstance {
    jobs: { readonly jobs: Jobs<AnyWork>, readonly events: JobEvents, readonly restore: Restore }
  }
}

/** Work that operators ask for, with its progress. */
export default fp(async app => {
  const log = app.log.child({ plugin: 'jobs' })
  const restore = new Restore({ cache: app.shardCache, shards: app.shards, integrity: app.integrity.checks, repair: app.repair })
  const jobs = new Jobs<AnyWork>({ newId: randomUUID, now: systemClock.now, log: (message, fields) => { log.info(fields, message) } })
  const events = new JobEvents({ jobs, timers: systemTimers })
  app.decorate('jobs', { jobs, events, restore })
  // Before fills are ended, which it waits for.
  app.addHook('preClose', async () => {
    await jobs.close()
    events.close()
  })
}, { name: 'jobs', dependencies: ['integrity', 'repair', 'shard-cache', 'shards'] })
