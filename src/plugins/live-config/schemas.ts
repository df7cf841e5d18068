import Type from 'typebox'
import { LAYERS, type ValueSource } from '../../config/layers.ts'
import { Millis } from '../admin/schemas.ts'
import type { LiveConfig } from './live-config.ts'

const Source = Type.Unsafe<ValueSource>(Type.Union(['default', ...LAYERS].map(name => Type.Literal(name)), { description: 'flag: of the command line; api: set over the admin API' }))
const Value = Type.Unknown({ description: 'as in the configuration, secrets as "(secret)"' })
const Shown = (description: string) => Type.Optional(Type.Object({ value: Value, source: Source }, { description }))

const Hash = Type.String({ pattern: '^[0-9a-f]{12}$', description: 'the same for the same configuration in force; secrets do not count' })

export const ConfigReport = Type.Object({
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

export const ConfigChanged = Type.Object({
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
