/** What stands in the place of a secret. */
export const HIDDEN = '(secret)'

/** As much of a schema as says where secrets are: `secret` marks strings. */
interface SecretSchema {
  readonly secret?: boolean
  readonly properties?: Readonly<Record<string, SecretSchema>>
  readonly items?: SecretSchema
}

/** Whether another value of the key says nothing that may be told. */
function hidden (text: string): string {
  // User and password of a URL.
  return text.replace(/^([a-z+]+:\/\/)[^/?#]*@/i, `$1${HIDDEN}@`).replace(/([?&](?:token|ticket|sig|key)=)[^&#]+/gi, `$1${HIDDEN}`)
}

/** A value of a configuration as it may be shown: an empty secret says that there is none. */
export function withoutSecrets (schema: SecretSchema, value: unknown): unknown {
  if (typeof value === 'string') return schema.secret !== true ? hidden(value) : value === '' ? '' : HIDDEN
  if (Array.isArray(value)) return value.map(item => withoutSecrets(schema.items ?? {}, item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutSecrets(schema.properties?.[name] ?? {}, inner)]))
}
