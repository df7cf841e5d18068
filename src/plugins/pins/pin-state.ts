import { readFile, rm } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import { systemCode } from '../../base/errors.ts'
import { keepBeside } from '../../base/replace-file.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { parseState } from '../../base/state-file.ts'

export const PINS_VERSION = 1
/** CIDs that may be pinned. */
export const MAX_PINS = 10_000

const StateFile = Type.Object({
  version: Type.Literal(PINS_VERSION),
  pins: Type.Array(Type.Object({
    cid: Type.String({ pattern: '^[A-Za-z0-9_-]{1,128}$' }),
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
  try {
    return parseState(await readFile(file, 'utf8'), stateCheck(), PINS_VERSION).pins
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    const aside = await keepBeside(file, 'damaged').catch(() => undefined)
    if (aside !== undefined) await rm(file, { force: true }).catch(() => {})
    tell('pins cannot be read: nothing is pinned', { file, aside, reason: error instanceof Error ? error.message : String(error) })
    return []
  }
}
