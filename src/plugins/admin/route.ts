import type { TSchema } from 'typebox'
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

/** As {@link reads}, for a route that needs the write scope. */
export function writes<S extends Said, R extends TSchema> (tag: string, said: S, answer: R, ...further: number[]) {
  return { config: { scope: 'write' as const }, schema: schemaOf(tag, said, answer, further) }
}
