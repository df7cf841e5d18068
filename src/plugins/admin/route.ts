import Type, { type TSchema } from 'typebox'
import { problems } from './schemas.ts'

/** What a route says of itself in `openapi.yaml`, and what it takes. */
interface Said {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly querystring?: TSchema
  readonly params?: TSchema
  readonly body?: TSchema
}

const IfMatch = Type.Object({ 'if-match': Type.Optional(Type.String({ maxLength: 1_024, description: 'entity tags of the settings that are meant to be replaced, as a read answered with them; 412 when others are in force' })) })

/** Every route can lack the token or its scope, and have too many requests. */
const ALWAYS = [401, 403, 429] as const
/** What is taken can be malformed; a body can be too large and of another type besides. */
const ofInput = ({ querystring, params, body }: Said): number[] => body !== undefined ? [400, 413, 415] : querystring !== undefined || params !== undefined ? [400] : []

function schemaOf<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, further: readonly number[]) {
  return { ...said, tags: [tag], response: { 200: answer, ...problems<number>(...ALWAYS, ...ofInput(said), ...further) } }
}

/**
 * Options of an admin route that changes nothing.
 * @param tag under which the contract lists it
 * @param answer of status 200
 * @param further statuses of problems, besides those that every route has and those of what it takes
 */
export function reads<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { schema: schemaOf(tag, said, answer, further) }
}

/** As {@link reads}, for a route that shows settings: its answer has the entity tag of the configuration in force. */
export function readsSettings<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { config: { settings: true }, ...reads(tag, said, answer, ...further) }
}

/** As {@link reads}, for a route that replaces settings, if they are those of `if-match`, where that is sent. */
export function writesSettings<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { config: { scope: 'write' as const, settings: true }, schema: { ...schemaOf(tag, said, answer, [412, ...further]), headers: IfMatch } }
}

/** As {@link writes}, for a route that only purges. */
export function purges<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { config: { scope: 'purge' as const }, schema: schemaOf(tag, said, answer, further) }
}

/** As {@link reads}, for a route that needs the write scope. */
export function writes<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { config: { scope: 'write' as const }, schema: schemaOf(tag, said, answer, further) }
}
