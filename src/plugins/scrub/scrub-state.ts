/** What the scrub keeps across restarts, and its file. */
import { readFile } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import { systemCode } from '../../base/errors.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { parseState } from '../../base/state-file.ts'

export const SCRUB_STATE_VERSION = 1

const Count = Type.Integer({ minimum: 0 })
/** Wall clock, ms since the epoch. */
const Time = Type.Number({ minimum: 0 })

const COUNTS = { startedAt: Time, bytes: Count, verified: Count, rotted: Count, unreadable: Count, skipped: Count }

const StateFile = Type.Object({
  version: Type.Literal(SCRUB_STATE_VERSION),
  paused: Type.Boolean(),
  /** Every file was verified or stored since then; null before the first complete pass. */
  verifiedSince: Type.Union([Time, Type.Null()]),
  /** The pass under way; it goes on after the id `cursor`. */
  pass: Type.Union([Type.Object({ ...COUNTS, cursor: Type.String({ maxLength: 160 }) }, { additionalProperties: false }), Type.Null()]),
  last: Type.Union([Type.Object({ ...COUNTS, endedAt: Time }, { additionalProperties: false }), Type.Null()])
}, { additionalProperties: false })

/** Where the scrub is. Times are wall clock, ms since the epoch. */
export type ScrubState = Static<typeof StateFile>
export type ScrubPassState = NonNullable<ScrubState['pass']>

const stateCheck = schemaCheck<ScrubState>(StateFile)

export function newScrubState (): ScrubState {
  return { version: SCRUB_STATE_VERSION, paused: false, verifiedSince: null, pass: null, last: null }
}

export function scrubStateText (state: ScrubState): string {
  return `${JSON.stringify(state, undefined, 2)}\n`
}

/** @throws RelayError RELAY_ERR_CONFIG when the text is not a state of this version */
export function parseScrubState (text: string): ScrubState {
  return parseState(text, stateCheck(), SCRUB_STATE_VERSION)
}

/** The state kept in a file; a new one when there is none, and, with a warning, when it cannot be used: that costs a pass and nothing else. */
export async function loadScrubState (file: string, warn: (message: string, fields: Record<string, unknown>) => void): Promise<ScrubState> {
  try {
    return parseScrubState(await readFile(file, 'utf8'))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') warn('where the scrub was cannot be read, it begins anew', { file, reason: error instanceof Error ? error.message : String(error) })
    return newScrubState()
  }
}
