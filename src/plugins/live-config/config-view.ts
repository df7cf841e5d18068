import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { valueAt, type ValueSource } from '../../config/layers.ts'
import { configKeys, type Config, type ConfigKey } from '../../config/schema.ts'
import { withoutSecrets } from '../../config/secrets.ts'

/** A key as paths of it are written. */
export const nameOf = ({ path }: Pick<ConfigKey, 'path'>): string => path.join('.')

/** A value of a key, without secrets, and where it comes from. */
export interface ShownValue {
  readonly value: unknown
  readonly source: ValueSource
}

/** What became of one key. */
export interface KeyChange {
  readonly key: string
  /** Without secrets, as all that is shown. */
  readonly before: unknown
  readonly after: unknown
  readonly source: ValueSource
}

/** The value of a key as it may be shown. */
export function shownValue (config: Config, { path, schema }: ConfigKey): unknown {
  return withoutSecrets(schema, valueAt(config, path))
}

/** The keys whose values differ. */
export function differing (a: Config, b: Config): ConfigKey[] {
  return configKeys().filter(({ path }) => !isDeepStrictEqual(valueAt(a, path), valueAt(b, path)))
}

/** Names in one order, whoever wrote them. */
function ordered (_name: string, value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)) : value
}

/** 12 hexadecimal digits, the same for the same values; secrets do not count, so that it may be public. */
export function configHash (config: Config): string {
  const values = configKeys().map(key => [nameOf(key), shownValue(config, key)])
  return createHash('sha256').update(JSON.stringify(values, ordered)).digest('hex').slice(0, 12)
}
