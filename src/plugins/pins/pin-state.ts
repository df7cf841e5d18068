import Type, { type Static } from 'typebox'
import { schemaCheck } from '../../base/schema-check.ts'
import { loadState, parseState } from '../../base/state-file.ts'
import { CID } from '../../protocol/shard-key.ts'

export const PINS_VERSION = 1
/** CIDs that may be pinned. */
export const MAX_PINS = 10_000
/** A file of as many pins as there may be, each with the longest CID, is smaller. */
const MAX_BYTES = 4 * 1024 * 1024

const StateFile = Type.Object({
  version: Type.Literal(PINS_VERSION),
  pins: Type.Array(Type.Object({
    cid: Type.String({ pattern: CID.source }),
    /** Wall clock, ms since the epoch. */
    since: Type.Number({ minimum: 0 }),
    expiresAt: Type.Union([Type.Number({ minimum: 0 }), Type.Null()])
  }, { additionalProperties: false }), { maxItems: MAX_PINS })
}, { additionalProperties: false })

/** A CID whose objects are not evicted. Times are wall clock, ms since the epoch. */
export type Pin = Readonly<Static<typeof StateFile>['pins'][number]>

const stateCheck = schemaCheck<Static<typeof StateFile>>(StateFile)

export function pinsText (pins: readonly Pin[]): string {
  return `${JSON.stringify({ version: PINS_VERSION, pins })}\n`
}

/** The pins kept in a file; none when there is none, and, with an error in the log, when it cannot be used: it is moved to `<file>.damaged-<ms>` then. */
export async function loadPins (file: string, tell: (message: string, fields: Record<string, unknown>) => void): Promise<readonly Pin[]> {
  const state = await loadState(file, MAX_BYTES, text => parseState(text, stateCheck()), fields => { tell('pins cannot be read: nothing is pinned', fields) })
  return state?.pins ?? []
}
