import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type, { type Static } from 'typebox'
import { readsSettings, writes, writesSettings } from '../admin/route.ts'
import { Millis } from '../admin/schemas.ts'
import { LAYERS, type ValueSource } from '../../config/layers.ts'
import type { ConfigChange, LiveConfig } from './live-config.ts'

const Source = Type.Unsafe<ValueSource>(Type.Union(['default', ...LAYERS].map(name => Type.Literal(name)), { description: 'flag: of the command line; api: set over the admin API' }))
const Value = Type.Unknown({ description: 'as in the configuration, secrets as "(secret)"' })
const Shown = (description: string) => Type.Optional(Type.Object({ value: Value, source: Source }, { description }))

const Hash = Type.String({ pattern: '^[0-9a-f]{12}$', description: 'the same for the same configuration in force; secrets do not count' })

const ConfigReport = Type.Object({
  hash: Hash,
  file: Type.Union([Type.String(), Type.Null()], { description: 'path of the configuration file' }),
  loadedAt: Millis('when the configuration in force was read'),
  reload: Type.Object({
    success: Type.Boolean(),
    at: Millis('when'),
    problem: Type.Union([Type.String(), Type.Null()], { description: 'why it was refused, a line for every problem' })
  }, { description: 'the latest reload; a start counts' }),
  restart: Type.Array(Type.String(), { description: 'keys with another value that a restart puts in force' }),
  keys: Type.Unsafe<ReturnType<LiveConfig['report']>>(Type.Record(Type.String(), Type.Object({
    value: Value,
    source: Source,
    live: Type.Boolean({ description: 'whether it changes without a restart' }),
    configured: Shown('what holds once the override is dropped'),
    pending: Shown('what holds after a restart')
  })))
})

const ConfigChanged = Type.Object({
  changed: Type.Array(Type.Object({
    key: Type.String(),
    before: Value,
    after: Value,
    source: Source
  }), { description: 'what is in force now' }),
  restart: Type.Array(Type.String(), { description: 'keys with another value, which keep the one in force until the relay restarts' }),
  overridden: Type.Array(Type.String(), { description: 'keys with another value than before, of which the one set over the admin API stays in force' }),
  hash: Hash
})

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
