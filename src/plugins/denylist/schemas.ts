import Type from 'typebox'
import { OwnEntrySchema } from './own-entries.ts'

export const DenylistSource = Type.Union([Type.Literal('own'), Type.Literal('file'), Type.Literal('url')], { description: 'own: of this API; file: `denylist.file`; url: `denylist.url`' })

export const DenylistReport = Type.Object({
  entries: Type.Integer({ minimum: 0, description: 'of all lists together' }),
  lists: Type.Array(Type.Object({
    source: DenylistSource,
    entries: Type.Integer({ minimum: 0 }),
    prefixes: Type.Integer({ minimum: 0, description: 'entries that are prefixes' }),
    bytes: Type.Integer({ minimum: 0, description: 'memory of its digests' }),
    badLines: Type.Integer({ minimum: 0, description: 'lines that are no entries' }),
    problem: Type.Union([Type.String(), Type.Null()], { description: 'why the list could not be had the last time, or what is wrong with its first bad line' }),
    at: Type.Union([Type.Integer(), Type.Null()], { description: 'when it was read, changed or last confirmed, milliseconds since the epoch' })
  })),
  own: Type.Array(OwnEntrySchema, { description: 'the latest first, at most 1,000' })
})
