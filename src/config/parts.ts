import Type from 'typebox'
import { TAG } from '../protocol/manifest.ts'
import { SESSION_TRANSPORTS } from '../protocol/session-transports.ts'
import { CID } from '../protocol/shard-key.ts'

/* What the schemas of the concerns are made of. */

/** @param marks `live: true` when its keys, those of tables in it too, change with a reload; a key may say otherwise of itself */
export const section = <P extends Parameters<typeof Type.Object>[0]>(properties: P, description: string, marks: { readonly live?: true } = {}) =>
  Type.Object(properties, { additionalProperties: false, default: {}, description, ...marks })

/** A key that changes with a reload. */
export const live = <S extends object>(schema: S): S => Object.assign(schema, { live: true })

export const port = (value: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65_535, default: value, description: `${description}; 0 picks a free port` })

type WithOwnPort = Extract<typeof SESSION_TRANSPORTS[number], { readonly own: object }>

/** The ports of transports that have one of their own. */
export const transportPorts = Object.fromEntries(SESSION_TRANSPORTS.flatMap(row => 'own' in row ? [[row.port, port(row.own.usual, row.own.is)]] : [])) as Readonly<Record<WithOwnPort['port'], ReturnType<typeof port>>>

export const ms = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 86_400_000, default: value, unit: 'time', description: `${description}, milliseconds` })

export const bytes = (value: number, minimum: number, description: string) =>
  Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER, default: value, unit: 'size', description: `${description}, bytes` })

export const bps = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0, description })

export const count = (value: number, maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, default: value, description })

export const percent = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 100, default: value, description: `${description}, percent` })

export const host = (value: string, description: string) => Type.String({ minLength: 1, maxLength: 255, default: value, description })

export const account = (description: string) => Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$|^$', default: '', description })

export const file = (description: string) => Type.String({ maxLength: 4_096, default: '', description })

/** A schema whose mistakes are told in these words, behind the name of the key. */
export const explained = <T>(schema: object, mustBe: string) => Type.Unsafe<T>({ ...schema, mustBe })

export const Region = Type.String({ pattern: '^[A-Z0-9-]{1,32}$' })

/** Where a super-node or another relay is reached. */
export const OriginUrl = Type.String({ pattern: '^https?://[^/?#@]+/?$', maxLength: 300, description: 'origin, http or https, without path' })

/** Start of a CID. */
export const CidPrefix = Type.String({ pattern: CID.source })

export const CidPrefixes = Type.Array(CidPrefix, { minItems: 1, maxItems: 64 })

export const Tag = Type.String({ pattern: TAG.source })
