import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static } from 'typebox'
import { readsSettings, writes, writesSettings } from '../admin/route.ts'
import type { ConfigChange, LiveConfig } from './live-config.ts'
import { ConfigChanged, ConfigReport } from './schemas.ts'

const Key = Type.Object({ key: Type.String({ pattern: '^[a-z0-9_.]{1,100}$', description: 'as `limits.tracked_ips`' }) })

const answer = ({ changed, restart, overridden, hash }: ConfigChange): Static<typeof ConfigChanged> =>
  ({ changed: changed.map(change => ({ ...change })), restart: [...restart], overridden: [...overridden], hash })

/** `/config`: what is in force and where it comes from; reloads, and what was set over this API. */
export const configRoutes: FastifyPluginAsyncTypebox<{ live: LiveConfig }> = async (app, { live }) => {
  app.get('/config', readsSettings('config', {
    operationId: 'getConfig',
    summary: 'The configuration in force',
    description: 'Every key with its value, without secrets, and where that comes from.'
  }, ConfigReport), async () => {
    const { hash, file = null, loadedAt, lastReload, restart } = live
    return { hash, file, loadedAt, reload: { ...lastReload }, restart, keys: live.report() }
  })

  app.post('/config/reload', writes('config', {
    operationId: 'reloadConfig',
    summary: 'Read the configuration again',
    description: 'The file and all files that it names, as SIGHUP does: all that may change is in force when this is answered, or nothing is.'
  }, ConfigChanged, 422, 503), async () => answer(await live.reload()))

  app.delete('/config/overrides', writesSettings('config', {
    operationId: 'dropOverrides',
    summary: 'Drop all that was set over this API',
    description: 'The configuration holds again. Super-nodes and the denylist are apart.'
  }, ConfigChanged, 400, 500, 503), async request => {
    const change = await live.drop(undefined, request.headers['if-match'])
    request.log.warn({ keys: change.changed.map(({ key }) => key) }, 'overrides dropped')
    return answer(change)
  })

  app.delete('/config/overrides/:key', writesSettings('config', {
    operationId: 'dropOverride',
    summary: 'Drop one key that was set over this API',
    description: 'What is configured holds again.',
    params: Key
  }, ConfigChanged, 404, 500, 503), async request => {
    const change = await live.drop(request.params.key, request.headers['if-match'])
    request.log.warn({ key: request.params.key }, 'override dropped')
    return answer(change)
  })
}
